"""The probe's own failures in one capture: each is told once, and all are counted."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from brainpy_probe.errors import InsideTransformation, ProbeError, first_line, remedy_of

__all__ = ["FailureLog"]


@dataclass
class FailureLog:
    """What failed in the probe, and how often.

    Parameters
    ----------
    strict : bool
        Whether the user asked for an exception in place of a warning.
    tell : callable
        Tells the user a sentence.
    """

    strict: bool
    tell: Callable[[str], None]
    _counts: dict[str, int] = field(default_factory=dict)
    _kept: ProbeError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def happened(self) -> bool:
        """Whether anything failed that was told of."""
        return bool(self._counts)

    def note(self, failure: Exception, traceback_in: Path | None) -> ProbeError | None:
        """Tell of a failure if it is the first of its kind.

        Parameters
        ----------
        failure : Exception
            What was raised.
        traceback_in : Path or None
            The capture folder if it has the traceback.

        Returns
        -------
        ProbeError or None
            What the user asked to be raised. A run inside a transformation has no program, which
            is told and no failure of the probe.
        """
        error = _as_probe_error(failure, traceback_in)
        is_failure = not isinstance(failure, InsideTransformation)
        if self.strict and is_failure:
            error.__cause__ = None if error is failure else failure
            return error
        kind = _kind(failure)
        with self._lock:
            is_first = kind not in self._counts
            self._counts[kind] = self._counts.get(kind, 0) + is_failure
        if is_first:
            self.tell(f"{error} The simulation went on.")
        _forget_frames(failure)
        return None

    def keep(self, failure: Exception) -> None:
        """Tell of a failure where nothing can be raised: :meth:`ended` returns it instead."""
        error = self.note(failure, None)
        self._kept = self._kept or error

    def ended(self) -> ProbeError | None:
        """Tell how often the same failed; return what was kept to be raised."""
        repeated = [f"{count} times: {kind}" for kind, count in self._counts.items() if count > 1]
        if repeated:
            self.tell(f"The probe failed {'; '.join(repeated)}")
        return self._kept


def _forget_frames(failure: BaseException | None) -> None:
    """Let go of the frames in which an exception was raised, and of what the run traced in them.

    They would live until Python collects cycles. See :meth:`RunningCall.forget`.
    """
    seen: set[int] = set()
    while failure is not None and id(failure) not in seen:
        seen.add(id(failure))
        failure.__traceback__ = None
        failure = failure.__cause__ or failure.__context__


def _kind(failure: Exception) -> str:
    return f"{type(failure).__name__}: {first_line(failure)}"


def _as_probe_error(failure: Exception, traceback_in: Path | None) -> ProbeError:
    if isinstance(failure, ProbeError):
        return failure
    if traceback_in is not None:
        where = f"The traceback is in {traceback_in}."
    else:
        frames = traceback.extract_tb(failure.__traceback__)
        at = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        where = f"It was raised{at}; no file of the capture has the traceback."
    remedy = remedy_of(failure)
    return ProbeError(f"The probe failed: {_kind(failure)}.", f"{remedy} {where}".strip())
