"""Counts the repeated runs of a jitted function, which take microseconds and need no records.

The first run of a compiled function is a call with a program. Later runs of the same trace only
increase the count and the seconds of that call. A run that compiles anything is a separate call.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from brainpy_probe.compat import brainstate_runs
from brainpy_probe.compat.brainpy_model import raw_value
from brainpy_probe.compat.types import Pytree, StateTrace, Variable
from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.recorder import Recorder

__all__ = ["RepeatedRun", "RepeatedRuns", "end_repeated_run", "promote_repeated_run"]

# The seconds of the runs are counted in classes of this relative width, so that the median needs no
# list of all runs. The median is exact to half of this width.
_WIDTH = 0.02


@dataclass(eq=False)
class RepeatedRun:
    """A compiled function that has run as a recorded call, and its later runs.

    Attributes
    ----------
    serial : int
        The serial number of the call.
    sessions : tuple of Recorder
        The recorders of the call.
    variables : sequence
        The Variables of the function.
    trace : object
        brainstate's trace of the states, which belongs to one compiled function, or None.
    count : int
        How often the function has run, the first run included.
    seconds : float
        The seconds of all runs, from the call to the return of the function.
    """

    serial: int
    sessions: tuple[Recorder, ...]
    variables: Sequence[Variable]
    trace: StateTrace = None
    count: int = 0
    seconds: float = 0.0
    final: list[Pytree] = field(default_factory=list)
    _classes: dict[int, int] = field(default_factory=dict)
    _frame: FrameType | None = None
    _promote: Callable[[], None] | None = None
    _started: float = 0.0
    _keeps_state: bool = False

    def __post_init__(self) -> None:
        self._keeps_state = any(session.settings.data == "full" for session in self.sessions)

    def start(self, frame: FrameType, promote: Callable[[], None]) -> None:
        """Start a run.

        Parameters
        ----------
        frame : frame
            The frame that makes the run.
        promote : callable
            Makes the run a separate call.
        """
        self._frame, self._promote = frame, promote
        _ACTIVE.run = self
        self._started = time.perf_counter()

    def finish(self) -> None:
        """Count the run that has been started."""
        self._frame = self._promote = None
        self.count_run(time.perf_counter() - self._started)

    def count_run(self, seconds: float) -> None:
        """Count a run that has ended; report the count from time to time."""
        self.add(seconds)
        if self._keeps_state:
            self.final = [raw_value(variable) for variable in self.variables]
        if not self.count & (self.count - 1):  # at powers of two, in case the process is killed
            self.report()

    def add(self, seconds: float) -> None:
        """Count a run, given its seconds."""
        self.count += 1
        self.seconds += seconds
        number = int(math.log(max(seconds, 1e-9)) / _WIDTH)
        self._classes[number] = self._classes.get(number, 0) + 1

    @property
    def median(self) -> float:
        """The median of the runs' seconds, exact to one percent."""
        left = (self.count + 1) // 2
        for number in sorted(self._classes):
            left -= self._classes[number]
            if left <= 0:
                return math.exp((number - 0.5) * _WIDTH)
        return 0.0

    def report(self) -> None:
        """Report the count to the sessions."""
        for session in self.sessions:
            session.count_call(self)


class _Active(threading.local):
    """The repeated run of this thread that is running, or None."""

    run: RepeatedRun | None = None


_ACTIVE = _Active()


class RepeatedRuns:
    """The repeated runs of a process, by function and trace."""

    def __init__(self) -> None:
        self._runs: IdentityDict[dict[Hashable, RepeatedRun]] = IdentityDict()
        self._all: list[RepeatedRun] = []

    def get(
        self, function: Any, key: Hashable, sessions: tuple[Recorder, ...]
    ) -> RepeatedRun | None:
        """Return the repeated run of a function and trace, if these sessions have its call.

        The key belongs to one trace: its ``id``, or a signature of the arguments.
        """
        known = self._runs.get(function)
        run = None if known is None else known.get(key)
        return run if run is not None and run.sessions == sessions else None

    def add(self, function: Any, key: Hashable, run: RepeatedRun) -> None:
        """Store a function and trace whose call has been recorded."""
        known = self._runs.get(function)
        if known is None:
            known = self._runs.set(function, {})
        known[key] = run  # the run keeps the trace alive, so that its id stays unique
        self._all.append(run)

    def of(self, session: Recorder) -> Iterator[RepeatedRun]:
        """Yield the repeated runs of a session."""
        return (run for run in self._all if session in run.sessions)

    def clear(self) -> None:
        """Remove all repeated runs."""
        self._runs.clear()
        self._all.clear()


def end_repeated_run(frame: FrameType) -> bool:
    """Count the repeated run that a frame makes, if any; return whether there is one."""
    run = _ACTIVE.run
    if run is None:
        return False
    _ACTIVE.run = None
    if run._frame is not frame:
        return False
    run.finish()
    return True


def promote_repeated_run() -> None:
    """Make the running repeated run a separate call, because JAX is about to compile for it."""
    run = _ACTIVE.run
    if run is None:
        return
    _ACTIVE.run = None
    if run._promote is not None and brainstate_runs.is_running(run._frame):
        promote, run._frame, run._promote = run._promote, None, None
        promote()
