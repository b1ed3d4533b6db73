"""Finds which results of a loop have an entry for each step, and which states these record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import jax

from brainpy_probe.compat import jax_tracing
from brainpy_probe.recording.program.step import TracedStep
from brainpy_probe.recording.tracing.traces import LoopRun

__all__ = ["of_loop", "of_step"]

_Key = TypeVar("_Key", int, str)


def of_loop(step: TracedStep, loop: LoopRun) -> dict[int, str]:
    """Return the results of a loop that have an entry for each step, by their places.

    Each comes with the name of the state that it records, or with an empty name. A result records
    a state if one variable of the jaxpr is both; equal names or values decide nothing. A loop in
    reverse has none, as its entries are not in the order of the steps.

    Parameters
    ----------
    step : TracedStep
        The loop's body.
    loop : LoopRun
        The loop.
    """
    if loop.options["reverse"]:
        return {}
    # The leaves of the next carry come first.
    carried = len(jax.tree_util.tree_leaves(loop.carry))
    return _matched(list(enumerate(step.trace.result))[carried:], step.writes())


def of_step(
    step: TracedStep, results: Iterable[tuple[_Key, Any]], *, includes_loop: bool
) -> dict[_Key, str]:
    """Return the results of a step that are a state's value after it, with the state's name.

    Parameters
    ----------
    step : TracedStep
        The step.
    results : iterable
        What it returns, by place or name.
    includes_loop : bool
        Whether it is the whole run: then the results with an entry for each step, as of a loop.
    """
    if not includes_loop:
        found = _matched(results, step.writes())
        return {key: name for key, name in found.items() if name}
    results = list(results)
    stacked: dict[_Key, str] = {}
    for eqn in step.eqns:
        if eqn.primitive.name == "scan" and not eqn.params["reverse"]:
            stacked |= _of_scan(eqn, results, step)
    return stacked


def _of_scan(eqn: Any, results: Iterable[tuple[_Key, Any]], step: TracedStep) -> dict[_Key, str]:
    """Return the results that one equation of a whole run makes, step by step."""
    _, carried = jax_tracing.scan_operands(eqn.params)
    outs = eqn.params["jaxpr"].jaxpr.outvars
    within = {id(var): out for var, out in zip(eqn.outvars, outs, strict=True)}
    stacked = {id(var) for var in eqn.outvars[carried:]}
    last = {id(var) for var in eqn.outvars[:carried]}
    entries = [(key, within[id(var)]) for key, var in results if id(var) in stacked]
    writes = [(within[id(var)], name) for var, name in step.writes() if id(var) in last]
    return _matched(entries, writes)


def _matched(
    entries: Iterable[tuple[_Key, Any]], writes: Iterable[tuple[Any, str]]
) -> dict[_Key, str]:
    literal = jax_tracing.take("literal")
    names: dict[int, str] = {}
    for atom, name in writes:
        if not isinstance(atom, literal):  # of equal constants there may be one object
            names.setdefault(id(atom), name)
    return {key: names.get(id(atom), "") for key, atom in entries}
