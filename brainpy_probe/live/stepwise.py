"""The step of a runner whose loop is Python's: found, or traced once; knows no lowering.

Such a runner has no compiled loop to show. Tracing its loop would unroll it, so that one step is
taken: the compiled one of a ``memory_efficient`` runner, or, with ``jit=False``, a trace of the
bare step, after which all that the trace touched is put back.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from brainpy_probe.live import seams
from brainpy_probe.live.calls import RunningCall, StepTrace
from brainpy_probe.live.rewind import rewound

__all__ = ["find", "prepare"]


def prepare(call: RunningCall) -> None:
    """Before the native run: note the states' values, or trace the step where none is compiled."""
    if not seams.runs_step_by_step(call.runner) or not len(call.indices):
        return
    call.stepwise = True
    compiled = seams.compiled_step(call.runner)
    if compiled is None:
        try:
            call.step = _traced(call)
        except Exception as error:
            call.step_failure = error
        return
    args, kwargs = _step_arguments(call)
    try:
        states = compiled.get_states_by_cache(compiled.get_arg_cache_key(*args, **kwargs))
    except ValueError:
        return  # not traced yet: hooks.make_jaxpr will note the trace
    call.step = StepTrace(compiled, args, kwargs, [state.value for state in states])


def find(call: RunningCall) -> StepTrace | None:
    """After the native run: return the step that was taken, or None."""
    compiled = seams.compiled_step(call.runner)
    traced = [trace for trace in call.traces if trace.stateful is compiled]
    return traced[0] if traced else call.step


def _step_arguments(call: RunningCall) -> tuple[tuple[Any, ...], dict[str, Any]]:
    index = call.indices[0]
    first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[1:], x.dtype), call.xs)
    return (index, *first), {"shared_args": call.shared_args}


def _traced(call: RunningCall) -> StepTrace:
    args, kwargs = _step_arguments(call)
    step = functools.partial(seams.step_function(call.runner), **kwargs)
    stateful = seams.take("stateful-function")(step, name="step")
    call.tracing = True
    try:
        with rewound(call.runner), jax.disable_jit(False):
            stateful.make_jaxpr(*args)
    finally:
        call.tracing = False
    states = stateful.get_states_by_cache(stateful.get_arg_cache_key(*args))
    return StepTrace(stateful, args, {}, [state.value for state in states])
