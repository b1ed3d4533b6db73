"""Warnings that point at the line of the user's code from which the probe was called."""

from __future__ import annotations

import contextlib
import sys
import warnings
from types import FrameType

from brainpy_probe.errors import ProbeWarning, print_to_stderr

__all__ = ["warn"]

# Packages whose frames lie between the user's line and the probe's. (Functions of contextlib,
# functools and wrapt run within them.)
_LIBRARIES = {
    "brainpy", "brainpy_probe", "brainstate", "brainevent", "braintools", "brainunit", "contextlib",
    "functools", "importlib", "jax", "jaxlib", "threading", "wrapt",
}  # fmt: skip


def warn(sentence: str) -> None:
    """Issue a :class:`ProbeWarning` at the user's line; never raises.

    If warnings are errors (``-W error``), the sentence goes to stderr instead, because the probe
    must not stop a run.
    """
    try:
        frame = _user_frame()
        module = frame.f_globals
        warnings.warn_explicit(
            sentence,
            ProbeWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            module.get("__name__") or "<unknown>",
            module.setdefault("__warningregistry__", {}),
        )
    except ProbeWarning:
        print_to_stderr(sentence)
    except Exception:  # raised by the user's warnings.showwarning, or by a closed stderr
        with contextlib.suppress(Exception):
            print_to_stderr(sentence)


def _user_frame() -> FrameType:
    """Return the innermost frame of the user's code; the outermost frame if there is none."""
    frame: FrameType = sys._getframe()
    while frame.f_back is not None and _is_library_frame(frame):
        frame = frame.f_back
    return frame


def _is_library_frame(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in _LIBRARIES
