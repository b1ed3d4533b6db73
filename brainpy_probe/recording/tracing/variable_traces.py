"""Records what BrainPy traces up to 2.6, where BrainPy itself keeps the Variables.

From 2.4 on, a run is one ``jax.lax.scan`` outside of any jit; its jaxpr is a parameter of the scan
primitive that JAX binds. Before 2.4, and where a runner compiles its step, a run is a call of a
``bm.jit`` function; its jaxpr is read from JAX's trace cache, so that the model's Python code does
not run again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, brainpy_transforms, jax_tracing
from brainpy_probe.errors import CannotCapture
from brainpy_probe.recording import lifecycle
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_CALL, OWN_WORK, guard
from brainpy_probe.recording.patches import LEDGER, Patch
from brainpy_probe.recording.tracing import outermost_runs
from brainpy_probe.recording.tracing.callables import contains_method
from brainpy_probe.recording.tracing.repeated_runs import RepeatedRun
from brainpy_probe.recording.tracing.traces import LoopRun, NativeResults, StateUse, StepTrace
from brainpy_probe.recording.types import (
    Args,
    Atom,
    ClosedJaxpr,
    Equation,
    Jaxpr,
    Kwargs,
    Pytree,
    Var,
    Variable,
    Wrapped,
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
    """Return this thread's call, if the present code runs outside of any trace."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing is not None or jax.config.jax_disable_jit:
        return None
    with guard:
        return call if jax_tracing.trace_state_clean() else None
    return None


def _scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``jax.lax.scan``: record the outermost loops of BrainPy's in a call."""
    call = _outermost()
    variables, is_step = None, False
    if call is None and _may_begin():
        return _standalone_loop(wrapped, args, kwargs)
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
        loop = _loop(events.scan, variables, arguments["xs"], result)
        compilation = call.compilation_since(compiled, jax_tracing.LOOP_MODULE)
        loop = replace(loop, step=replace(loop.step, compilation=compilation))
        call.candidates.append((is_step, loop))
    return result


def _may_begin() -> bool:
    """Return whether an outermost loop or jit that runs now is a call of its own."""
    if not LEDGER.users or OWN_WORK.get() or CURRENT_CALL.get() is not None:
        return False
    return jax_tracing.trace_state_clean() and not jax.config.jax_disable_jit


def _standalone_loop(wrapped: Wrapped, args: Args, kwargs: Kwargs) -> Any:
    """Run ``jax.lax.scan``; record it as a call if it is a loop of BrainPy's without a runner."""
    arguments, variables = None, None
    with guard:
        arguments = jax_tracing.scan_arguments(*args, **kwargs)
        variables = brainpy_transforms.loop_variables(arguments["f"])
    if arguments is None or variables is None:
        return wrapped(*args, **kwargs)
    body = arguments["f"]
    call = outermost_runs.begin_call([body], "loop", sys._getframe(2))
    try:
        with call.inside_trace() as events:
            result = wrapped(*args, **kwargs)
    except BaseException as error:
        call.error = error
        lifecycle.end(call)
        raise
    if outermost_runs.is_stateless(call, body, list(variables)):
        lifecycle.cancel(call)
        return result
    with call.own_work():
        loop = _loop(events.scan, variables, arguments["xs"], result)
        compilation = call.compilation_since(0, jax_tracing.LOOP_MODULE)
        loop = replace(loop, step=replace(loop.step, compilation=compilation))
        call.candidates.append((True, loop))
        outermost_runs.mark_training(call)
    # BrainPy assigns the results to the Variables later, so no values at the end are compared.
    lifecycle.end(call)
    return result


