"""Notes what BrainPy traces up to 2.6, where it keeps its Variables itself; makes no program.

From 2.4 on a run is one ``jax.lax.scan`` outside of any jit: the equation that JAX binds there is
what runs. Before, and where a runner compiles its step, a run is a call of a ``bm.jit`` function:
its jaxpr is read from JAX's own cache, so that no line of the model runs again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, brainpy_transforms, jax_tracing
from brainpy_probe.errors import CannotCapture
from brainpy_probe.recording.calls import CURRENT_CALL, RunningCall, guard
from brainpy_probe.recording.patches import Patch
from brainpy_probe.recording.tracing.callables import reaches_method
from brainpy_probe.recording.tracing.traces import Given, LoopRun, StateUse, StepTrace
from brainpy_probe.recording.types import Args, Kwargs, Wrapped

__all__ = ["patches", "traced"]


def patches() -> list[Patch]:
    """Return what is to be wrapped while a capture is open."""
    found = [Patch(brainpy_transforms.take("jit-transform"), "__call__", jit_call)]
    if brainpy_transforms.splits_random_states():
        found.append(Patch(brainpy_transforms.variable_stack(), "call_on_subset", call_on_subset))
    found.append(Patch(jax.lax, "scan", scan))
    found.append(Patch(jax_tracing.take("scan-primitive"), "bind", bind))
    return found


def _outermost() -> RunningCall | None:
    """Return the call that goes on in this thread, if this is its own Python and not a trace."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing is not None or jax.config.jax_disable_jit:
        return None
    with guard:
        return call if jax_tracing.trace_state_clean() else None
    return None


def scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``jax.lax.scan``: notes the loops of BrainPy's that a call runs outermost."""
    call = _outermost()
    variables, is_step = None, False
    if call is not None:
        with call.noting():
            given = jax_tracing.scan_arguments(*args, **kwargs)
            is_step = reaches_method(given["f"], call.runner, brainpy_runner.STEP)
            is_step = is_step and call.scans_its_indices(given["xs"])
            if call.may_be_run(is_step):
                variables = brainpy_transforms.loop_variables(given["f"])
    if call is None or variables is None:
        return wrapped(*args, **kwargs)
    compiled = len(call.compilations)
    with call.inside() as bound:
        result = wrapped(*args, **kwargs)
    with call.noting():
        loop = _loop(bound.scan, variables, given["xs"], result)
        compilation = call.compiled_since(compiled, jax_tracing.LOOP_MODULE)
        loop = replace(loop, step=replace(loop.step, compilation=compilation))
        call.candidates.append((is_step, loop))
    return result


