"""Terms: the operations, constants and named values of a program as a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["Function", "Place", "Term", "is_constant", "scalar"]


@dataclass(frozen=True, order=True)
class Place:
    """The place of an operation in a program.

    Attributes
    ----------
    line : int
        The line of the StableHLO text on which the operation starts, from 1; 0 if it is unknown.
    component : str
        The component that the operation's location, or that of its caller, names.
    """

    line: int
    component: str


@dataclass(eq=False)
class Function:
    """A region of an operation, or a function that is not inlined.

    Attributes
    ----------
    arguments : tuple of Term
        Its arguments.
    results : tuple of Term
        Its results, which may also depend on terms outside of it.
    outer : tuple of Term or None
        These terms, once they are known.
    needed : tuple of int or None
        The ids of all terms on which the results depend, once they are known.
    """

    arguments: tuple[Term, ...]
    results: tuple[Term, ...]
    outer: tuple[Term, ...] | None = None
    needed: tuple[int, ...] | None = None


@dataclass(eq=False)
class Term:
    """An operation, a constant or a named value. It is compared by identity.

    Attributes
    ----------
    op : str
        The operation without its dialect, as ``add``; ``constant``; ``symbol`` for a value with a
        name; ``argument`` of a region; ``call`` of a function that is not inlined; ``kernel`` for a
        custom call; ``exprel`` for the guarded ``(exp(z) - 1) / z``.
    operands : tuple of Term
        Its operands.
    shape, dtype : tuple of int, str
        Shape and dtype of the value.
    name : str
        The name of a symbol, function or kernel.
    value : array
        The value of a constant; a scalar if all elements are equal.
    exact : Fraction or None
        The value of a scalar constant in the reals, computed from the decimal constants of the
        program; None if it is not rational.
    attributes : dict
        The printed attributes of the operation.
    regions : tuple of Function
        Its regions.
    result : int
        Its number among the results of its operation.
    places : dict
        Its operations in the program. Several equal operations are one term.
    """

    op: str
    operands: tuple[Term, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = ""
    name: str = ""
    value: Any = None
    exact: Fraction | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Function, ...] = ()
    result: int = 0
    places: dict[Place, None] = field(default_factory=dict)

    @property
    def component(self) -> str:
        """The component of its operations; empty if they have several or none."""
        found = {place.component for place in self.places}
        return found.pop() if len(found) == 1 else ""


def is_constant(term: Term) -> bool:
    """Return whether a term is a constant whose elements are all equal."""
    return term.op == "constant" and np.ndim(term.value) == 0


def scalar(term: Term) -> Any:
    """Return the value of a constant whose elements are all equal, otherwise None."""
    return term.value[()] if is_constant(term) else None
