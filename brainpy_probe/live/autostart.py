"""Activation from the environment, for scripts that nobody edits; never raises into them.

Called by ``brainpy_probe.pth`` when the interpreter starts, before the script's first line. Knows
neither BrainPy nor JAX, and imports neither: it waits until the script imports BrainPy.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import msgspec
import wrapt

from brainpy_probe.errors import say, told
from brainpy_probe.settings import Settings, asks_for_strictness

__all__ = ["has_started", "start"]

USAGE = 2


@functools.cache
def start() -> None:
    """Have this process captured once it imports BrainPy, if the environment says so.

    In a virtual environment the interpreter may call it twice: a second call does nothing.
    """
    try:
        settings = Settings.of_environment(os.environ)
        if settings is not None:
            # The folder is the one that the user meant, even if the script goes elsewhere.
            out = str(Path(settings.out).absolute())
            _await_brainpy(msgspec.structs.replace(settings, out=out))
    except Exception as error:
        if asks_for_strictness(os.environ):
            say(told(error))
            # An exception would be printed and passed over, where the interpreter starts.
            os._exit(USAGE)
        say(f"{told(error)} The script runs without the probe.")


def has_started() -> bool:
    """Whether :func:`start` was called in this process."""
    return start.cache_info().currsize > 0


def _await_brainpy(settings: Settings) -> None:
    def imported(_: object) -> None:
        try:
            from brainpy_probe.live.wholeprocess import ProcessCapture

            ProcessCapture(settings).begin()
        except Exception as error:
            if settings.strict:
                raise
            say(f"{told(error)} The script runs without the probe.")

    wrapt.register_post_import_hook(imported, "brainpy")
