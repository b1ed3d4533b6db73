"""Runs code around the first import of a module, and checks which modules have been imported.

``wrapt`` has import hooks too. But importing wrapt takes three times as long as importing the rest
of this package, and every interpreter that starts with the probe would have to import it.
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
# Modules whose code has run, although Python still marks their import as running.
_EXECUTED: set[str] = set()


def is_imported(name: str) -> bool:
    """Return whether a module has been imported; False while its import is running.

    ``_initializing`` is true while the module's code runs (Python 3.11 to 3.13:
    importlib/_bootstrap.py).
    """
    module = sys.modules.get(name)
    if module is None:
        return False
    return name in _EXECUTED or not getattr(module.__spec__, "_initializing", False)


def around_import(name: str, make_context: _MakeContext) -> Callable[[], None]:
    """Execute a module within a context when it is imported; if it was imported, enter it now.

    Parameters
    ----------
    name : str
        The module's name.
    make_context : callable
        Returns the context manager. If its exit raises an exception, the import raises it.

    Returns
    -------
    callable
        Removes the hook.
    """
    if name in sys.modules:
        with make_context():
            return lambda: None
    finder = _Finder(name, make_context)
    sys.meta_path.insert(0, finder)
    return finder.remove


class _Finder:
    """Finds one module through the other finders, and executes it within a context."""

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
