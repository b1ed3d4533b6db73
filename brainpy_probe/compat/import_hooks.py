"""Runs code around the first import of a module, and tells which modules have been imported.

``wrapt`` has import hooks as well. But an interpreter that starts with the probe would have to
import wrapt, which takes three times as long as all the rest of this package.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["around_import", "is_imported", "silence_log"]

_MakeContext = Callable[[], contextlib.AbstractContextManager[object]]
# Modules whose code has run to its end, before Python notes the end of their import.
_EXECUTED: set[str] = set()


def is_imported(name: str) -> bool:
    """Return whether a module has been imported; a module whose import still runs has not.

    ``_initializing`` is true while the module's code runs (Python 3.11 to 3.13:
    importlib/_bootstrap.py).
    """
    module = sys.modules.get(name)
    if module is None:
        return False
    return name in _EXECUTED or not getattr(module.__spec__, "_initializing", False)


def around_import(name: str, make_context: _MakeContext) -> Callable[[], None]:
    """Execute a module within a context when it is imported; enter the context now if it was.

    Parameters
    ----------
    name : str
        The module's name.
    make_context : callable
        Returns the context manager. An exception from its end is raised by the import.

    Returns
    -------
    callable
        Stops waiting for the import.
    """
    if name in sys.modules:
        with make_context():
            return lambda: None
    finder = _Finder(name, make_context)
    sys.meta_path.insert(0, finder)
    return finder.remove


class _Finder:
    """Finds one module by the other finders, and executes it within a context."""

    def __init__(self, name: str, make_context: _MakeContext) -> None:
        self._name, self._make_context = name, make_context

    def remove(self) -> None:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = None
        try:
            spec = importlib.util.find_spec(name)
        finally:
            loader: Any = None if spec is None else spec.loader
            if loader is None:  # not found: wait for the next attempt
                sys.meta_path.insert(0, self)
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with self._make_context():
                    execute(module)
                    _EXECUTED.add(name)

            loader.exec_module = exec_module
        return spec


_LOGURU = "loguru"


def silence_log() -> None:
    """Disable this package's messages in loguru, until the user enables them."""
    around_import(_LOGURU, _log_disabled)


@contextlib.contextmanager
def _log_disabled() -> Iterator[None]:
    yield
    sys.modules[_LOGURU].logger.disable("brainpy_probe")
