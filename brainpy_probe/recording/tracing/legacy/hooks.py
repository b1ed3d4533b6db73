"""Records the traces of BrainPy up to 2.6, where BrainPy itself keeps the Variables.

From 2.4 on, a run is one ``jax.lax.scan`` outside of any jit; its jaxpr is a parameter of the scan
primitive that JAX binds. Before 2.4, and if a runner compiles its step, a run is a call of a
``bm.jit`` function; its jaxpr is read from JAX's trace cache, so that the model's Python code does
not run again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, brainpy_transforms, jax_tracing
from brainpy_probe.compat.types import (
    Args,
    Kwargs,
    Transform,
    Wrapped,
)
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_CALL, guard
from brainpy_probe.recording.patches import Patch
from brainpy_probe.recording.tracing.callables import contains_method
from brainpy_probe.recording.tracing.legacy import standalone
from brainpy_probe.recording.tracing.legacy.records import (
    jitted_trace,
    loop_run,
    trace_function,
)

__all__ = ["patches", "trace_function"]


def patches() -> list[Patch]:
    """Return the patches of BrainPy and JAX, to be installed while a capture is open."""
    found = [Patch(brainpy_transforms.take("jit-transform"), "__call__", _jit_call)]
    if brainpy_transforms.splits_random_states():
        found.append(Patch(brainpy_transforms.variable_stack(), "call_on_subset", _call_on_subset))
    found.append(Patch(jax.lax, "scan", _scan))
    found.append(Patch(jax_tracing.take("scan-primitive"), "bind", _bind))
    return found


def _outermost() -> RunningCall | None:
    """Return this thread's call, if the current code runs outside of any trace."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing is not None or jax.config.jax_disable_jit:
        return None
    with guard:
        return call if jax_tracing.trace_state_clean() else None
    return None


def _scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``jax.lax.scan``: record BrainPy's outermost loops in a call."""
    call = _outermost()
    variables, is_step = None, False
    if call is None and standalone.may_begin():
        return standalone.run_loop(wrapped, args, kwargs)
    if call is not None:
        with call.own_work():
            arguments = jax_tracing.scan_arguments(*args, **kwargs)
            is_step = contains_method(arguments["f"], call.runner, brainpy_runner.STEP)
            is_step = is_step and call.scans_its_indices(arguments["xs"])
            if call.may_be_run(is_step):
                variables = brainpy_transforms.loop_variables(arguments["f"])
    if call is None or variables is None:
        return wrapped(*args, **kwargs)
    compiled = len(call.compilations)
    with call.inside_trace() as events:
        result = wrapped(*args, **kwargs)
    with call.own_work():
        loop = loop_run(events.scan, variables, arguments["xs"], result)
        compilation = call.compilation_since(compiled, jax_tracing.LOOP_MODULE)
        loop = replace(loop, step=replace(loop.step, compilation=compilation))
        call.candidates.append((is_step, loop))
    return result


def _bind(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``bind`` of JAX's scan primitive: record its operands and parameters.

    ``jax.lax.scan`` calls it after it has traced the body.
    """
    call = CURRENT_CALL.get()
    if call is not None and call.tracing is not None:
        with guard:
            if jax_tracing.trace_state_clean():
                call.tracing.scan = args, kwargs
    return wrapped(*args, **kwargs)


def _jit_call(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the call of a ``bm.jit`` function: record a call's outermost ones."""
    call = _outermost()
    if call is None and standalone.may_begin():
        return standalone.run_jit(wrapped, instance, args, kwargs)
    if call is None or id(instance) in call.seen_functions:
        if call is not None:
            call.repeats += 1
        return wrapped(*args, **kwargs)
    is_step, values = False, None
    with call.own_work():
        is_step = _is_step_or_loop(call, instance, args)
        if call.may_be_run(is_step):
            before = brainpy_transforms.jit_variables(instance)
            values = {key: brainpy_model.raw_value(variable) for key, variable in before.items()}
    if values is None:
        call.seen_functions[id(instance)] = instance
        return wrapped(*args, **kwargs)
    compiled = len(call.compilations)
    with call.inside_trace() as events:
        result = wrapped(*args, **kwargs)
    call.seen_functions[id(instance)] = instance
    with call.own_work():
        values = values if events.split is None else events.split
        trace = jitted_trace(call, instance, values, args, kwargs, result)
        compilation = call.compilation_since(compiled, brainpy_transforms.jit_module(instance))
        call.candidates.append((is_step, replace(trace, compilation=compilation)))
    return result


def _is_step_or_loop(call: RunningCall, transform: Transform, args: Args) -> bool:
    """Return whether a ``bm.jit`` function is the runner's step, or its loop over this call."""
    if contains_method(brainpy_transforms.jit_target(transform), call.runner, brainpy_runner.STEP):
        return True
    kept_loop = brainpy_runner.is_cached_loop(call.runner, transform)
    return kept_loop and (call.indices is None or call.scans_its_indices(args))


def _call_on_subset(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap BrainPy's split of the random states, just before a ``bm.jit`` function runs."""
    call = CURRENT_CALL.get()
    events = None if call is None else call.tracing
    if events is not None and events.split is None:
        with guard:
            if jax_tracing.trace_state_clean():
                events.split = {
                    key: brainpy_model.raw_value(variable) for key, variable in instance.items()
                }
    return wrapped(*args, **kwargs)
