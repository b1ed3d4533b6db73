"""Evaluates jaxprs within one of the probe's traces.

A jaxpr that BrainPy traced is evaluated again, so that the user's Python code does not run again.
Equations can be left out, and constants of inner jaxprs can become arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import jax
import numpy as np

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Array, Atom, ClosedJaxpr, Equation, Jaxpr, Var
from brainpy_probe.recording.program.equations.jaxprs import (
    Predicate,
    core,
    inner_jaxprs,
    open_jaxpr,
    prune,
)

__all__ = ["Body", "Rule", "evaluate"]

# An inner jaxpr as a function.
Body: TypeAlias = Callable[..., list[Array]]
# Evaluates an equation in another way. It takes the equation, its operands and its inner jaxprs as
# functions, and returns the results.
Rule: TypeAlias = Callable[[Equation, Sequence[Array], Sequence[Body]], list[Array]]
_NO_RULES: Mapping[str, Rule] = MappingProxyType({})


def evaluate(
    eqns: Sequence[Equation],
    inputs: Iterable[tuple[Var, Array]],
    lifted: Mapping[int, Array],
    drop: Predicate | None = None,
    rules: Mapping[str, Rule] = _NO_RULES,
) -> Callable[[Atom], Array | None]:
    """Evaluate equations, within a trace or outside of one.

    Parameters
    ----------
    eqns : sequence of equations
        The equations, in their order.
    inputs : iterable of (Var, value)
        The values of the input variables.
    lifted : mapping
        Values for constants of inner jaxprs, by the constant's ``id``. An inner jaxpr with such a
        constant is evaluated inline where JAX allows no further argument.
    drop : callable, optional
        Returns whether an equation of an inner jaxpr is to be left out.
    rules : mapping
        Functions that evaluate some equations on one device instead of their primitives, by the
        primitive's name. With rules, equations are evaluated without the device mesh for which they
        were traced.

    Returns
    -------
    callable
        Returns the value of a Var or Literal; None if its equation was left out.
    """
    values: dict[Var, Array] = dict(inputs)

    def value(atom: Atom) -> Array | None:
        if not isinstance(atom, core.Literal):
            return values.get(atom)
        # JAX caches the type of a literal, with the mesh (0.12.0: literals.TypedNdArray).
        return np.asarray(atom.val, atom.aval.dtype) if rules else atom.val

    for _, same_settings in itertools.groupby(eqns, jax_tracing.equation_settings):
        group = list(same_settings)
        with jax_tracing.equation_context(group[0], on_mesh=not rules):
            for eqn in group:
                operands = [value(atom) for atom in eqn.invars]
                outs = _apply(eqn, operands, lifted, drop, rules)
                values.update(zip(eqn.outvars, outs, strict=True))
    return value


def _apply(
    eqn: Equation,
    operands: list[Array],
    lifted: Mapping[int, Array],
    drop: Predicate | None,
    rules: Mapping[str, Rule],
) -> Sequence[Array]:
    """Evaluate an equation; return its results."""
    if _is_changed(eqn, lifted, drop, rules):
        rebuilt = _rebuild(eqn, operands, lifted, drop, rules)
        if rebuilt is not None:
            return rebuilt
    if rules:
        eqn = jax_tracing.without_sharding(eqn)
    return jax_tracing.bind_equation(eqn, operands)


def _is_changed(
    eqn: Equation,
    lifted: Mapping[int, Array],
    drop: Predicate | None,
    rules: Mapping[str, Rule],
) -> bool:
    """Return whether a rule applies to an equation, or its inner jaxprs change.

    Inner jaxprs change if they have lifted constants, equations to drop, or types with a mesh that
    is left out.
    """
    if eqn.primitive.name in rules or (rules and jax_tracing.is_on_mesh(eqn)):
        return True
    return any(
        any(id(constant) in lifted for constant in getattr(inner, "consts", ()))
        or any(
            (drop is not None and drop(within)) or _is_changed(within, lifted, drop, rules)
            for within in open_jaxpr(inner).eqns
        )
        for inner in inner_jaxprs(eqn)
    )


def _rebuild(
    eqn: Equation,
    operands: list[Array],
    lifted: Mapping[int, Array],
    drop: Predicate | None,
    rules: Mapping[str, Rule],
) -> Sequence[Array] | None:
    """Evaluate an equation with changed inner jaxprs; return None if that is not supported."""

    def function(closed: Jaxpr | ClosedJaxpr) -> Body:
        consts = [lifted.get(id(c), c) for c in getattr(closed, "consts", ())]
        jaxpr = open_jaxpr(closed)
        eqns = jaxpr.eqns if drop is None else prune(jaxpr.eqns, jaxpr.outvars, drop)

        def run(*args: Array) -> list[Array]:
            inputs = zip(jaxpr.constvars + jaxpr.invars, [*consts, *args], strict=True)
            return list(map(evaluate(eqns, inputs, lifted, drop, rules), jaxpr.outvars))

        return run

    rule = rules.get(eqn.primitive.name)
    if rule is not None:
        return rule(eqn, operands, list(map(function, inner_jaxprs(eqn))))
    params = eqn.params
    match eqn.primitive.name:
        case "scan":
            constants, carried = jax_tracing.scan_operands(params)
            fixed, rest = operands[:constants], operands[constants:]
            init, xs = rest[:carried], rest[carried:]
            body = function(params["jaxpr"])

            def step(carry: list[Array], x: list[Array]) -> tuple[list[Array], list[Array]]:
                outs = body(*fixed, *carry, *x)
                return outs[:carried], outs[carried:]

            carry, ys = jax.lax.scan(
                step,
                init,
                xs,
                length=params["length"],
                reverse=params["reverse"],
                unroll=params["unroll"],
            )
            return [*carry, *ys]
        case "while":
            split = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
            cond_consts, body_consts, init = (
                operands[: split[0]],
                operands[split[0] : split[1]],
                operands[split[1] :],
            )
            cond, body = function(params["cond_jaxpr"]), function(params["body_jaxpr"])
            return list(
                jax.lax.while_loop(
                    lambda carry: cond(*cond_consts, *carry)[0],
                    lambda carry: body(*body_consts, *carry),
                    init,
                )
            )
        case "cond":
            index, *rest = operands
            branches = [function(branch) for branch in params["branches"]]
            return list(jax.lax.switch(index, branches, *rest))
    inner = inner_jaxprs(eqn)
    if len(inner) == 1 and len(open_jaxpr(inner[0]).invars) == len(operands):
        return function(inner[0])(*operands)
    return None
