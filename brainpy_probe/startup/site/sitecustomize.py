"""Starts the probe where ``brainpy_probe.pth`` is not installed; knows nothing but where it lies.

``brainpy-probe run`` puts this folder on ``PYTHONPATH``, and Python imports a module of this name
when it starts, before the script's first line. ``sys.path`` is left as it would be without us, and
the environment's own ``sitecustomize``, if there is one, gets its turn.
"""

import contextlib
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path[:] = [place for place in sys.path if not place or Path(place).resolve() != here]
path = sys.path[:]
try:
    sys.path.append(str(here.parents[2]))
    from brainpy_probe.startup.autostart import start

    start()
except Exception as error:
    with contextlib.suppress(Exception):
        sys.stderr.write(f"brainpy-probe: not started: {error!r}\n")
finally:
    sys.path[:] = path

ours = sys.modules.pop(__name__)
try:
    __import__(__name__)
except ModuleNotFoundError as error:
    if error.name != __name__:
        raise
    sys.modules[__name__] = ours
