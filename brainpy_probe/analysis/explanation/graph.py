"""Creates terms: equal operations share one term, which is simplified when it is created.

Each rule is exact in the reals. Constants are folded in their own dtype, with operations whose
result IEEE 754 defines, so that XLA computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from brainpy_probe.analysis.explanation.rewrites import (
    NEVER_NEGATIVE,
    exprel_form,
    guarded_exprel,
    modulo,
    replaces_all,
    unchanged_operand,
)
from brainpy_probe.analysis.explanation.terms import Function, Place, Term, is_constant, scalar
from brainpy_probe.format.arrays import dtype_of

__all__ = ["COMPARISONS", "Terms"]

# The operations whose result IEEE 754 defines.
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negate": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
_LOGIC: dict[str, Callable[..., Any]] = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
    "EQ": np.equal,
    "NE": np.not_equal,
}
# Operations that only repeat or rearrange the elements of their operand.
_IDENTITIES = ("broadcast_in_dim", "reshape", "convert", "optimization_barrier")
_LAYOUT = ("broadcast_in_dim", "reshape", "transpose", "slice", "reverse")


class Terms:
    """Creates terms, each only once.

    Attributes
    ----------
    folded : int
        The number of operations on floats that were replaced by their value.
    """

    def __init__(self) -> None:
        self._known: dict[Any, Term] = {}
        self.folded = 0

    def constant(
        self, value: Any, shape: Sequence[int], dtype: str, exact: Fraction | None = None
    ) -> Term:
        """Return a constant; ``value`` is a scalar if all elements are equal."""
        array = np.asarray(value, dtype_of(dtype))
        key = ("constant", array.tobytes(), array.shape, tuple(shape), dtype, exact)
        return self._get(
            key, lambda: Term("constant", (), tuple(shape), dtype, value=array, exact=exact)
        )

    def literal(self, value: Any, shape: Sequence[int], dtype: str) -> Term:
        """Return a constant of the program. The shortest decimal for it is its exact value."""
        exact = None
        if np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf" and np.isfinite(value):
            exact = Fraction(str(np.asarray(value)[()]))
        return self.constant(value, shape, dtype, exact)

    def symbol(self, key: Any, name: str, shape: Sequence[int], dtype: str) -> Term:
        """Return the named value with a key."""
        return self._get(
            ("symbol", key), lambda: Term("symbol", (), tuple(shape), dtype, name=name)
        )

    def make(
        self,
        op: str,
        operands: Sequence[Term],
        shape: Sequence[int],
        dtype: str,
        attributes: Mapping[str, str] | None = None,
        *,
        name: str = "",
        regions: tuple[Function, ...] = (),
        result: int = 0,
        place: Place | None = None,
    ) -> Term:
        """Return the term of an operation, simplified."""
        attributes = attributes or {}
        term = None
        if op == "scatter" and replaces_all(operands, regions, tuple(shape)):
            return operands[2]
        if not regions:
            term = self._simplified(op, operands, tuple(shape), dtype, attributes)
        if term is None:
            key = (
                op,
                name,
                tuple(map(id, operands)),
                tuple(shape),
                dtype,
                tuple(sorted(attributes.items())),
                tuple(map(id, regions)),
                result,
            )
            term = self._get(
                key,
                lambda: Term(
                    op, tuple(operands), tuple(shape), dtype, name, None, None, attributes,
                    regions, result,
                ),
            )  # fmt: skip
        if place is not None and term.op not in ("constant", "symbol", "argument"):
            term.places[place] = None
        return term

    def _get(self, key: Any, make: Callable[[], Term]) -> Term:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = make()
        return known

    def _simplified(
        self,
        op: str,
        operands: Sequence[Term],
        shape: tuple[int, ...],
        dtype: str,
        attributes: Mapping[str, str],
    ) -> Term | None:
        """Return a simpler term for an operation, or None."""
        if not operands:
            return None
        first = operands[0]
        if op in _LAYOUT and is_constant(first):
            return self.constant(first.value, shape, dtype, first.exact)
        if (
            op in _IDENTITIES
            and len(operands) == 1
            and (first.shape, first.dtype) == (shape, dtype)
        ):
            return first
        values = [scalar(operand) for operand in operands]
        if all(value is not None for value in values):
            folded = self._folded(op, values, dtype, attributes)
            if folded is not None:
                self.folded += op != "convert" and np.dtype(dtype_of(dtype)).kind not in "bui"
                return self.constant(folded, shape, dtype, _exact(op, operands))
        return self._rewritten(op, operands, values, shape, dtype, attributes)

    def _rewritten(
        self,
        op: str,
        operands: Sequence[Term],
        values: Sequence[Any],
        shape: tuple[int, ...],
        dtype: str,
        attributes: Mapping[str, str],
    ) -> Term | None:
        """Return a simpler term for an operation whose operands are not all constants, or None."""
        if op == "select":
            return self._selected(operands, values, shape)
        if op == "compare":
            return self._compared(operands, values, attributes["comparison_direction"])
        if op == "divide" and values[1] is not None and values[1] != 0:
            form = exprel_form(*operands)
            if form:
                return self.make("exprel", [operands[1]], shape, dtype, {"form": form})
        if op == "multiply" and dtype != "bool" and -1 in values:
            # Exact, also for zeros and NaN.
            return self.make("negate", [operands[1 if values[0] == -1 else 0]], shape, dtype)
        return unchanged_operand(op, operands, values, shape)

    def _compared(
        self, operands: Sequence[Term], values: Sequence[Any], direction: str
    ) -> Term | None:
        left, right = operands[0], values[1]
        if left.op in NEVER_NEGATIVE and direction == "LT" and right is not None and right <= 0:
            return self.constant(False, left.shape, "bool")
        if left.dtype == "bool" and right is not None:
            if (direction, bool(right)) in (("NE", False), ("EQ", True)):
                return left
            if (direction, bool(right)) in (("NE", True), ("EQ", False)):
                return self.make("not", [left], left.shape, "bool")
        return None

    def _selected(
        self, operands: Sequence[Term], values: Sequence[Any], shape: tuple[int, ...]
    ) -> Term | None:
        if operands[1] is operands[2]:
            return operands[1]
        if values[0] is not None:
            return operands[1] if values[0] else operands[2]
        remainder = modulo(operands)
        if remainder is not None:
            return self.make("mod", remainder.operands, shape, remainder.dtype)
        guarded = guarded_exprel(operands)
        if guarded is not None:
            z, attributes = guarded
            return self.make("exprel", [z], shape, z.dtype, attributes)
        return None

    def _folded(
        self, op: str, values: Sequence[Any], dtype: str, attributes: Mapping[str, str]
    ) -> Any:
        """Return the value of an operation on constants, or None if it is not folded."""
        kind = np.asarray(values[0]).dtype.kind
        with np.errstate(all="ignore"):
            if op == "convert":
                exact = kind in "bui" or np.dtype(dtype_of(dtype)).kind == "f"
                return np.asarray(values[0]).astype(dtype_of(dtype)) if exact else None
            if op == "compare":
                return COMPARISONS[attributes["comparison_direction"]](*values)
            if op == "select":
                return values[1] if values[0] else values[2]
            if op in _LOGIC and kind in "bui":
                return _LOGIC[op](*values)
            if op == "divide" and kind in "ui":
                return None  # StableHLO rounds towards zero
            if op in _ARITHMETIC and kind in "uif":
                return _ARITHMETIC[op](*values)
        return None


_RATIONAL: dict[str, Callable[..., Fraction]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negate": lambda a: -a,
    "abs": abs,
    "convert": lambda a: a,
    "maximum": max,
    "minimum": min,
}


def _exact(op: str, operands: Sequence[Term]) -> Fraction | None:
    """Return the value of an operation on constants in the reals, if it is known."""
    values = [operand.exact for operand in operands]
    if op not in _RATIONAL or any(value is None for value in values):
        return None
    if op == "divide" and values[1] == 0:
        return None
    found = _RATIONAL[op](*values)
    # A long chain of constants would have ever larger numbers.
    return found if found.denominator < _MAX_PART and abs(found.numerator) < _MAX_PART else None


_MAX_PART = 10**30
