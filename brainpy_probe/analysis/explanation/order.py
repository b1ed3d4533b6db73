"""Walks through terms: the dependencies of a term, and the order of evaluation."""

from __future__ import annotations

from collections.abc import Iterable

from brainpy_probe.analysis.explanation.attributes import integers
from brainpy_probe.analysis.explanation.terms import Function, Term

__all__ = ["dependencies", "in_order", "is_atom", "seen_through", "symbols"]

_ATOMS = ("constant", "symbol", "counter", "argument")


def dependencies(term: Term) -> tuple[Term, ...]:
    """Return the operands of a term, and the terms outside of its regions that these use."""
    if not term.regions:
        return term.operands
    outer = {id(found): found for region in term.regions for found in _outer(region)}
    return (*term.operands, *outer.values())


def _outer(function: Function) -> tuple[Term, ...]:
    """Return the largest terms of a region that need none of its arguments, but other names."""
    if function.outer is None:
        inside = {id(argument) for argument in function.arguments}
        named: set[int] = set()
        order = in_order(function.results)
        for term in order:
            operands = [id(operand) for operand in dependencies(term)]
            if not inside.isdisjoint(operands):
                inside.add(id(term))
            if (
                term.op in ("symbol", "counter", "final")
                or (term.op == "argument" and id(term) not in inside)
                or not named.isdisjoint(operands)
            ):
                named.add(id(term))
        users = [term for term in order if id(term) in inside]
        candidates = [operand for term in users for operand in dependencies(term)]
        found = [
            term
            for term in (*candidates, *function.results)
            if id(term) not in inside and id(term) in named
        ]
        function.outer = tuple({id(term): term for term in found}.values())
    return function.outer


def in_order(roots: Iterable[Term]) -> list[Term]:
    """Return all terms on which some terms depend, each after its dependencies."""
    order: list[Term] = []
    seen: set[int] = set()
    for root in roots:
        pending = [(root, False)]
        while pending:
            term, ready = pending.pop()
            if ready:
                order.append(term)
            elif id(term) not in seen:
                seen.add(id(term))
                pending.append((term, True))
                pending += [
                    (operand, False)
                    for operand in reversed(dependencies(term))
                    if id(operand) not in seen
                ]
    return order


def seen_through(term: Term) -> Term:
    """Return the term that is printed for a term.

    Expressions omit operations that only repeat a value along leading axes, or add or remove
    leading axes of size 1.
    """
    while _is_transparent(term):
        (term,) = term.operands
    return term


def _is_transparent(term: Term) -> bool:
    if term.op == "broadcast_in_dim":
        shape, rank = term.operands[0].shape, len(term.shape)
        trailing = tuple(range(rank - len(shape), rank))
        return integers(term.attributes["broadcast_dimensions"]) == trailing
    if term.op == "reshape":
        return _without_leading(term.shape) == _without_leading(term.operands[0].shape)
    return False


def _without_leading(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its leading axes of size 1, which broadcasting ignores."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def symbols(root: Term) -> list[Term]:
    """Return the named values on which a term depends."""
    return [term for term in in_order([root]) if term.op == "symbol"]


def is_atom(term: Term) -> bool:
    """Return whether a term is a constant or a name."""
    return term.op in _ATOMS
