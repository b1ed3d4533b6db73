"""Turns the package's log off as soon as loguru is there, and not before; knows no log line.

loguru reads its settings when it is imported, which is the script's to do. ``wrapt`` has hooks for
that as well, but importing it costs three times what all the rest of the package costs.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import Any

__all__ = ["be_silent"]

_LOGURU = "loguru"


def be_silent() -> None:
    """Have loguru leave out what this package says, until the user enables it."""
    module = sys.modules.get(_LOGURU)
    if module is not None:
        _disable(module)
    elif _Awaiting not in sys.meta_path:
        sys.meta_path.insert(0, _Awaiting)


def _disable(module: Any) -> None:
    module.logger.disable("brainpy_probe")


class _Awaiting:
    """A finder that finds loguru as the others do, and has it be silenced once it has run."""

    @classmethod
    def find_spec(cls, name: str, *_: Any) -> ModuleSpec | None:
        if name != _LOGURU:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                _disable(module)

            loader.exec_module = exec_module
        return spec
