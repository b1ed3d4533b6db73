"""Activation from the environment, for scripts that nobody edits; never raises into them.

Called by ``brainpy_probe.pth`` when the interpreter starts, before the script's first line. Knows
neither BrainPy nor JAX, and imports neither: it waits until the script imports them.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from brainpy_probe.errors import describe_error, print_to_stderr
from brainpy_probe.settings import Settings, asks_for_strictness
from brainpy_probe.startup.import_hooks import around_import

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
            print_to_stderr(describe_error(error))
            # An exception would be printed and passed over, where the interpreter starts.
            os._exit(USAGE)
        print_to_stderr(f"{describe_error(error)} The script runs without the probe.")


def has_started() -> bool:
    """Whether :func:`start` was called in this process."""
    return start.cache_info().currsize > 0


def _await_brainpy(settings: Settings) -> None:
    """Watch JAX's compiler once BrainPy's import has JAX, and the rest when BrainPy is there."""

    @contextlib.contextmanager
    def around_brainpy() -> Iterator[None]:
        early: list[Any] = []

        @contextlib.contextmanager
        def around_jax() -> Iterator[None]:
            yield
            # What this needs is needed again below, which says what is wrong with it.
            with contextlib.suppress(Exception):
                early.append(_process_capture(settings))
                early[0].begin_with_jax()

        around_import("jax", around_jax)
        try:
            yield
        except BaseException:
            for capture in early:
                capture.give_up()
            raise
        try:
            capture = early[0] if early else _process_capture(settings)
            capture.begin()
        except Exception as error:
            if settings.strict:
                raise
            print_to_stderr(f"{describe_error(error)} The script runs without the probe.")

    around_import("brainpy", around_brainpy)


def _process_capture(settings: Settings) -> Any:
    from brainpy_probe.recording.process import ProcessCapture

    return ProcessCapture(settings)
