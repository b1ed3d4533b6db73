"""Records the traces of BrainPy from 2.7 on, where brainstate keeps the state.

A run belongs to a runner, or is an outermost loop, condition or jitted function of brainstate.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType
from typing import Any

import jax

from brainpy_probe.compat import (
    brainpy_runner,
    brainpy_transforms,
    brainstate_runs,
    jax_tracing,
)
from brainpy_probe.compat.types import Args, Kwargs, StatefulFunction, StateTrace, Wrapped
from brainpy_probe.recording import lifecycle
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_CALL
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.patches import ACTIVE, Patch
from brainpy_probe.recording.tracing import outermost_runs, uncaptured
from brainpy_probe.recording.tracing.callables import contains_method
from brainpy_probe.recording.tracing.repeated_runs import end_repeated_run
from brainpy_probe.recording.tracing.traces import LoopRun, NativeResults, StateUse, StepTrace

__all__ = ["patches", "trace_function"]


def patches() -> list[Patch]:
    """Return the patches of brainstate and JAX, to be installed while a capture is open."""
    jax_tracing.take("scan")
    stateful = brainpy_transforms.take("stateful-function")
    return [
        Patch(stateful, "make_jaxpr", _make_jaxpr),
        Patch(stateful, "_wrapped_fun_to_eval", _wrapped_fun_to_eval),
        Patch(stateful, "get_state_trace", _get_state_trace),
        Patch(jax.lax, "scan", _scan),
        *(
            Patch(primitive, "bind", _bind)
            for primitive in brainstate_runs.control_flow_primitives()
        ),
        Patch(brainpy_transforms.take("state-trace"), "assign_state_vals_v2", _assign_state_vals),
    ]


# The frame of a jitted function that requests the states of its trace. A new trace begins a call.
_ASKING: ContextVar[FrameType | None] = ContextVar("brainpy_probe_asking", default=None)


def _make_jaxpr(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``StatefulFunction.make_jaxpr``: loops that it traces are not outermost.

    The trace of an outermost run begins a call.
    """
    call = lifecycle.running_call()
    if call is None:
        frame = _ASKING.get() or sys._getframe(1)
        if not outermost_runs.may_begin(frame):
            uncaptured.note_idiom(instance, frame)
            return wrapped(*args, **kwargs)
        call = outermost_runs.begin(instance, frame)
    if call.tracing:
        return wrapped(*args, **kwargs)
    try:
        with call.inside_trace():
            return wrapped(*args, **kwargs)
    except BaseException as error:
        _end_with(call, error)
        raise


