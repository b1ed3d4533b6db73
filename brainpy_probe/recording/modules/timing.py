"""Seconds by phase, as JAX and numba tell of them; knows no runner and no program."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from brainpy_probe.format.common_records import Timing

__all__ = ["HEARING", "PHASES", "Phase", "Span", "Stopwatch", "by_phase", "ended_now", "summed"]

# ``other`` is none of the run's.
Phase = Literal["trace", "lower", "compile", "numba", "other"]
# A phase, when it began and when it ended.
Span = tuple[Phase, float, float]

# Names since JAX 0.4.13: _src/dispatch.py.
PHASES: dict[str, Phase] = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


@dataclass
class Hearing:
    """Whether JAX tells of its phases.

    Attributes
    ----------
    lapses : int
        How often the probe's listener was found to be gone: anybody may call
        ``jax.monitoring.clear_event_listeners()``. What lies around a lapse was not measured.
    """

    lapses: int = 0


HEARING = Hearing()


def ended_now(phase: Phase, seconds: float) -> Span:
    """Return the span of a phase that ends now and took so many seconds."""
    now = time.perf_counter()
    return phase, now - seconds, now


def by_phase(spans: Sequence[Span], beneath: Sequence[Span] = ()) -> dict[Phase, float]:
    """Return the seconds by phase.

    JAX reports each phase when it ends, and phases nest: the trace of an inner function lies
    within that of the outer one (up to 0.4.30 both are reported), and lowering may trace. Every
    moment is counted once, for the innermost phase that covers it; for one of those ``beneath``,
    which are of other threads, only where no other phase covers it.
    """
    seconds: dict[Phase, float] = dict.fromkeys(get_args(Phase), 0.0)
    edges = sorted({edge for _, begin, end in (*spans, *beneath) for edge in (begin, end)})
    inner, outer = _Covering(spans), _Covering(beneath)
    for begin, end in itertools.pairwise(edges):
        phase = inner.between(begin, end) or outer.between(begin, end)
        if phase is not None:
            seconds[phase] += end - begin
    return seconds


class _Covering:
    """The innermost of some spans at each moment, asked for in the order of time."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._coming = sorted(((b, e, p) for p, b, e in spans), reverse=True)
        self._covering: list[tuple[float, float, Phase]] = []

    def between(self, begin: float, end: float) -> Phase | None:
        """Return the phase that covers the time between two edges that follow each other."""
        while self._coming and self._coming[-1][0] <= begin:
            b, e, phase = self._coming.pop()
            heapq.heappush(self._covering, (-b, e, phase))
        while self._covering and self._covering[0][1] < end:
            heapq.heappop(self._covering)
        return self._covering[0][2] if self._covering else None


@dataclass
class Stopwatch:
    """Gathers the phases of one stretch of time."""

    begun: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    excluded: float = 0.0
    _spans: list[Span] = field(default_factory=list)
    lapses: int = field(default_factory=lambda: HEARING.lapses)
    _interruptions: list[Span] = field(default_factory=list)
    _beneath: list[Span] = field(default_factory=list)
    _missed: set[Phase] = field(default_factory=set)

    def phase_ended(self, span: Span) -> None:
        """Note a phase that has ended."""
        self._spans.append(span)

    def phase_beneath(self, span: Span) -> None:
        """Note a phase of another thread, for which this one may have waited."""
        phase, begin, end = span
        self._beneath.append((phase, max(begin, self.begun), end))

    def miss(self, *phases: Phase) -> None:
        """Note that phases can't be told from what is left of the time."""
        self._missed.update(phases)

    def exclude(self, seconds: float) -> None:
        """Take seconds out of the wall time, since they are not this stretch's own."""
        self.excluded += seconds

    def interrupted(self, other: Stopwatch) -> None:
        """Take another stretch, which has ended, out of this one and of its phases."""
        ended = time.perf_counter() if other.ended is None else other.ended
        self.exclude(ended - other.begun)
        self._interruptions.append(("other", other.begun, ended))

    def begin(self) -> None:
        """Begin the stretch, or begin it again."""
        self.begun, self.lapses = time.perf_counter(), HEARING.lapses

    def stop(self) -> None:
        """End the stretch."""
        self.ended = time.perf_counter()

    @property
    def wall(self) -> float:
        """Seconds from the begin to the end, or until now, less what was taken out."""
        ended = time.perf_counter() if self.ended is None else self.ended
        return max(ended - self.begun - self.excluded, 0.0)

    def timing(self) -> Timing:
        """Return the seconds by phase; None for those that were not measured."""
        wall = self.wall
        seconds = by_phase([*self._spans, *self._interruptions], self._beneath)
        missed = set(self._missed)
        if self.lapses != HEARING.lapses:
            missed |= {"trace", "lower", "compile"}
        known = {p: None if p in missed else s for p, s in seconds.items() if p != "other"}
        left = max(wall - sum(seconds.values()) + seconds["other"], 0.0)
        return Timing(**known, execute=None if missed else left, wall=wall)


def summed(one: Timing, other: Timing) -> Timing:
    """Return the seconds of two stretches together; None where those of one are not known."""

    def both(name: str) -> float | None:
        first, second = getattr(one, name), getattr(other, name)
        return None if first is None or second is None else first + second

    return Timing(**{name: both(name) for name in Timing.__struct_fields__})
