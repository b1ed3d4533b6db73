"""Finds which results of a loop have an entry for each step, and which states these record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from brainpy_probe.compat import jax_tracing
from brainpy_probe.recording.program.step import TracedStep
from brainpy_probe.recording.tracing.traces import LoopRun

__all__ = ["per_step"]


def per_step(step: TracedStep, loop: LoopRun | None = None) -> dict[int, str]:
    """Return the results that have an entry for each step, by their places in the trace's result.

    Each comes with the name of the state that it records, or with an empty one. A result records a
    state if one and the same variable of the jaxpr is both; equal names or values decide nothing.
    A loop in reverse has none, as its entries are not in the order of the steps.

    Parameters
    ----------
    step : TracedStep
        The loop's body; or the whole run, its loop included.
    loop : LoopRun or None
        The loop, if the step is its body.
    """
    result = list(enumerate(step.trace.result))
    if loop is not None:
        if loop.options["reverse"]:
            return {}
        # The leaves of the next carry come first.
        carried = len(jax.tree_util.tree_leaves(loop.carry))
        return _matched(result[carried:], step.writes())
    found: dict[int, str] = {}
    for eqn in step.eqns:
        if eqn.primitive.name == "scan" and not eqn.params["reverse"]:
            found |= _of_scan(eqn, result, step)
    return found


def _of_scan(eqn: Any, result: list[tuple[int, Any]], step: TracedStep) -> dict[int, str]:
    """Return the results that one equation of a whole run makes, step by step."""
    _, carried = jax_tracing.scan_operands(eqn.params)
    outs = eqn.params["jaxpr"].jaxpr.outvars
    within = {id(var): out for var, out in zip(eqn.outvars, outs, strict=True)}
    stacked = {id(var) for var in eqn.outvars[carried:]}
    last = {id(var) for var in eqn.outvars[:carried]}
    entries = [(place, within[id(var)]) for place, var in result if id(var) in stacked]
    writes = [(within[id(var)], name) for var, name in step.writes() if id(var) in last]
    return _matched(entries, writes)


def _matched(
    entries: Iterable[tuple[int, Any]], writes: Iterable[tuple[Any, str]]
) -> dict[int, str]:
    literal = jax_tracing.take("literal")
    names: dict[int, str] = {}
    for atom, name in writes:
        if not isinstance(atom, literal):  # of equal constants there may be one object
            names.setdefault(id(atom), name)
    return {place: names.get(id(atom), "") for place, atom in entries}
