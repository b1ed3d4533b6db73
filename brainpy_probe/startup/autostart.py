"""Starts the probe from environment variables, without changes to the script.

``brainpy_probe.pth`` calls :func:`start` when the interpreter starts, before the script's first
line. This module imports neither BrainPy, brainstate nor JAX: it waits until the script imports
them. It never raises into the script, unless ``strict`` asks for that.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from brainpy_probe.compat.import_hooks import around_import
from brainpy_probe.errors import describe_error, print_to_stderr
from brainpy_probe.settings import Settings, asks_for_strictness

__all__ = ["has_started", "start"]

_USAGE = 2


@functools.cache
def start() -> None:
    """Capture this process once it imports BrainPy or brainstate, if the environment asks for it.

    In a virtual environment the interpreter may call this twice. The second call has no effect.
    """
    try:
        settings = Settings.of_environment(os.environ)
        if settings is not None:
            # Absolute, so that it stays the same folder if the script changes its directory.
            out = str(Path(settings.out).absolute())
            _Activation(msgspec.structs.replace(settings, out=out))
    except Exception as error:
        if asks_for_strictness(os.environ):
            print_to_stderr(describe_error(error))
            # Python prints an exception raised by a .pth file, and goes on.
            os._exit(_USAGE)
        print_to_stderr(f"{describe_error(error)} The script runs without the probe.")


def has_started() -> bool:
    """Return whether :func:`start` was called in this process."""
    return start.cache_info().currsize > 0


class _Activation:
    """Begins the capture of this process when the script imports BrainPy or brainstate.

    JAX's compiler is patched when BrainPy or brainstate imports JAX, the rest after that import.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._capture: Any = None
        self._is_waiting = self._is_begun = False
        for name in ("brainpy", "brainstate"):
            around_import(name, functools.partial(self._around_library, name))

    @contextlib.contextmanager
    def _around_library(self, name: str) -> Iterator[None]:
        self._wait_for_jax()
        try:
            yield
        except BaseException:
            if self._capture is not None and not self._is_begun:
                self._capture.give_up()
            raise
        # BrainPy imports brainstate from 2.7 on: the capture begins after the whole import.
        if not self._is_begun and (name == "brainpy" or "brainpy" not in sys.modules):
            self._begin()

    def _wait_for_jax(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            around_import("jax", self._around_jax)

    @contextlib.contextmanager
    def _around_jax(self) -> Iterator[None]:
        yield
        # If this fails, the code below fails in the same way and reports the problem.
        with contextlib.suppress(Exception):
            self._make_capture().begin_with_jax()

    def _begin(self) -> None:
        try:
            self._make_capture().begin()
            self._is_begun = True
        except Exception as error:
            if self._settings.strict:
                raise
            print_to_stderr(f"{describe_error(error)} The script runs without the probe.")

    def _make_capture(self) -> Any:
        from brainpy_probe.recording.process import ProcessCapture

        if self._capture is None:
            self._capture = ProcessCapture(self._settings)
        return self._capture
