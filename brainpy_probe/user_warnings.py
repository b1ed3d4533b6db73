"""Warns at the line of the user's own code that led here; knows no capture."""

from __future__ import annotations

import contextlib
import sys
import warnings
from types import FrameType

from brainpy_probe.errors import ProbeWarning, say

__all__ = ["warn"]

# Packages whose frames lie between the user's line and ours. (Functions of contextlib, functools
# and wrapt run within them.)
_BETWEEN = {
    "brainpy", "brainpy_probe", "brainstate", "brainevent", "braintools", "brainunit", "contextlib",
    "functools", "importlib", "jax", "jaxlib", "threading", "wrapt",
}  # fmt: skip


def warn(sentence: str) -> None:
    """Issue a :class:`ProbeWarning` at the user's line; never raises.

    Where warnings are errors (``-W error``) the sentence goes to stderr: nothing of the probe's may
    stop a run.
    """
    try:
        frame = _users_frame()
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
        say(sentence)
    except Exception:  # a handler of the user's own, a closed stderr
        with contextlib.suppress(Exception):
            say(sentence)


def _users_frame() -> FrameType:
    """Return the innermost frame of the user's code; the outermost of all if there is none."""
    frame: FrameType = sys._getframe()
    while frame.f_back is not None and _is_between(frame):
        frame = frame.f_back
    return frame


def _is_between(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in _BETWEEN