def bind(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``bind`` of JAX's scan: notes the equation that a loop runs.

    A loop binds it in the end, when its body has been traced.
    """
    call = CURRENT_CALL.get()
    if call is not None and call.tracing is not None:
        with guard:
            if jax_tracing.trace_state_clean():
                call.tracing.scan = args, kwargs
    return wrapped(*args, **kwargs)


def _loop(
    found: tuple[Args, Kwargs] | None, variables: dict[Any, Any], xs: Any, result: Any
) -> LoopRun:
    if found is None:
        raise CannotCapture(
            "A loop of BrainPy's ran without an equation that the probe could see.",
            "A loop of no steps has none; else report the versions of BrainPy and JAX.",
        )
    operands, params = found
    body = params["jaxpr"]
    constants, carried = jax_tracing.scan_operands(params)
    first, rest = list(operands[:constants]), list(body.jaxpr.invars[constants:])
    # The loop carries the Variables' values, by id or in a list, and nothing of the user's.
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
    given = Given(jax.tree_util.tree_leaves(ys), [after[key] for key in keys])
    return LoopRun(step, (), xs, options, list(range(len(keys))), given)


def jit_call(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the call of a ``bm.jit`` function: notes the outermost ones of a call."""
    call = _outermost()
    if call is None or id(instance) in call.noted:
        if call is not None:
            call.repeats += 1
        return wrapped(*args, **kwargs)
    is_step, values = False, None
    with call.noting():
        is_step = _is_runners(call, instance, args)
        if call.may_be_run(is_step):
            before = brainpy_transforms.jit_variables(instance)
            values = {key: brainpy_model.raw_value(variable) for key, variable in before.items()}
    if values is None:
        call.noted[id(instance)] = instance
        return wrapped(*args, **kwargs)
    compiled = len(call.compilations)
    with call.inside() as bound:
        result = wrapped(*args, **kwargs)
    call.noted[id(instance)] = instance
    with call.noting():
        values = values if bound.split is None else bound.split
        trace = _jitted(call, instance, values, args, kwargs, result)
        compilation = call.compiled_since(compiled, brainpy_transforms.jit_module(instance))
        call.candidates.append((is_step, replace(trace, compilation=compilation)))
    return result


def _is_runners(call: RunningCall, transform: Any, args: Args) -> bool:
    """Whether a ``bm.jit`` function is the step of a call's runner, or its loop over this call."""
    if reaches_method(brainpy_transforms.jit_target(transform), call.runner, brainpy_runner.STEP):
        return True
    kept_loop = brainpy_runner.is_cached_loop(call.runner, transform)
    return kept_loop and (call.indices is None or call.scans_its_indices(args))


def call_on_subset(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the splitting of random states just before a ``bm.jit`` function runs."""
    call = CURRENT_CALL.get()
    inside = None if call is None else call.tracing
    if inside is not None and inside.split is None:
        with guard:
            if jax_tracing.trace_state_clean():
                inside.split = {
                    key: brainpy_model.raw_value(variable) for key, variable in instance.items()
                }
    return wrapped(*args, **kwargs)


def _jitted(
    call: RunningCall,
    transform: Any,
    values: dict[Any, Any],
    args: Args,
    kwargs: Kwargs,
    result: Any,
) -> StepTrace:
    variables = brainpy_transforms.jit_variables(transform)
    after = {key: brainpy_model.raw_value(variable) for key, variable in variables.items()}
    function = functools.partial(brainpy_transforms.jit_function(transform), **kwargs)
    try:
        with brainpy_transforms.forbid_retracing(transform):
            outer, shapes = jax.make_jaxpr(function, return_shape=True)(values, *args)
    finally:
        # Had JAX forgotten its trace, BrainPy would by now have put tracers into the Variables.
        for key, variable in variables.items():
            brainpy_model.set_raw_value(variable, after[key])
    jaxpr, invars, outs = _unwrapped(outer.jaxpr)
    read, invars = invars[: len(values)], invars[len(values) :]
    (out, out_tree), (changed, changes_tree) = brainpy_transforms.jit_results(
        outs, jax.tree_util.tree_structure(shapes)
    )
    writes = changes_tree.unflatten(changed)
    # A dict's leaves come in the order of its keys.
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
        kwargs={},
        invars=invars,
        states=states,
        result=out,
        result_tree=out_tree,
        jaxpr=jaxpr.jaxpr,
        whole=_holds_its_loop(call, transform, jaxpr.jaxpr.eqns),
        given=Given(jax.tree_util.tree_leaves(result), [after[key] for key in sorted(values)]),
    )


def _unwrapped(outer: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return the jaxpr within a jit's only equation, and its variables behind the outer ones."""
    if len(outer.eqns) != 1 or outer.constvars:
        raise CannotCapture(
            f"The trace of a bm.jit function is not one equation: {len(outer.eqns)} of them.",
            "The probe does not know this version of BrainPy or JAX.",
        )
    (eqn,) = outer.eqns
    jaxpr = eqn.params["jaxpr"]
    within = dict(zip(eqn.invars, jaxpr.jaxpr.invars, strict=True))
    within |= dict(zip(eqn.outvars, jaxpr.jaxpr.outvars, strict=True))
    # What a jit hands through leaves outside of it (0.4.30).
    invars = [within.get(var, var) for var in outer.invars]
    return jaxpr, invars, [within.get(one, one) for one in outer.outvars]


def _written(read: Any, write: Any) -> list[Any] | None:
    return None if write is read else [write]


def _holds_its_loop(call: RunningCall, transform: Any, eqns: Sequence[Any]) -> bool:
    """Whether a ``bm.jit`` function is a run with its loop, and no step of one.

    BrainPy 2.3 compiles its loop so; a runner of the user's own may.
    """
    if reaches_method(brainpy_transforms.jit_target(transform), call.runner, brainpy_runner.STEP):
        return False
    kept_loop = brainpy_runner.is_cached_loop(call.runner, transform)
    return kept_loop or any(eqn.primitive.name == "scan" for eqn in eqns)


def traced(
    function: Callable[..., Any], args: Args, kwargs: Kwargs, reached: Sequence[Any]
) -> StepTrace:
    """Trace a function that reads and writes Variables; these are put back.

    Parameters
    ----------
    function : callable
        What is traced.
    args, kwargs
        What it is called with.
    reached : sequence
        All objects that it may reach: the Variables among them are what it can touch.

    Raises
    ------
    Exception
        Whatever the function raises.
    """
    variables = brainpy_model.distinct_variables(reached)
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
    tree: Any = jax.tree_util.tree_structure(shapes)
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
