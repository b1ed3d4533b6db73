"""Finds the line of the user's code that is running: the innermost frame outside of libraries."""

from __future__ import annotations

import functools
import sys
import sysconfig
from pathlib import Path, PurePath
from types import CodeType, FrameType

from brainpy_probe.libraries import is_library

__all__ = ["is_user_code", "place_of", "user_frame"]

_PACKAGE = f"{Path(__file__).parent}/"
_FOLDERS = tuple(
    {
        f"{sysconfig.get_path(name)}/"
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if sysconfig.get_path(name)
    }
)


def user_frame() -> FrameType | None:
    """Return this thread's innermost frame of the user's code; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_user_code(frame.f_code, _module(frame)):
            return frame
        frame = frame.f_back
    return None


def is_user_code(code: CodeType, module: str) -> bool:
    """Return whether code is the user's, given the name of its module."""
    if not _is_user_file(code.co_filename) or is_library(module):
        return False
    # Libraries run generated code, whose file is <string> too.
    return code.co_filename != "<string>" or module == "__main__"


def place_of(frame: FrameType) -> str:
    """Return the file and the line of a frame, as ``script.py:42``.

    The file has the folders of its module: ``mine/models/einet.py:42`` for the module
    ``mine.models.einet``. No other folder of the machine is part of it. A notebook's cell is named
    by its number, as ``In[3]:2``.
    """
    path = frame.f_code.co_filename
    return f"{_cell(path) or _module_file(path, _module(frame))}:{frame.f_lineno}"


def _cell(path: str) -> str:
    """Return the notebook cell with a file name, as ``In[3]``; empty if it is not a cell's."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return ""
    try:
        # IPython's own tracebacks name cells by this method (8.0, 9.18: core/compilerop.py).
        label, name = ipython.get_ipython().compile.format_code_name(path)
    except Exception:  # no notebook, no cell, or an IPython without the method
        return ""
    return str(name) if label == "Cell" else ""


@functools.lru_cache(maxsize=1024)
def _module_file(path: str, module: str) -> str:
    if path.startswith("<"):
        return path
    parts, names = PurePath(path).with_suffix("").parts, module.split(".")
    if names[-1] != parts[-1]:  # the module of a package: mine/models/__init__.py
        names = [*names, parts[-1]]
    shared = names if parts[-len(names) :] == tuple(names) else parts[-1:]
    return f"{'/'.join(shared)}{PurePath(path).suffix}"


# A path in Python's folders, or of generated code, is looked up once.
@functools.lru_cache(maxsize=4096)
def _is_user_file(path: str) -> bool:
    if path.startswith("<"):
        return path.startswith(("<stdin", "<string", "<ipython-input", "<input"))
    if path.startswith(_PACKAGE) or "/site-packages/" in path or "/dist-packages/" in path:
        return False
    return not path.startswith(_FOLDERS)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
