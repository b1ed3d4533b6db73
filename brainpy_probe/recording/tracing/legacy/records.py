"""Makes the records of traces up to BrainPy 2.6: of loops, ``bm.jit`` functions and steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, brainpy_transforms, jax_tracing
from brainpy_probe.compat.types import (
    Args,
    Atom,
    ClosedJaxpr,
    Equation,
    Jaxpr,
    Kwargs,
    Pytree,
    Transform,
    Var,
    Variable,
)
from brainpy_probe.errors import CannotCapture
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.tracing.callables import contains_method
from brainpy_probe.recording.tracing.traces import LoopRun, NativeResults, StateUse, StepTrace

__all__ = ["jitted_trace", "loop_run", "trace_function"]


def loop_run(
    scan: tuple[Args, Kwargs] | None, variables: dict[Any, Variable], xs: Pytree, result: Pytree
) -> LoopRun:
    """Return the record of a loop that has run.

    Parameters
    ----------
    scan : tuple or None
        The operands and parameters of the scan primitive.
    variables : dict
        The Variables of the loop, by BrainPy's keys for them.
    xs, result
        The scanned arrays, and the loop's result.

    Raises
    ------
    CannotCapture
        If the scan primitive was not bound.
    """
    if scan is None:
        raise CannotCapture(
            "A loop of BrainPy ran without a scan that the probe could record.",
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


def jitted_trace(
    call: RunningCall,
    transform: Transform,
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
        # If JAX's cache had no trace, BrainPy has stored tracers in the Variables.
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
    """Return the jaxpr of a jit's only equation, with its variables instead of the outer ones."""
    if len(outer.eqns) != 1 or outer.constvars:
        raise CannotCapture(
            f"The trace of a bm.jit function has {len(outer.eqns)} equations instead of one.",
            "The probe does not support this version of BrainPy or JAX.",
        )
    (eqn,) = outer.eqns
    jaxpr = eqn.params["jaxpr"]
    inner = dict(zip(eqn.invars, jaxpr.jaxpr.invars, strict=True))
    inner |= dict(zip(eqn.outvars, jaxpr.jaxpr.outvars, strict=True))
    # JAX 0.4.30 removes an output that is also an input from the jit: the outer jaxpr returns it.
    invars = [inner.get(var, var) for var in outer.invars]
    return jaxpr, invars, [inner.get(atom, atom) for atom in outer.outvars]


def _written(read: Var, write: Atom) -> list[Atom] | None:
    return None if write is read else [write]


def _includes_loop(call: RunningCall, transform: Transform, eqns: Sequence[Equation]) -> bool:
    """Return whether a ``bm.jit`` function is a run with its loop over time, not one step.

    BrainPy 2.3 compiles its loop in this way. A user's runner may do the same.
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
