"""Reports the probe's own failures in a capture: each kind once, with a count at the end."""

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
    """The probe's failures, counted by kind.

    Parameters
    ----------
    strict : bool
        Whether the user asked for an exception instead of a warning.
    show : callable
        Shows a sentence to the user.
    """

    strict: bool
    show: Callable[[str], None]
    _counts: dict[str, int] = field(default_factory=dict)
    _deferred: ProbeError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def happened(self) -> bool:
        """Whether a failure was shown to the user."""
        return bool(self._counts)

    def report(self, failure: Exception, traceback_in: Path | None) -> ProbeError | None:
        """Show a failure to the user if it is the first of its kind.

        Parameters
        ----------
        failure : Exception
            The exception.
        traceback_in : Path or None
            The capture folder, if it contains the traceback.

        Returns
        -------
        ProbeError or None
            The error to raise with ``strict=True``. A run inside a transformation is shown to the
            user, but is not a failure of the probe.
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
            self.show(f"{error} The simulation went on.")
        _release_frames(failure)
        return None

    def defer(self, failure: Exception) -> None:
        """Report a failure where nothing can be raised; :meth:`finish` returns the error."""
        error = self.report(failure, None)
        self._deferred = self._deferred or error

    def finish(self) -> ProbeError | None:
        """Show the number of repeated failures; return the deferred error to raise, if any."""
        repeated = [f"{count} times: {kind}" for kind, count in self._counts.items() if count > 1]
        if repeated:
            self.show(f"The probe failed {'; '.join(repeated)}")
        return self._deferred


def _release_frames(failure: BaseException | None) -> None:
    """Release the frames of an exception, and the run's traces in them.

    Otherwise they would live until Python's garbage collector runs. See
    :meth:`RunningCall.forget`.
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
