"""Traces the step of a runner that never traces it itself (``jit=False``); knows no program.

Such a runner has no compiled loop to show, and tracing its Python loop would unroll it. One trace
of the bare step is made instead, and all that this touches is put back.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from brainpy_probe.live import seams
from brainpy_probe.live.calls import RunningCall, StepTrace
from brainpy_probe.live.rewind import first_items, rewound

__all__ = ["trace_step"]


def trace_step(call: RunningCall) -> StepTrace | None:
    """Trace one step before the native run; None if that run traces its step itself."""
    if seams.compiles_its_step(call.runner) or not len(call.indices):
        return None
    entries = seams.iterated_inputs(call.runner)
    items = first_items(entries)
    if items is None:
        return None  # the run will raise StopIteration in its first step
    step = functools.partial(seams.step_function(call.runner), shared_args=call.shared_args)

    def fed(*args: Any, iterated: list[Any]) -> Any:
        for entry, item in zip(entries, iterated, strict=True):
            entry[1] = iter([item])
        return step(*args)

    args = (call.indices[0], *jax.tree_util.tree_map(lambda x: np.asarray(x)[0], call.xs))
    kwargs = {"iterated": jax.tree_util.tree_map(np.asarray, items)}
    stateful = seams.take("stateful-function")(fed, name="step")
    call.tracing = True
    try:
        with rewound(call.runner), jax.disable_jit(False):
            stateful.make_jaxpr(*args, **kwargs)
    finally:
        call.tracing = False
    states = stateful.get_states_by_cache(stateful.get_arg_cache_key(*args, **kwargs))
    return StepTrace(stateful, args, kwargs, [state.value for state in states])
