"""What is noted of one predict call while it runs; knows neither how it is seen nor what for."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from brainpy_probe.live.compilation import Compilation
from brainpy_probe.live.timing import Stopwatch
from brainpy_probe.records import Timing

__all__ = ["CURRENT_CALL", "CURRENT_WATCH", "LoopRun", "RunningCall", "StepTrace"]


@dataclass(frozen=True)
class StepTrace:
    """A StatefulFunction that BrainPy has traced, and its states' values at that moment.

    Attributes
    ----------
    stateful : brainstate.transform.StatefulFunction
        Holds the jaxpr and the states, by the key of its arguments.
    args, kwargs
        What it was traced with.
    values : list
        The value of each state, in the order of its trace.
    """

    stateful: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    values: list[Any]


@dataclass(frozen=True)
class LoopRun:
    """One outermost ``jax.lax.scan`` of a call.

    Attributes
    ----------
    step : StepTrace
        The traced body.
    init : Any
        The first carry, as brainstate builds it: the written states' values, the user's carry.
    xs : Any
        What is scanned over.
    options : dict
        ``length``, ``reverse``, ``unroll``.
    carry, ys : Any
        What the native loop returned.
    """

    step: StepTrace
    init: Any
    xs: Any
    options: dict[str, Any]
    carry: Any
    ys: Any


@dataclass
class RunningCall:
    """One call of ``predict``, from its begin to its end."""

    runner: Any
    watch: Stopwatch = field(default_factory=Stopwatch)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    thread: str = field(default_factory=lambda: threading.current_thread().name)
    i0: int = 0
    jit: bool = True
    indices: Any = None
    xs: tuple[Any, ...] = ()
    shared_args: Any = None
    preparation: Timing = field(default_factory=Timing)
    step: StepTrace | None = None
    step_failure: Exception | None = None
    problem: Exception | None = None
    traces: list[StepTrace] = field(default_factory=list)
    noted: dict[int, Any] = field(default_factory=dict)
    loops: list[LoopRun] = field(default_factory=list)
    returned: Any = None
    error: BaseException | None = None
    tracing: bool = False
    compilations: list[Compilation] = field(default_factory=list)

    @property
    def user_inputs(self) -> int | None:
        """How many inputs the user gave, beside the step indices; None if it gave no indices."""
        return None if self.indices is None else len(self.xs)


CURRENT_CALL: ContextVar[RunningCall | None] = ContextVar("brainpy_probe_call", default=None)
CURRENT_WATCH: ContextVar[Stopwatch | None] = ContextVar("brainpy_probe_watch", default=None)