def _standalone_jit(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Run a ``bm.jit`` function without a runner as a call; a known one is only counted."""
    key: Hashable = None
    with guard:
        key = _signature(instance, args, kwargs)
    repeated = None if key is None else LEDGER.repeated.get(instance, key, LEDGER.users)
    if repeated is not None:
        begun = time.perf_counter()
        result = wrapped(*args, **kwargs)
        repeated.count_run(time.perf_counter() - begun)
        return result
    user = brainpy_transforms.jit_target(instance)
    call = outermost_runs.begin_call([user], "jit", sys._getframe(2))
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
    variables = list(brainpy_transforms.jit_variables(instance).values())
    if outermost_runs.is_stateless(call, user, variables):
        lifecycle.cancel(call)
        return result
    with call.own_work():
        values = before if events.split is None else events.split
        trace = _jitted(call, instance, values, args, kwargs, result)
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
        LEDGER.repeated.add(instance, key, repeated)
    return result


def _values(transform: Any) -> dict[Any, Any]:
    """Return the values of the Variables of a ``bm.jit`` function, by their keys."""
    variables = brainpy_transforms.jit_variables(transform)
    return {key: brainpy_model.raw_value(variable) for key, variable in variables.items()}


def _signature(transform: Any, args: Args, kwargs: Kwargs) -> Hashable:
    """Return what decides, for JAX's cache, which compiled code of a ``bm.jit`` function runs.

    Shapes, dtypes and weak types of the arguments and Variables, and other arguments by value.
    """
    leaves, tree = jax.tree_util.tree_flatten((args, kwargs, _values(transform)))
    return tree, tuple(
        (leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False))
        if hasattr(leaf, "dtype")
        else (type(leaf), leaf if isinstance(leaf, Hashable) else id(leaf))
        for leaf in leaves
    )


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


def _loop(
    scan: tuple[Args, Kwargs] | None, variables: dict[Any, Variable], xs: Pytree, result: Pytree
) -> LoopRun:
    """Return the record of a loop that has run.

    Parameters
    ----------
    scan : tuple or None
        The operands and parameters of the scan primitive.
    variables : dict
        The Variables of the loop, by the keys that BrainPy has for them.
    xs, result
        The scanned arrays, and the loop's result.

    Raises
    ------
    CannotCapture
        If the scan primitive was not bound.
    """
    if scan is None:
        raise CannotCapture(
            "A loop of BrainPy's ran without a scan that the probe could see.",
            "A loop of no steps has no scan; otherwise report the versions of BrainPy and JAX.",
        )
    operands, params = scan
    body = params["jaxpr"]
    constants, carried = jax_tracing.scan_operands(params)
    first, rest = list(operands[:constants]), list(body.jaxpr.invars[constants:])
    # The loop carries only the Variables' values, in a dict by id or in a list.
    keys = sorted(variables)
    reads, invars = rest[:carried], rest[carried:]
    writes, outs = body.jaxpr.outvars[:carried], body.jaxpr.outvars[carried:]
    values = operands[constants : constants + carried]
    after, ys = result
    step = StepTrace(
        eqns=list(body.jaxpr.eqns),
        constants=[
            *zip(body.jaxpr.invars[:constants], first, strict=True),
            *zip(body.jaxpr.constvars, body.consts, strict=True),
        ],
        args=((), xs),
        kwargs={},
        invars=invars,
        states=[
            StateUse(variables[key], value, [read], _written(read, write))
            for key, value, read, write in zip(keys, values, reads, writes, strict=True)
        ],
        result=list(outs),
        result_tree=jax.tree_util.tree_structure(((), ys)),
    )
    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    native = NativeResults(jax.tree_util.tree_leaves(ys), [after[key] for key in keys])
    return LoopRun(step, (), xs, options, list(range(len(keys))), native)


def _jit_call(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the call of a ``bm.jit`` function: record the outermost ones of a call."""
    call = _outermost()
    if call is None and _may_begin():
        return _standalone_jit(wrapped, instance, args, kwargs)
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
        trace = _jitted(call, instance, values, args, kwargs, result)
        compilation = call.compilation_since(compiled, brainpy_transforms.jit_module(instance))
        call.candidates.append((is_step, replace(trace, compilation=compilation)))
    return result


def _is_step_or_loop(call: RunningCall, transform: Any, args: Args) -> bool:
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


def _jitted(
    call: RunningCall,
    transform: Any,
    values: dict[Any, Any],
    args: Args,
    kwargs: Kwargs,
    result: Pytree,
) -> StepTrace:
    """Return the record of a ``bm.jit`` function that has run, from JAX's trace cache."""
    variables = brainpy_transforms.jit_variables(transform)
    after = {key: brainpy_model.raw_value(variable) for key, variable in variables.items()}
    function = brainpy_transforms.jit_function(transform)
    static, static_kwargs = brainpy_transforms.jit_static(transform, args, kwargs)
    args = tuple(arg for n, arg in enumerate(args) if n not in static)
    kwargs = {name: value for name, value in kwargs.items() if name not in static_kwargs}

    def run(values: Any, args: Args, kwargs: Kwargs) -> Any:
        every = list(args)
        for number, value in static.items():
            every.insert(number, value)
        return function(values, *every, **kwargs, **static_kwargs)

    try:
        with brainpy_transforms.forbid_retracing(transform):
            outer, shapes = jax.make_jaxpr(run, return_shape=True)(values, args, kwargs)
    finally:
        # If JAX's cache had no trace, BrainPy has put tracers into the Variables.
        for key, variable in variables.items():
            brainpy_model.set_raw_value(variable, after[key])
    jaxpr, invars, outs = _unwrapped(outer.jaxpr)
    read, invars = invars[: len(values)], invars[len(values) :]
    (out, out_tree), (changed, changes_tree) = brainpy_transforms.jit_results(
        outs, jax.tree_util.tree_structure(shapes)
    )
    writes = changes_tree.unflatten(changed)
    # The leaves of a dict are in the order of its keys.
    states = [
        StateUse(
            variables[key],
            values[key],
            [var],
            _written(var, writes[key]) if key in writes else None,
            splits=key not in writes,
        )
        for key, var in zip(sorted(values), read, strict=True)
    ]
    return StepTrace(
        eqns=list(jaxpr.jaxpr.eqns),
        constants=list(zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True)),
        args=brainpy_transforms.step_arguments(args),
        kwargs=kwargs,
        invars=invars,
        states=states,
        result=out,
        result_tree=out_tree,
        jaxpr=jaxpr.jaxpr,
        includes_loop=_includes_loop(call, transform, jaxpr.jaxpr.eqns),
        native=NativeResults(
            jax.tree_util.tree_leaves(result), [after[key] for key in sorted(values)]
        ),
    )


