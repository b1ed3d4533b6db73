"""Records outermost loops and ``bm.jit`` functions without a runner, up to BrainPy 2.6."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_transforms, jax_tracing
from brainpy_probe.compat.types import Args, Kwargs, Transform, Wrapped
from brainpy_probe.recording import lifecycle
from brainpy_probe.recording.current import CURRENT_CALL, OWN_WORK, guard
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.recording.tracing import outermost_runs, uncaptured
from brainpy_probe.recording.tracing.legacy.records import jitted_trace, loop_run
from brainpy_probe.recording.tracing.repeated_runs import RepeatedRun

__all__ = ["may_begin", "run_jit", "run_loop"]


def may_begin() -> bool:
    """Return whether an outermost loop or jit that starts now is recorded as a separate call."""
    if not ACTIVE.users or OWN_WORK.get() or CURRENT_CALL.get() is not None:
        return False
    return jax_tracing.trace_state_clean() and not jax.config.jax_disable_jit


def run_loop(wrapped: Wrapped, args: Args, kwargs: Kwargs) -> Any:
    """Run ``jax.lax.scan``; record it as a call if it is a loop of BrainPy without a runner."""
    arguments, variables = None, None
    with guard:
        arguments = jax_tracing.scan_arguments(*args, **kwargs)
        variables = brainpy_transforms.loop_variables(arguments["f"])
    if arguments is None or variables is None:
        return wrapped(*args, **kwargs)
    body = arguments["f"]
    call = outermost_runs.begin_call(lambda: [body], "loop", sys._getframe(2))
    try:
        with call.inside_trace() as events:
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        call.error = error
        lifecycle.end(call)
        raise
    if outermost_runs.is_stateless(call, list(variables)):
        lifecycle.cancel(call)
        return result
    with call.own_work():
        loop = loop_run(events.scan, variables, arguments["xs"], result)
        compilation = call.compilation_since(0, jax_tracing.LOOP_MODULE)
        loop = replace(loop, step=replace(loop.step, compilation=compilation))
        call.candidates.append((True, loop))
        outermost_runs.mark_training(call)
    # BrainPy assigns the results to the Variables later, so values at the end are not compared.
    lifecycle.end(call)
    return result


def run_jit(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Run a ``bm.jit`` function without a runner as a call; a known one is only counted."""
    key: Hashable = None
    with guard:
        key = _signature(instance, args, kwargs)
    repeated = None if key is None else ACTIVE.repeated.get(instance, key, ACTIVE.users)
    if repeated is not None:
        begun = time.perf_counter()
        result = wrapped(*args, **kwargs)
        repeated.count_run(time.perf_counter() - begun)
        return result
    user = brainpy_transforms.jit_target(instance)
    numbered, named = brainpy_transforms.jit_static(instance, args, kwargs)
    static: dict[Any, Any] = {**numbered, **named}
    call = outermost_runs.begin_call(lambda: [user], "jit", sys._getframe(2), static)
    before: dict[Any, Any] = {}
    with call.own_work():
        before = _values(instance)
    try:
        with call.inside_trace() as events:
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        call.error = error
        lifecycle.end(call)
        raise
    # In the order of the trace: the leaves of a dict are in the order of its keys.
    known = brainpy_transforms.jit_variables(instance)
    variables = [known[key] for key in sorted(known)]
    if outermost_runs.is_stateless(call, variables):
        lifecycle.cancel(call)
        if call.compilations:
            uncaptured.note_stateless(user)
        return result
    with call.own_work():
        values = before if events.split is None else events.split
        trace = jitted_trace(call, instance, values, args, kwargs, result)
        compilation = call.compilation_since(0, brainpy_transforms.jit_module(instance))
        call.candidates.append((True, replace(trace, compilation=compilation)))
        if call.snapshot is not None:
            call.snapshot.end()
        outermost_runs.mark_training(call)
    seconds = call.watch.timing().wall
    lifecycle.end(call)
    with guard:
        key = _signature(instance, args, kwargs)
    if key is not None and seconds is not None:
        repeated = RepeatedRun(call.serial, call.sessions, variables)
        repeated.add(seconds)
        ACTIVE.repeated.add(instance, key, repeated)
    return result


def _values(transform: Transform) -> dict[Any, Any]:
    """Return the values of the Variables of a ``bm.jit`` function, by their keys."""
    variables = brainpy_transforms.jit_variables(transform)
    return {key: brainpy_model.raw_value(variable) for key, variable in variables.items()}


def _signature(transform: Transform, args: Args, kwargs: Kwargs) -> Hashable:
    """Return the key by which JAX's cache chooses the compiled code of a ``bm.jit`` function.

    It has shapes, dtypes and weak types of the arguments and Variables, and other arguments by
    value.
    """
    leaves, tree = jax.tree_util.tree_flatten((args, kwargs, _values(transform)))
    return tree, tuple(
        (leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False))
        if hasattr(leaf, "dtype")
        else (type(leaf), leaf if isinstance(leaf, Hashable) else id(leaf))
        for leaf in leaves
    )
