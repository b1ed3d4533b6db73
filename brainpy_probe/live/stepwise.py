"""Traces the step of a runner that never traces it itself (``jit=False``); knows no program.

Such a runner has no compiled loop to show, and tracing its Python loop would unroll it. One trace
of the bare step is made instead, and all that this touches is put back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from brainpy_probe.live import seams
from brainpy_probe.live.calls import RunningCall
from brainpy_probe.live.rewind import first_items, rewound
from brainpy_probe.live.traces import StepTrace

__all__ = ["trace_step"]


def trace_step(call: RunningCall, traced: Callable[..., StepTrace]) -> StepTrace | None:
    """Trace one step before the native run; None if that run traces its step itself.

    Parameters
    ----------
    call : RunningCall
        The call that is about to run.
    traced : callable
        ``traced(function, args, kwargs, reached)`` traces a function that uses Variables.
    """
    if seams.compiles_its_step(call.runner) or not len(call.indices):
        return None
    entries = seams.iterated_inputs(call.runner)
    items = first_items(entries)
    if items is None:
        return None  # the run will raise StopIteration in its first step
    step = seams.step_function(call.runner, call.shared_args)

    def fed(*args: Any, iterated: list[Any]) -> Any:
        for entry, item in zip(entries, iterated, strict=True):
            entry[1] = iter([item])
        return step(*args)

    args = seams.first_step(call.runner, call.indices, call.xs)
    kwargs = {"iterated": jax.tree_util.tree_map(np.asarray, items)}
    with call.inside(), rewound(call.runner) as reached, jax.disable_jit(False):
        return traced(fed, args, kwargs, reached)
