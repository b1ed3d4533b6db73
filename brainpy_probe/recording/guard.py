"""Keeps failures of the probe's own work away from the user's run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

__all__ = ["Guard"]


class Guard:
    """A context for the probe's own work, which catches and reports exceptions.

    Every wrapper and listener does its own work under a guard, and calls the user's function
    outside of it. An interrupt (Ctrl-C) is not caught. A guard has no state, so that several
    threads can enter it, each also several times.

    Parameters
    ----------
    report : callable
        Called with the exception.
    """

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[Exception], object]) -> None:
        self._report = report

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        with contextlib.suppress(Exception):
            self._report(error)
        return True
