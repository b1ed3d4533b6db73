"""Inspects and changes the equations of jaxprs: constants, callbacks, dead code.

An inner jaxpr is a jaxpr in the parameters of an equation, such as the body of a scan.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Array, Atom, ClosedJaxpr, Equation, Jaxpr, Var

__all__ = [
    "JAXPRS",
    "Predicate",
    "Survey",
    "callbacks",
    "core",
    "equations",
    "inner_jaxprs",
    "map_equations",
    "open_jaxpr",
    "prune",
    "survey",
    "uses",
]

core = jax_tracing.jaxpr_classes()
JAXPRS = (core.ClosedJaxpr, core.Jaxpr)
Predicate: TypeAlias = Callable[[Equation], bool]


def inner_jaxprs(eqn: Equation) -> list[Jaxpr | ClosedJaxpr]:
    """Return the jaxprs in an equation's parameters."""
    found: list[Jaxpr | ClosedJaxpr] = []
    for value in eqn.params.values():
        if isinstance(value, JAXPRS):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += [item for item in value if isinstance(item, JAXPRS)]
    return found


def open_jaxpr(jaxpr: Jaxpr | ClosedJaxpr) -> Jaxpr:
    """Return the jaxpr of a closed jaxpr."""
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr


class Survey(NamedTuple):
    """The constants and callbacks within equations, at any depth.

    Attributes
    ----------
    constants : list of arrays
        The constants of inner jaxprs, each once.
    occurrences : list of int
        The positions in ``constants`` of the constants of each inner jaxpr, in order.
    callers : frozenset of int
        The ``id`` of each equation that calls Python at run time, itself or in an inner jaxpr.
    """

    constants: list[Array]
    occurrences: list[int]
    callers: frozenset[int]


def survey(eqns: Sequence[Equation]) -> Survey:
    """Find the constants and callbacks within equations."""
    found: dict[int, Any] = {}
    occurrences: list[int] = []
    numbers: dict[int, int] = {}
    calling: dict[int, bool] = {}  # whether an inner jaxpr calls Python, by its id

    def visit(eqns: Sequence[Equation]) -> list[int]:
        """Return the ids of the equations that call Python."""
        callers = []
        for eqn in eqns:
            if not eqn.params:
                continue  # most have none, and this runs in each call of predict
            calls = jax_tracing.callback_of(eqn) is not None
            for inner in inner_jaxprs(eqn):
                if id(inner) not in calling:
                    for constant in getattr(inner, "consts", ()):
                        found.setdefault(id(constant), constant)
                        occurrences.append(numbers.setdefault(id(constant), len(numbers)))
                    calling[id(inner)] = bool(visit(open_jaxpr(inner).eqns))
                calls = calls or calling[id(inner)]
            if calls:
                callers.append(id(eqn))
        return callers

    callers = frozenset(visit(eqns))
    return Survey(list(found.values()), occurrences, callers)


def uses(eqns: Sequence[Equation], variables: Sequence[Var], results: Sequence[Atom]) -> bytes:
    """Return, for each operand of the equations, which of the variables it is.

    Two jaxprs that are lowered to the same module can only differ in the assignment of variables to
    the module's arguments. This distinguishes them: JAX orders the arguments by their first use,
    and makes one argument of two variables with the same value.
    """
    number = {id(variable): number for number, variable in enumerate(variables)}.get
    operands = array("i", [number(id(atom), -1) for eqn in eqns for atom in eqn.invars])
    operands.extend([number(id(atom), -1) for atom in results])
    return operands.tobytes()


def equations(eqns: Sequence[Equation]) -> Iterator[Equation]:
    """Yield equations and the equations of their inner jaxprs, at any depth; each jaxpr once."""
    seen: set[int] = set()
    pending = [iter(eqns)]
    while pending:
        eqn = next(pending[-1], None)
        if eqn is None:
            pending.pop()
            continue
        yield eqn
        for inner in inner_jaxprs(eqn):
            jaxpr = open_jaxpr(inner)
            if id(jaxpr) not in seen:
                seen.add(id(jaxpr))
                pending.append(iter(jaxpr.eqns))


def map_equations(
    eqns: Sequence[Equation], change: Callable[[Equation], Equation]
) -> list[Equation]:
    """Return equations with ``change`` applied to each of them, at any depth.

    A jaxpr that several equations share stays shared, so that JAX lowers it once.
    """
    mapped: dict[int, Any] = {}

    def map_value(value: Any) -> Any:
        if isinstance(value, JAXPRS):
            if id(value) not in mapped:
                mapped[id(value)] = map_jaxpr(value)
            return mapped[id(value)]
        if isinstance(value, (tuple, list)) and any(isinstance(item, JAXPRS) for item in value):
            make = getattr(type(value), "_make", type(value))  # JAX has named tuples of jaxprs
            return make(map(map_value, value))
        return value

    def map_jaxpr(jaxpr: Jaxpr | ClosedJaxpr) -> Jaxpr | ClosedJaxpr:
        inner = open_jaxpr(jaxpr)
        new = [map_equation(eqn) for eqn in inner.eqns]
        if all(a is b for a, b in zip(new, inner.eqns, strict=True)):
            return jaxpr
        opened = inner.replace(eqns=new)
        return opened if inner is jaxpr else jaxpr.replace(jaxpr=opened)

    def map_equation(eqn: Equation) -> Equation:
        params = {name: map_value(value) for name, value in eqn.params.items()}
        if any(params[name] is not value for name, value in eqn.params.items()):
            eqn = eqn.replace(params=params)
        return change(eqn)

    return [map_equation(eqn) for eqn in eqns]


def callbacks(eqn: Equation, drop: Predicate | None = None) -> Iterator[Any]:
    """Yield the Python callables that an equation calls at run time, also in inner jaxprs.

    Equations for which ``drop`` is true are skipped.
    """
    if drop is not None and drop(eqn):
        return
    called = jax_tracing.callback_of(eqn)
    if called is not None:
        yield called
    for inner in inner_jaxprs(eqn):
        for within in open_jaxpr(inner).eqns:
            yield from callbacks(within, drop)


def prune(
    eqns: Sequence[Equation],
    outvars: Sequence[Atom],
    drop: Predicate,
    unused: Sequence[Var] = (),
) -> list[Equation]:
    """Return the equations that remain when some are dropped.

    Equations whose results only the dropped equations or the unused outputs need are removed too.
    Equations that were dead before stay until the program is lowered.

    Parameters
    ----------
    eqns : sequence of equations
        The equations, in their order.
    outvars : sequence of Var or Literal
        The outputs.
    drop : callable
        Returns whether an equation is to be dropped.
    unused : sequence of Var
        The outputs that nothing will read.
    """
    kept = [eqn for eqn in eqns if not drop(eqn)]
    if len(kept) == len(eqns) and not unused:
        return kept
    before = _needed(eqns, outvars)
    gone = {id(var) for var in unused}
    after = _needed(kept, [var for var in outvars if id(var) not in gone])
    return [eqn for eqn in kept if id(eqn) in after or id(eqn) not in before]


def _needed(eqns: Sequence[Equation], outvars: Sequence[Atom]) -> set[int]:
    """Return the ids of the equations that have effects, or that the outputs need."""
    wanted = {id(var) for var in outvars}
    needed: set[int] = set()
    for eqn in reversed(eqns):
        if eqn.effects or any(id(var) in wanted for var in eqn.outvars):
            needed.add(id(eqn))
            wanted.update(id(var) for var in eqn.invars)
    return needed
