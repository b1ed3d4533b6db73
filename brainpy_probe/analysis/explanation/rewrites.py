"""Recognises the function that a group of operations computes. Each rule is exact in the reals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brainpy_probe.analysis.explanation.terms import Function, Term, scalar
from brainpy_probe.format.arrays import dtype_of

__all__ = [
    "NEVER_NEGATIVE",
    "exprel_form",
    "guarded_exprel",
    "modulo",
    "replaces_all",
    "unchanged_operand",
]

# The number of a step, the remainder of a positive divisor, and positions.
NEVER_NEGATIVE = ("counter", "mod", "iota")


def modulo(operands: Sequence[Term]) -> Term | None:
    """Return r of ``where(r < 0 and r != 0, r + d, r)`` with r the remainder by d > 0."""
    condition, moved, remainder = operands
    if remainder.op != "remainder" or np.dtype(dtype_of(remainder.dtype)).kind != "i":
        return None
    divisor = scalar(remainder.operands[1])
    is_moved = moved.op == "add" and moved.operands[0] is remainder
    if divisor is None or divisor <= 0 or not is_moved or scalar(moved.operands[1]) != divisor:
        return None
    tests = condition.operands if condition.op == "and" else (condition,)
    directions = {
        test.attributes["comparison_direction"]
        for test in tests
        if test.op == "compare" and test.operands[0] is remainder and scalar(test.operands[1]) == 0
    }
    known = len(directions) == len(tests) and "LT" in directions and directions <= {"LT", "NE"}
    return remainder if known else None


def guarded_exprel(operands: Sequence[Term]) -> tuple[Term, dict[str, str]] | None:
    """Return z and attributes of ``where(abs(z) <= limit, series, (exp(z) - 1) / z)``."""
    condition, series, quotient = operands
    if condition.op != "compare" or condition.attributes["comparison_direction"] != "LE":
        return None
    if quotient.op != "divide":
        return None
    z = quotient.operands[1]
    form = exprel_form(*quotient.operands)
    distance, limit = condition.operands[0], scalar(condition.operands[1])
    if not form or limit is None or distance.op != "abs" or distance.operands[0] is not z:
        return None
    printed = _series(series, z)
    return None if not printed else (z, {"form": form, "limit": str(limit), "series": printed})


def exprel_form(above: Term, z: Term) -> str:
    """Return ``exp`` for the dividend ``exp(z) - 1``, ``expm1`` for ``expm1(z)``, or nothing."""
    if above.op == "exponential_minus_one" and above.operands[0] is z:
        return "expm1"
    if above.op == "subtract" and scalar(above.operands[1]) == 1:
        power = above.operands[0]
        if power.op == "exponential" and power.operands[0] is z:
            return "exp"
    return ""


def _series(term: Term, z: Term) -> str:
    """Return which series of exprel a term is: ``1`` or ``1 + z/2 + z*z/6``; "" for none."""
    if scalar(term) == 1:
        return "1"
    if term.op != "add":
        return ""
    first, second = term.operands
    if scalar(first) == 1 and _is_quotient(second, z, 2):
        return "1 + z/2"
    square = second.operands[0] if second.op == "divide" else second
    is_square = square.op == "multiply" and all(factor is z for factor in square.operands)
    if is_square and _is_quotient(second, square, 6) and _series(first, z) == "1 + z/2":
        return "1 + z/2 + z*z/6"
    return ""


def _is_quotient(term: Term, above: Term, below: float) -> bool:
    return term.op == "divide" and term.operands[0] is above and scalar(term.operands[1]) == below


def replaces_all(
    operands: Sequence[Term], regions: Sequence[Function], shape: tuple[int, ...]
) -> bool:
    """Return whether a scatter without indices replaces its whole operand: ``x[:] = updates``."""
    return (
        len(operands) == 3
        and operands[1].shape == (0,)
        and operands[2].shape == shape
        and len(regions) == 1
        and regions[0].results == regions[0].arguments[1:]
    )


# The number that, as an operand, leaves the other one unchanged; whether it must be the second.
_NEUTRAL: dict[str, tuple[float, bool]] = {
    "add": (0, False),
    "multiply": (1, False),
    "subtract": (0, True),
    "divide": (1, True),
}
_NEUTRAL_LOGIC = {"and": True, "or": False}


def unchanged_operand(
    op: str, operands: Sequence[Term], values: Sequence[Any], shape: tuple[int, ...]
) -> Term | None:
    """Return the operand that an operation leaves unchanged, or None."""
    first = operands[0]
    if op in ("negate", "not"):
        return first.operands[0] if first.op == op else None
    neutral: float | None
    neutral, second = _NEUTRAL.get(op, (None, False))
    if first.dtype == "bool":
        neutral = _NEUTRAL_LOGIC.get(op)
    if neutral is None:
        return None
    pairs = list(zip(values, reversed(operands), strict=True))
    for value, other in pairs[1:] if second else pairs:
        if value is not None and value == neutral and other.shape == shape:
            return other
    return None
