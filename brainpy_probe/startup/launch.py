"""How a fresh interpreter is started with the probe in it; knows neither BrainPy nor JAX."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from brainpy_probe.errors import BadSetting
from brainpy_probe.settings import DEFAULT_OUT, VARIABLE, Settings, is_off, is_on, variable

__all__ = ["PTH", "environment", "launch", "pth_files"]

PTH = "brainpy_probe.pth"
_START = Path(__file__).parent / "site"


def pth_files() -> list[Path]:
    """Return where this interpreter finds ``brainpy_probe.pth`` when it starts."""
    places = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return [file for place in dict.fromkeys(places) if (file := Path(place, PTH)).is_file()]


def environment(words: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which an interpreter starts with the probe in it.

    Parameters
    ----------
    words : dict
        A word for each argument of ``capture()`` that was given; they win over the variables.
    inherited : dict
        The environment until now.

    Raises
    ------
    BadSetting
        If a word, or a variable that was inherited, is not allowed.
    """
    Settings.of_words(words, lambda name: f"--{name.replace('_', '-')}")
    added = {variable(name): word for name, word in words.items()}
    place = inherited.get(VARIABLE, "")
    out = added.get(VARIABLE) or (DEFAULT_OUT if is_off(place) or is_on(place) else place)
    # Absolute: so that the script's own processes agree, wherever they work.
    added[VARIABLE] = str(Path(out).expanduser().absolute())
    if not pth_files():
        paths = [str(_START), *filter(None, [inherited.get("PYTHONPATH")])]
        added["PYTHONPATH"] = os.pathsep.join(paths)
    changed = {**inherited, **added}
    Settings.of_environment(changed)
    return changed


def launch(
    target: str, arguments: Sequence[str], changed: Mapping[str, str], *, is_module: bool
) -> NoReturn:
    """Become ``python target arguments``, in a fresh interpreter.

    The script finds everything as without the probe: ``sys.argv``, ``sys.path[0]``, ``__main__``,
    its exit code and its death by a signal are Python's own doing.

    Raises
    ------
    BadSetting
        If there is no such script.
    """
    if not is_module and target != "-" and not Path(target).exists():
        raise BadSetting(
            f"There is no script {target}.", "Give a Python file, or a module after -m."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    option = ["-m"] if is_module else []
    os.execve(sys.executable, [sys.executable, *option, target, *arguments], dict(changed))  # noqa: S606 (no shell: none is wanted)
