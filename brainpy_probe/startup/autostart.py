"""Starts the probe from environment variables, without a change to the script.

``brainpy_probe.pth`` calls :func:`start` when the interpreter starts, before the script's first
line. This module imports neither BrainPy nor JAX: it waits until the script imports them. It never
raises into the script, unless ``strict`` asks for that.
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

_USAGE = 2


@functools.cache
def start() -> None:
    """Capture this process once it imports BrainPy, if the environment asks for it.

    In a virtual environment the interpreter may call this twice. The second call does nothing.
    """
    try:
        settings = Settings.of_environment(os.environ)
        if settings is not None:
            # Absolute, so that it stays the same folder if the script changes its directory.
            out = str(Path(settings.out).absolute())
            _install_import_hooks(msgspec.structs.replace(settings, out=out))
    except Exception as error:
        if asks_for_strictness(os.environ):
            print_to_stderr(describe_error(error))
            # Python prints an exception raised by a .pth file, and goes on.
            os._exit(_USAGE)
        print_to_stderr(f"{describe_error(error)} The script runs without the probe.")


def has_started() -> bool:
    """Return whether :func:`start` was called in this process."""
    return start.cache_info().currsize > 0


def _install_import_hooks(settings: Settings) -> None:
    """Patch JAX's compiler when BrainPy imports JAX, and the rest when BrainPy is imported."""

    @contextlib.contextmanager
    def around_brainpy() -> Iterator[None]:
        early: list[Any] = []

        @contextlib.contextmanager
        def around_jax() -> Iterator[None]:
            yield
            # If this fails, the code below fails likewise and reports the problem.
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
