"""Guards the probe's own work amid a user's run: what fails there never reaches the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

__all__ = ["Guard"]


class Guard:
    """A context for the probe's own work: what that raises is noted, and the run goes on.

    Every wrapper and listener does its own work under a guard, and calls the user's function
    outside of it. An interrupt (Ctrl-C) is the user's, and passes. One guard may be entered several
    times, by several threads: it keeps nothing.

    Parameters
    ----------
    note : callable
        NativeResults what was raised.
    """

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[Exception], object]) -> None:
        self._note = note

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
            self._note(error)
        return True
