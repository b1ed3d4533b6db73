"""Finds the results of a loop that have an entry for each step, and the states in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import jax

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Atom, Equation
from brainpy_probe.recording.program.step import TracedStep
from brainpy_probe.recording.tracing.traces import LoopRun

__all__ = ["recorded_by_loop", "recorded_by_step"]

_Key = TypeVar("_Key", int, str)


def recorded_by_loop(step: TracedStep, loop: LoopRun) -> dict[int, str]:
    """Return the positions of the results of a loop that have an entry for each step.

    The value is the name of the state that a result records, or empty. A result records a state if
    both are the same variable of the jaxpr; equal names or values do not count. A reversed loop has
    no such results, because its entries are not in the order of the steps.

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
    return _match(list(enumerate(step.trace.result))[carried:], step.writes())


def recorded_by_step(
    step: TracedStep, results: Iterable[tuple[_Key, Atom]], *, includes_loop: bool
) -> dict[_Key, str]:
    """Return the results of a step that are the new value of a state, with the state's name.

    Parameters
    ----------
    step : TracedStep
        The step.
    results : iterable
        The results, by position or name.
    includes_loop : bool
        Whether the step is the whole run. Then the results are those of its loop, as in
        :func:`recorded_by_loop`.
    """
    if not includes_loop:
        matches = _match(results, step.writes())
        return {key: name for key, name in matches.items() if name}
    results = list(results)
    stacked: dict[_Key, str] = {}
    for eqn in step.eqns:
        if eqn.primitive.name == "scan" and not eqn.params["reverse"]:
            stacked |= _of_scan(eqn, results, step)
    return stacked


def _of_scan(
    eqn: Equation, results: Iterable[tuple[_Key, Atom]], step: TracedStep
) -> dict[_Key, str]:
    """Return the results with an entry for each step that a scan within a whole run computes."""
    _, carried = jax_tracing.scan_operands(eqn.params)
    outs = eqn.params["jaxpr"].jaxpr.outvars
    inner = {id(var): out for var, out in zip(eqn.outvars, outs, strict=True)}
    stacked = {id(var) for var in eqn.outvars[carried:]}
    last = {id(var) for var in eqn.outvars[:carried]}
    entries = [(key, inner[id(var)]) for key, var in results if id(var) in stacked]
    writes = [(inner[id(var)], name) for var, name in step.writes() if id(var) in last]
    return _match(entries, writes)


def _match(
    entries: Iterable[tuple[_Key, Atom]], writes: Iterable[tuple[Atom, str]]
) -> dict[_Key, str]:
    """Return the name of the state that each entry records, or an empty name."""
    literal = jax_tracing.take("literal")
    names: dict[int, str] = {}
    for atom, name in writes:
        if not isinstance(atom, literal):  # two equal constants may be one object
            names.setdefault(id(atom), name)
    return {key: names.get(id(atom), "") for key, atom in entries}
