"""Seconds by phase, from the duration events of jax.monitoring; knows no runner and no program."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Literal

from brainpy_probe.records import Timing

__all__ = ["PHASES", "Phase", "Stopwatch", "summed"]

Phase = Literal["trace", "lower", "compile"]

# Names since JAX 0.4.13: _src/dispatch.py.
PHASES: dict[str, Phase] = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


@dataclass
class Stopwatch:
    """Gathers the phases of one stretch of time.

    JAX reports each phase when it ends, and phases nest: the trace of an inner function lies
    within that of the outer one, and lowering may trace. Every moment is counted once, for the
    innermost phase that covers it.
    """

    begun: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    excluded: float = 0.0
    _spans: list[tuple[Phase, float, float]] = field(default_factory=list)

    def phase_ended(self, phase: Phase, seconds: float) -> None:
        """Note a phase that ends now and took so many seconds."""
        now = time.perf_counter()
        self._spans.append((phase, now - seconds, now))

    def exclude(self, seconds: float) -> None:
        """Take seconds out of the wall time, since they are not this stretch's own."""
        self.excluded += seconds

    def stop(self) -> None:
        """End the stretch."""
        self.ended = time.perf_counter()

    def timing(self) -> Timing:
        """Return the seconds by phase."""
        ended = time.perf_counter() if self.ended is None else self.ended
        wall = max(ended - self.begun - self.excluded, 0.0)
        seconds: dict[Phase, float] = {"trace": 0.0, "lower": 0.0, "compile": 0.0}
        edges = sorted({edge for _, begin, end in self._spans for edge in (begin, end)})
        for begin, end in itertools.pairwise(edges):
            covering = [(b, -e, p) for p, b, e in self._spans if b <= begin and end <= e]
            if covering:
                seconds[max(covering)[2]] += end - begin
        return Timing(
            trace=seconds["trace"],
            lower=seconds["lower"],
            compile=seconds["compile"],
            execute=max(wall - sum(seconds.values()), 0.0),
            wall=wall,
        )


def summed(one: Timing, other: Timing) -> Timing:
    """Return the seconds of two stretches together."""
    return Timing(**{f: getattr(one, f) + getattr(other, f) for f in Timing.__struct_fields__})