def _unwrapped(outer: Jaxpr) -> tuple[ClosedJaxpr, list[Var], list[Atom]]:
    """Return the jaxpr of a jit's only equation, with its variables for the outer ones."""
    if len(outer.eqns) != 1 or outer.constvars:
        raise CannotCapture(
            f"The trace of a bm.jit function is not one equation: {len(outer.eqns)} of them.",
            "The probe does not support this version of BrainPy or JAX.",
        )
    (eqn,) = outer.eqns
    jaxpr = eqn.params["jaxpr"]
    inner = dict(zip(eqn.invars, jaxpr.jaxpr.invars, strict=True))
    inner |= dict(zip(eqn.outvars, jaxpr.jaxpr.outvars, strict=True))
    # JAX 0.4.30 removes an output that is an input from the jit: the outer jaxpr returns it.
    invars = [inner.get(var, var) for var in outer.invars]
    return jaxpr, invars, [inner.get(atom, atom) for atom in outer.outvars]


def _written(read: Var, write: Atom) -> list[Atom] | None:
    return None if write is read else [write]


def _includes_loop(call: RunningCall, transform: Any, eqns: Sequence[Equation]) -> bool:
    """Return whether a ``bm.jit`` function is a run with its loop over time, not one step.

    BrainPy 2.3 compiles its loop so. A runner of the user's may do the same.
    """
    if call.is_standalone:
        return False
    if contains_method(brainpy_transforms.jit_target(transform), call.runner, brainpy_runner.STEP):
        return False
    kept_loop = brainpy_runner.is_cached_loop(call.runner, transform)
    return kept_loop or any(eqn.primitive.name == "scan" for eqn in eqns)


def trace_function(
    function: Callable[..., Any], args: Args, kwargs: Kwargs, reachable: Sequence[Any]
) -> StepTrace:
    """Trace a function that reads and writes Variables, and restore their values.

    Parameters
    ----------
    function : callable
        The function.
    args, kwargs
        Its arguments.
    reachable : sequence
        All objects that the function can reach. It may read and write the Variables among them.

    Raises
    ------
    Exception
        Any exception of the function.
    """
    variables = brainpy_model.distinct_variables(reachable)
    values = [brainpy_model.raw_value(variable) for variable in variables]

    def pure(values: list[Any], args: Args, kwargs: Kwargs) -> Any:
        for variable, value in zip(variables, values, strict=True):
            brainpy_model.set_raw_value(variable, value)
        result = function(*args, **kwargs)
        return result, [brainpy_model.raw_value(variable) for variable in variables]

    try:
        closed, shapes = jax.make_jaxpr(pure, return_shape=True)(values, args, kwargs)
    finally:
        for variable, value in zip(variables, values, strict=True):
            brainpy_model.set_raw_value(variable, value)
    jaxpr, number = closed.jaxpr, len(variables)
    tree: Pytree = jax.tree_util.tree_structure(shapes)
    result_tree = tree.children()[0]
    returned = result_tree.num_leaves
    read = {id(var) for eqn in jaxpr.eqns for var in eqn.invars}
    read |= {id(var) for var in jaxpr.outvars[:returned]}
    uses = [
        StateUse(variable, value, [before], _written(before, after))
        for variable, value, before, after in zip(
            variables, values, jaxpr.invars[:number], jaxpr.outvars[returned:], strict=True
        )
    ]
    return StepTrace(
        eqns=list(jaxpr.eqns),
        constants=list(zip(jaxpr.constvars, closed.consts, strict=True)),
        args=args,
        kwargs=kwargs,
        invars=list(jaxpr.invars[number:]),
        states=[use for use in uses if use.writes is not None or id(use.reads[0]) in read],
        result=list(jaxpr.outvars[:returned]),
        result_tree=result_tree,
    )
