"""The current call and stopwatch of each thread, and the guards that report to the call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from brainpy_probe.recording.guard import Guard
from brainpy_probe.recording.modules.timing import Stopwatch
from brainpy_probe.recording.patches import ACTIVE

if TYPE_CHECKING:
    from brainpy_probe.recording.calls import RunningCall

__all__ = [
    "CURRENT_CALL",
    "CURRENT_WATCH",
    "OPEN_CALLS",
    "OWN_WORK",
    "guard",
    "name_guard",
]

# The running calls of all threads, by their serial numbers.
OPEN_CALLS: dict[int, RunningCall] = {}
CURRENT_CALL: ContextVar[RunningCall | None] = ContextVar("brainpy_probe_call", default=None)
CURRENT_WATCH: ContextVar[Stopwatch | None] = ContextVar("brainpy_probe_watch", default=None)
# Whether this thread does the probe's own work after a call; that work is not recorded.
OWN_WORK: ContextVar[bool] = ContextVar("brainpy_probe_own_work", default=False)


def _add_failure(error: Exception) -> None:
    call = CURRENT_CALL.get()
    if call is not None:
        call.add_failure(error)
        return
    for session in ACTIVE.users:
        session.defer_failure(error)


def _add_name_failure(error: Exception) -> None:
    call = CURRENT_CALL.get()
    if call is not None:
        call.add_name_failure(error)


# After a failure under ``guard`` the current call has no program; under ``name_guard`` it lacks a
# name.
guard, name_guard = Guard(_add_failure), Guard(_add_name_failure)
