"""Starts a fresh interpreter with the probe in it."""

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
_SITE_FOLDER = Path(__file__).parent / "site"


def pth_files() -> list[Path]:
    """Return the ``brainpy_probe.pth`` files that this interpreter runs when it starts."""
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return [file for folder in dict.fromkeys(folders) if (file := Path(folder, PTH)).is_file()]


def environment(words: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that start an interpreter with the probe.

    Parameters
    ----------
    words : dict
        The arguments of ``capture()`` that the command line gives, as text. They take precedence
        over the inherited variables.
    inherited : dict
        The current environment variables.

    Raises
    ------
    BadSetting
        If a word or an inherited variable is not allowed.
    """
    Settings.of_words(words, lambda name: f"--{name.replace('_', '-')}")
    added = {variable(name): word for name, word in words.items()}
    value = inherited.get(VARIABLE, "")
    out = added.get(VARIABLE) or (DEFAULT_OUT if is_off(value) or is_on(value) else value)
    # Absolute, so that all processes of the script use the same folder.
    added[VARIABLE] = str(Path(out).expanduser().absolute())
    if not pth_files():
        paths = [str(_SITE_FOLDER), *filter(None, [inherited.get("PYTHONPATH")])]
        added["PYTHONPATH"] = os.pathsep.join(paths)
    changed = {**inherited, **added}
    Settings.of_environment(changed)
    return changed


def launch(
    target: str, arguments: Sequence[str], changed: Mapping[str, str], *, is_module: bool
) -> NoReturn:
    """Replace this process by ``python target arguments``.

    ``sys.argv``, ``sys.path[0]``, ``__main__``, the exit code and the handling of signals are the
    same as without the probe.

    Raises
    ------
    BadSetting
        If the script does not exist.
    """
    if not is_module and target != "-" and not Path(target).exists():
        raise BadSetting(
            f"There is no script {target}.", "Give a Python file, or a module after -m."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    option = ["-m"] if is_module else []
    os.execve(sys.executable, [sys.executable, *option, target, *arguments], dict(changed))  # noqa: S606 (no shell: none is wanted)
