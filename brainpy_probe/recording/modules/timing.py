"""Measures the seconds of each phase (trace, lower, compile, numba) from JAX's and numba's events.

Spans are taken from ``time.perf_counter``.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from brainpy_probe.format.manifest.common_records import Timing

__all__ = [
    "LISTENER",
    "PHASES",
    "Phase",
    "Span",
    "Stopwatch",
    "add_timings",
    "seconds_by_phase",
    "span_until_now",
]

# ``other`` is time that does not belong to the run.
Phase = Literal["trace", "lower", "compile", "numba", "other"]
# A phase, its begin and its end.
Span = tuple[Phase, float, float]

# Names since JAX 0.4.13: _src/dispatch.py.
PHASES: dict[str, Phase] = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


@dataclass
class _ListenerState:
    """The state of the probe's listener of JAX's events.

    Attributes
    ----------
    losses : int
        How many times the listener was found missing: other code may call
        ``jax.monitoring.clear_event_listeners()``. Phases around a loss were not measured.
    """

    losses: int = 0


LISTENER = _ListenerState()


def span_until_now(phase: Phase, seconds: float) -> Span:
    """Return the span of a phase that ends now and took a number of seconds."""
    now = time.perf_counter()
    return phase, now - seconds, now


def seconds_by_phase(
    spans: Sequence[Span], other_threads: Sequence[Span] = ()
) -> dict[Phase, float]:
    """Return the seconds by phase.

    JAX reports each phase when it ends, and phases nest: the trace of an inner function is part of
    the trace of the outer one (up to 0.4.30 both are reported), and lowering may trace. Every
    moment counts once, for the innermost phase that covers it. A phase of another thread counts
    only where no phase of this thread covers it.
    """
    seconds: dict[Phase, float] = dict.fromkeys(get_args(Phase), 0.0)
    edges = sorted({edge for _, begin, end in (*spans, *other_threads) for edge in (begin, end)})
    inner, outer = _InnermostSpan(spans), _InnermostSpan(other_threads)
    for begin, end in itertools.pairwise(edges):
        phase = inner.between(begin, end) or outer.between(begin, end)
        if phase is not None:
            seconds[phase] += end - begin
    return seconds


class _InnermostSpan:
    """Finds the innermost span at each moment, queried in the order of time."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._coming = sorted(((b, e, p) for p, b, e in spans), reverse=True)
        self._covering: list[tuple[float, float, Phase]] = []

    def between(self, begin: float, end: float) -> Phase | None:
        """Return the phase that covers the time between two successive edges."""
        while self._coming and self._coming[-1][0] <= begin:
            b, e, phase = self._coming.pop()
            heapq.heappush(self._covering, (-b, e, phase))
        while self._covering and self._covering[0][1] < end:
            heapq.heappop(self._covering)
        return self._covering[0][2] if self._covering else None


@dataclass
class Stopwatch:
    """Measures one interval of time and the phases within it."""

    begun: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    excluded: float = 0.0
    _spans: list[Span] = field(default_factory=list)
    losses: int = field(default_factory=lambda: LISTENER.losses)
    _excluded_spans: list[Span] = field(default_factory=list)
    _other_threads: list[Span] = field(default_factory=list)
    _unmeasured: set[Phase] = field(default_factory=set)

    def add(self, span: Span) -> None:
        """Add a phase that has ended in this thread."""
        self._spans.append(span)

    def add_other_thread(self, span: Span) -> None:
        """Add a phase of another thread, for which this thread may have waited."""
        phase, begin, end = span
        self._other_threads.append((phase, max(begin, self.begun), end))

    def mark_unmeasured(self, *phases: Phase) -> None:
        """Mark phases as not measured: they cannot be separated from the rest of the time."""
        self._unmeasured.update(phases)

    def exclude(self, seconds: float) -> None:
        """Subtract seconds that do not belong to this interval from the wall time."""
        self.excluded += seconds

    def exclude_interval(self, other: Stopwatch) -> None:
        """Subtract another interval, which has ended, from this one and from its phases."""
        ended = time.perf_counter() if other.ended is None else other.ended
        self.exclude(ended - other.begun)
        self._excluded_spans.append(("other", other.begun, ended))

    def begin(self) -> None:
        """Begin the interval, possibly again."""
        self.begun, self.losses = time.perf_counter(), LISTENER.losses

    def stop(self) -> None:
        """End the interval."""
        self.ended = time.perf_counter()

    @property
    def wall(self) -> float:
        """Seconds from the beginning to the end, or until now, without the excluded seconds."""
        ended = time.perf_counter() if self.ended is None else self.ended
        return max(ended - self.begun - self.excluded, 0.0)

    def timing(self) -> Timing:
        """Return the seconds by phase; None for phases that were not measured."""
        wall = self.wall
        seconds = seconds_by_phase([*self._spans, *self._excluded_spans], self._other_threads)
        unmeasured = set(self._unmeasured)
        if self.losses != LISTENER.losses:
            unmeasured |= {"trace", "lower", "compile"}
        known = {p: None if p in unmeasured else s for p, s in seconds.items() if p != "other"}
        rest = max(wall - sum(seconds.values()) + seconds["other"], 0.0)
        return Timing(**known, execute=None if unmeasured else rest, wall=wall)


def add_timings(first: Timing, second: Timing) -> Timing:
    """Return the sum of two timings; None for a phase that one of them did not measure."""

    def total(name: str) -> float | None:
        a, b = getattr(first, name), getattr(second, name)
        return None if a is None or b is None else a + b

    return Timing(**{name: total(name) for name in Timing.__struct_fields__})
