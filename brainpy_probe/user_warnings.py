"""Issues warnings that point at the line of the user's code that called the probe."""

from __future__ import annotations

import contextlib
import sys
import warnings
from types import FrameType

from brainpy_probe.errors import ProbeWarning, print_to_stderr
from brainpy_probe.frames import user_frame

__all__ = ["warn"]


def warn(sentence: str) -> None:
    """Issue a :class:`ProbeWarning` at the user's line; never raises.

    If warnings are errors (``-W error``), the sentence goes to stderr instead, because the probe
    must not stop a run.
    """
    try:
        frame = user_frame() or _outermost_frame()
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


def _outermost_frame() -> FrameType:
    frame: FrameType = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return frame