def _wrapped_fun_to_eval(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``StatefulFunction._wrapped_fun_to_eval``, which runs the function to be traced."""
    with scopes.method_scope(instance.fun):
        return wrapped(*args, **kwargs)


def _end_with(call: RunningCall, error: BaseException) -> None:
    """End the call of a run without a runner that has raised an exception."""
    if call.is_standalone and not call.is_over:
        call.error = error
        lifecycle.end(call)


def _get_state_trace(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``StatefulFunction.get_state_trace``: record the outermost traces of a call.

    Every loop and every jit calls it just before it runs, whether the jaxpr is new or in
    brainstate's cache.
    """
    call = lifecycle.running_call()
    frame = sys._getframe(1)
    if call is None and outermost_runs.may_begin(frame):
        token = _ASKING.set(frame)
        try:
            states = wrapped(*args, **kwargs)
        finally:
            _ASKING.reset(token)
        call = lifecycle.running_call()
        if call is None:
            repeated = ACTIVE.repeated.get(instance, id(states), ACTIVE.users)
            if repeated is not None:
                repeated.start(frame, lambda: _begin_call(instance, frame, args, kwargs, states))
                return states
            if brainstate_runs.run_kind(frame) == "jit" and not states.states:
                return states
            call = outermost_runs.begin(instance, frame)
    else:
        if call is None:
            uncaptured.note_inside(frame)
        states = wrapped(*args, **kwargs)
    if call is not None and not call.tracing:
        _record_trace(call, instance, args, kwargs, states)
    return states


def _begin_call(
    instance: Any, frame: FrameType, args: Args, kwargs: Kwargs, states: StateTrace
) -> None:
    """Begin the call of a jitted function that is about to run, and record its trace."""
    _record_trace(outermost_runs.begin(instance, frame), instance, args, kwargs, states)


def _record_trace(
    call: RunningCall, instance: Any, args: Args, kwargs: Kwargs, states: StateTrace
) -> None:
    """Record a function that brainstate has traced and that is about to run in a call."""
    if id(instance) in call.seen_functions:
        call.repeats += not call.is_standalone
        return
    if call.is_standalone and outermost_runs.is_not_recorded(call, states):
        lifecycle.cancel(call)
        return
    call.seen_functions[id(instance)] = instance, False, None
    with call.own_work():
        is_step = instance is call.function or contains_method(
            instance.fun, call.runner, brainpy_runner.STEP
        )
        if call.may_be_run(is_step):
            kwargs = {name: value for name, value in kwargs.items() if name != "compile_if_miss"}
            trace = _step(instance, args, kwargs)
            call.seen_functions[id(instance)] = instance, is_step, trace
            if brainpy_transforms.is_jitted(instance):
                call.candidates.append((is_step, trace))
                call.upcoming = trace if is_step else None


def _assign_state_vals(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``StateTraceStack.assign_state_vals_v2``: record the states after a first jitted step.

    Every loop and every jit calls it just after it has run, with the states of its trace. It ends
    the call of a run without a runner.
    """
    result = wrapped(*args, **kwargs)
    call = CURRENT_CALL.get()
    if call is None or call.tracing:
        end_repeated_run(sys._getframe(1))
        return result
    if call.is_standalone:
        if call.frame is sys._getframe(1):
            outermost_runs.finish(call, instance)
        return result
    if not call.candidates:
        return result
    _, run = call.candidates[-1]
    if id(run) in call.first_states or not isinstance(run, StepTrace):
        return result
    with call.own_work():
        if _is_trace_of(instance, run):
            call.first_states[id(run)] = [use.variable.value for use in run.states]
    return result


def _bind(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``bind`` of JAX's loops and conditions: record the outermost one of a call.

    ``jax.lax.scan`` records a loop over time, because it also has the structure of the results.
    """
    call = CURRENT_CALL.get()
    if call is None or call.tracing or not call.is_standalone or call.bound is not None:
        return wrapped(*args, **kwargs)
    before: dict[int, Any] | None = None
    with call.own_work():
        if jax_tracing.trace_state_clean() and brainstate_runs.run_kind(call.frame) != "jit":
            before = outermost_runs.values_before(call)
    if before is None:
        return wrapped(*args, **kwargs)
    compiled = len(call.compilations)
    try:
        results = wrapped(*args, **kwargs)
    except BaseException as error:
        _end_with(call, error)
        raise
    with call.own_work():
        new = call.compilations[compiled:]
        call.bound = outermost_runs.BoundPrimitive(
            instance, args, kwargs, results, before, new[0] if len(new) == 1 else None
        )
    return results


def _is_trace_of(states: StateTrace, run: StepTrace) -> bool:
    """Return whether brainstate's state trace has the Variables of a function, in order."""
    variables = [use.variable for use in run.states]
    return len(variables) == len(states.states) and all(
        a is b for a, b in zip(variables, states.states, strict=True)
    )


def _scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``jax.lax.scan``: record BrainPy's outermost loops in a call."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing:
        return wrapped(*args, **kwargs)
    is_step, trace = False, None
    with call.own_work():
        arguments = jax_tracing.scan_arguments(*args, **kwargs)
        body = brainpy_transforms.scanned_function(arguments["f"])
        _, is_step, trace = call.seen_functions.get(id(body), (None, False, None))
    if trace is None:
        return wrapped(*args, **kwargs)
    loop: LoopRun | None = None
    with call.own_work():
        is_step = is_step and (call.is_standalone or call.scans_its_indices(arguments["xs"]))
        if call.may_be_run(is_step):
            loop = _loop(trace, arguments)
            call.upcoming = loop if is_step else None
    compiled = len(call.compilations)
    try:
        with call.inside_trace():
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        _end_with(call, error)
        raise
    with call.own_work():
        call.upcoming = None
        if loop is not None:
            compilation = call.compilation_since(compiled, jax_tracing.LOOP_MODULE)
            (after, last), ys = result
            native = NativeResults(jax.tree_util.tree_leaves((last, ys)), list(after))
            step = replace(trace, compilation=compilation)
            call.candidates.append((is_step, replace(loop, step=step, native=native)))
    return result


def _loop(step: StepTrace, arguments: dict[str, Any]) -> LoopRun:
    """Return the record of a loop that is about to run, given the arguments of its scan."""
    options = {name: arguments[name] for name in ("length", "reverse", "unroll")}
    changing, carry = arguments["init"]
    carried = [n for n, value in enumerate(changing) if value is not None]
    return LoopRun(step, carry, arguments["xs"], options, carried)


def trace_function(
    function: Callable[..., Any], args: Args, kwargs: Kwargs, reachable: Sequence[Any]
) -> StepTrace:
    """Trace a function that reads and writes Variables; brainstate restores their values.

    Raises
    ------
    Exception
        Any exception of the function.
    """
    del reachable  # brainstate finds the Variables itself
    stateful = brainpy_transforms.take("stateful-function")(function, name="step")
    stateful.make_jaxpr(*args, **kwargs)
    return _step(stateful, args, kwargs)


def _step(stateful: StatefulFunction, args: Args, kwargs: Kwargs) -> StepTrace:
    """Return the record of a function that brainstate has traced, from brainstate's cache."""
    key = stateful.get_arg_cache_key(*args, **kwargs)
    states = stateful.get_state_trace_by_cache(key)
    closed = stateful.get_jaxpr_by_cache(key)
    jaxpr = closed.jaxpr
    args, kwargs = brainstate_runs.without_static(stateful, args, kwargs)
    values = [variable.value for variable in states.states]
    entering = [len(jax.tree_util.tree_leaves(value)) for value in values]
    own = len(jaxpr.invars) - sum(entering)
    result_tree, made_tree = stateful.get_out_treedef_by_cache(key).children()
    leaving = [tree.num_leaves for tree in made_tree.children()]
    returned = result_tree.num_leaves
    return StepTrace(
        eqns=list(jaxpr.eqns),
        constants=list(zip(jaxpr.constvars, closed.consts, strict=True)),
        args=args,
        kwargs=kwargs,
        invars=list(jaxpr.invars[:own]),
        states=[
            StateUse(variable, value, read, new if writes else None)
            for variable, value, read, new, writes in zip(
                states.states,
                values,
                _groups(jaxpr.invars[own:], entering),
                _groups(jaxpr.outvars[returned:], leaving),
                brainpy_transforms.is_written(states),
                strict=True,
            )
        ],
        result=list(jaxpr.outvars[:returned]),
        result_tree=result_tree,
        jaxpr=jaxpr,
    )


def _groups(flat: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    """Split a sequence into groups of the given sizes."""
    rest = iter(flat)
    return [list(itertools.islice(rest, size)) for size in sizes]
