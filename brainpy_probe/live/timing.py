"""Seconds by phase, from the duration events of jax.monitoring; knows no runner and no program."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from brainpy_probe.records import Timing

__all__ = ["PHASES", "Phase", "Span", "Stopwatch", "by_phase", "ended_now", "summed"]

# ``other`` is none of the run's.
Phase = Literal["trace", "lower", "compile", "other"]
# A phase, when it began and when it ended.
Span = tuple[Phase, float, float]

# Names since JAX 0.4.13: _src/dispatch.py.
PHASES: dict[str, Phase] = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


def ended_now(phase: Phase, seconds: float) -> Span:
    """Return the span of a phase that ends now and took so many seconds."""
    now = time.perf_counter()
    return phase, now - seconds, now


def by_phase(spans: Sequence[Span]) -> dict[Phase, float]:
    """Return the seconds by phase.

    JAX reports each phase when it ends, and phases nest: the trace of an inner function lies
    within that of the outer one (up to 0.4.30 both are reported), and lowering may trace. Every
    moment is counted once, for the innermost phase that covers it.
    """
    seconds: dict[Phase, float] = {"trace": 0.0, "lower": 0.0, "compile": 0.0, "other": 0.0}
    edges = sorted({edge for _, begin, end in spans for edge in (begin, end)})
    coming = sorted(((b, e, p) for p, b, e in spans), reverse=True)
    covering: list[tuple[float, float, Phase]] = []
    for begin, end in itertools.pairwise(edges):
        while coming and coming[-1][0] <= begin:
            b, e, phase = coming.pop()
            heapq.heappush(covering, (-b, e, phase))
        while covering and covering[0][1] < end:
            heapq.heappop(covering)
        if covering:
            seconds[covering[0][2]] += end - begin
    return seconds


@dataclass
class Stopwatch:
    """Gathers the phases of one stretch of time."""

    begun: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    excluded: float = 0.0
    _spans: list[Span] = field(default_factory=list)
    _interruptions: list[Span] = field(default_factory=list)

    def phase_ended(self, phase: Phase, seconds: float) -> None:
        """Note a phase that ends now and took so many seconds."""
        self._spans.append(ended_now(phase, seconds))

    def exclude(self, seconds: float) -> None:
        """Take seconds out of the wall time, since they are not this stretch's own."""
        self.excluded += seconds

    def interrupted(self, other: Stopwatch) -> None:
        """Take another stretch, which has ended, out of this one and of its phases."""
        ended = time.perf_counter() if other.ended is None else other.ended
        self.exclude(ended - other.begun)
        self._interruptions.append(("other", other.begun, ended))

    def stop(self) -> None:
        """End the stretch."""
        self.ended = time.perf_counter()

    def timing(self) -> Timing:
        """Return the seconds by phase."""
        ended = time.perf_counter() if self.ended is None else self.ended
        wall = max(ended - self.begun - self.excluded, 0.0)
        seconds = by_phase([*self._spans, *self._interruptions])
        return Timing(
            trace=seconds["trace"],
            lower=seconds["lower"],
            compile=seconds["compile"],
            execute=max(wall - sum(seconds.values()) + seconds["other"], 0.0),
            wall=wall,
        )


def summed(one: Timing, other: Timing) -> Timing:
    """Return the seconds of two stretches together."""
    return Timing(**{f: getattr(one, f) + getattr(other, f) for f in Timing.__struct_fields__})
