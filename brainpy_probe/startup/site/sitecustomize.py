"""Starts the probe where ``brainpy_probe.pth`` is not installed.

``brainpy-probe run`` puts this folder on ``PYTHONPATH``. Python imports a module with this name
when it starts, before the script's first line. The module restores ``sys.path``, and then imports
the environment's own ``sitecustomize``, if there is one.
"""

import contextlib
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != folder]
path = sys.path[:]
try:
    sys.path.append(str(folder.parents[2]))
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
