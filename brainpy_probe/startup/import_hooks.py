"""Does something around the import of a module that nobody has imported yet; knows no module.

``wrapt`` has hooks for that as well, but importing it costs three times what all the rest of the
package costs when an interpreter starts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from typing import Any

__all__ = ["around_import", "be_silent"]

Around = Callable[[], contextlib.AbstractContextManager[object]]


def around_import(name: str, around: Around) -> None:
    """Have a module executed within a context; if it is there already, enter the context now.

    Parameters
    ----------
    name : str
        The module's name.
    around : callable
        Makes the context. What its end raises, the import raises.
    """
    if name in sys.modules:
        with around():
            return
    sys.meta_path.insert(0, _Awaiting(name, around))


class _Awaiting:
    """A finder that finds one module as the others do, and has it executed within a context."""

    def __init__(self, name: str, around: Around) -> None:
        self._name, self._around = name, around

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = None
        try:
            spec = importlib.util.find_spec(name)
        finally:
            loader: Any = None if spec is None else spec.loader
            if loader is None:  # not to be found yet
                sys.meta_path.insert(0, self)
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                with self._around():
                    execute(module)

            loader.exec_module = exec_module
        return spec


_LOGURU = "loguru"


def be_silent() -> None:
    """Have loguru leave out what this package says, until the user enables it."""
    around_import(_LOGURU, _silencing)


@contextlib.contextmanager
def _silencing() -> Iterator[None]:
    yield
    sys.modules[_LOGURU].logger.disable("brainpy_probe")
