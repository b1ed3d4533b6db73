"""Evaluates terms with NumPy.

Each operation is computed in the dtype that the program has for it. What can't be computed raises
:class:`CannotEvaluate`: a kernel without a definition, or an operation that is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from brainpy_probe.analysis.evaluation import arrays as array_operations
from brainpy_probe.analysis.explanation.graph import COMPARISONS
from brainpy_probe.analysis.explanation.kernels import definition_of, kernel_name
from brainpy_probe.analysis.explanation.order import dependencies, in_order
from brainpy_probe.analysis.explanation.terms import Function, Term
from brainpy_probe.format.arrays import Array, dtype_of
from brainpy_probe.format.program_records import ProgramRecord

__all__ = ["CannotEvaluate", "Evaluator"]


class CannotEvaluate(Exception):
    """A term that NumPy can't evaluate, with the reason."""


# Iterations of an inner loop after which it is given up.
_MOST_ITERATIONS = 100_000


def _erf_inv(x: Array) -> Array:
    """Return the inverse error function in XLA's approximation (Giles 2012, for float32)."""
    w = -np.log1p(-x * x)
    small = np.polyval(_SMALL, w - 2.5)
    large = np.polyval(_LARGE, np.sqrt(np.maximum(w, 0)) - 3.0)
    result = np.where(w < 5.0, small, large) * x
    return np.where(np.abs(x) == 1.0, x * np.inf, result)


# XLA's chlo decomposition of erf_inv for float32 (ErfInv32 of chlo_legalize_to_stablehlo).
_SMALL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_LARGE = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def _quotient(left: Array, right: Array) -> Array:
    """Divide; integers are rounded towards zero, as in StableHLO."""
    if left.dtype.kind not in "iu":
        return np.asarray(np.divide(left, right))
    divisor = np.where(right == 0, 1, right)
    magnitude = np.abs(left) // np.abs(divisor)
    return np.asarray(np.sign(left) * np.sign(divisor) * magnitude, left.dtype)


def _wide(function: Callable[..., Any]) -> Callable[..., Array]:
    """Return a function that computes in float64 or complex128 and rounds the result once."""

    def rounded(*operands: Array) -> Array:
        (dtype,) = {operand.dtype for operand in operands}
        wide = np.complex128 if dtype.kind == "c" else np.float64
        return np.asarray(function(*(operand.astype(wide) for operand in operands)), dtype)

    return rounded


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _shift(operation: Callable[..., Any]) -> Callable[[Array, Array], Array]:
    def shifted(left: Array, right: Array) -> Array:
        bits = left.dtype.itemsize * 8
        wide = right.astype(np.int64) >= bits
        found = operation(left, np.where(wide, 0, right).astype(left.dtype))
        return np.where(wide, np.zeros((), left.dtype), found).astype(left.dtype)

    return shifted


def _logical_right(left: Array, right: Array) -> Array:
    unsigned = f"u{left.dtype.itemsize}"
    shifted: Array = (left.view(unsigned) >> right.view(unsigned)).view(left.dtype)
    return shifted


# Functions that XLA approximates, with a difference of some ulps.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exponential": np.exp, "exponential_minus_one": np.expm1, "log": np.log,
    "log_plus_one": np.log1p, "sine": np.sin, "cosine": np.cos, "tan": np.tan, "tanh": np.tanh,
    "logistic": _logistic, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt,
    "power": np.power, "atan2": np.arctan2, "chlo.erf_inv": _erf_inv,
}  # fmt: skip
_APPROXIMATED = {name: _wide(function) for name, function in _FUNCTIONS.items()}
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": _quotient,
    "negate": np.negative, "abs": np.abs, "sqrt": np.sqrt, "maximum": np.maximum,
    "minimum": np.minimum, "floor": np.floor, "ceil": np.ceil, "sign": np.sign,
    "round_nearest_even": np.rint, "remainder": np.fmod, "mod": np.mod,
    "is_finite": np.isfinite, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "not": np.invert, "shift_left": _shift(np.left_shift),
    "shift_right_logical": _shift(_logical_right), "shift_right_arithmetic": np.right_shift,
    "select": np.where, "clamp": lambda low, x, high: np.clip(x, low, high),
    "optimization_barrier": lambda x: x, **_APPROXIMATED,
}  # fmt: skip
# Operations whose result depends on the order in which XLA adds.
_SUMS = ("dot_general", "reduce", "kernel")


class Evaluator:
    """Evaluates terms for given values of the named ones.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    values : mapping
        The array of each named value, by the ``id`` of its term.
    moved : float
        The fraction by which the result of each approximated function and of each sum is moved, to
        find out how far their rounding reaches.
    """

    def __init__(
        self, record: ProgramRecord, values: Mapping[int, Array], moved: float = 0.0
    ) -> None:
        self._record = record
        self._moved = moved
        self._known: dict[int, Any] = dict(values)

    def value(self, term: Term) -> Array:
        """Return the value of a term.

        Raises
        ------
        CannotEvaluate
            If an operation on which it depends can't be evaluated.
        """
        with np.errstate(all="ignore"):
            for found in in_order([term]):
                if id(found) not in self._known:
                    self._known[id(found)] = self._evaluate(found)
        result: Array = self._known[id(term)]
        return result

    def _evaluate(self, term: Term) -> Array:
        if term.op == "constant":
            return np.broadcast_to(term.value, term.shape)
        if term.op in ("symbol", "counter", "final", "argument"):
            raise CannotEvaluate(f"the value of {term.name} is not known")
        operands = [self._known[id(operand)] for operand in term.operands]
        value = self._computed(term, operands)
        wanted = dtype_of(term.dtype)
        if self._moved and term.op in _SUMS and value.dtype.kind == "f":
            # Another order of additions: relative to the sum of the magnitudes.
            sizes = self._computed(term, [_magnitude(operand) for operand in operands])
            value = value + sizes * value.dtype.type(self._moved)
        elif term.op in _APPROXIMATED:
            value = self._nudged(value)
        if value.shape != term.shape:
            value = np.broadcast_to(value, term.shape)
        return value.astype(wanted, copy=False)

    def _computed(self, term: Term, operands: Sequence[Array]) -> Array:
        op = term.op
        if op in _ELEMENTWISE:
            return np.asarray(_ELEMENTWISE[op](*operands))
        if op == "compare":
            return np.asarray(COMPARISONS[term.attributes["comparison_direction"]](*operands))
        if op == "exprel":
            return self._exprel(term, operands[0])
        if op == "kernel":
            definition = definition_of(self._record, term)
            if definition is None:
                raise CannotEvaluate(f"{kernel_name(self._record, term)} has no known definition")
            return definition.evaluate(term, operands)
        if op in ("call", "while", "case", "if"):
            return self._controlled(term, operands)
        found = array_operations.computed(term, operands, self._reducer)
        if found is None:
            raise CannotEvaluate(f"{op} is not known here")
        return found

    # --- Regions --------------------------------------------------------------------------------

    def _apply(self, function: Function, arguments: Sequence[Array]) -> list[Array]:
        """Return the results of a region for some arguments."""
        if function.needed is None:
            function.needed = _needed(function)
        known = ((key, self._known.get(key)) for key in function.needed)
        inner = {key: value for key, value in known if value is not None}
        pairs = zip(function.arguments, arguments, strict=True)
        inner.update((id(argument), value) for argument, value in pairs)
        evaluator = Evaluator(self._record, inner, self._moved)
        return [evaluator.value(result) for result in function.results]

    def _reducer(self, function: Function) -> Callable[..., Array]:
        return lambda *arguments: self._apply(function, arguments)[0]

    def _controlled(self, term: Term, operands: Sequence[Array]) -> Array:
        if term.op == "call":
            return self._apply(term.regions[0], operands)[term.result]
        if term.op == "while":
            condition, body = term.regions
            carried = list(operands)
            for _ in range(_MOST_ITERATIONS):
                if not self._apply(condition, carried)[0]:
                    return carried[term.result]
                carried = self._apply(body, carried)
            raise CannotEvaluate("an inner loop runs too long")
        index = int(operands[0])
        if term.op == "if":
            index = 0 if index else 1
        elif not 0 <= index < len(term.regions):
            index = len(term.regions) - 1
        return self._apply(term.regions[index], [])[term.result]

    def _nudged(self, value: Array) -> Array:
        if not self._moved or value.dtype.kind != "f":
            return value
        return np.asarray(value * value.dtype.type(1 + self._moved))

    def _exprel(self, term: Term, z: Array) -> Array:
        """Compute exprel as the program does, with its series near 0."""
        number = z.dtype.type
        if term.attributes["form"] == "expm1":
            above = self._nudged(_APPROXIMATED["exponential_minus_one"](z))
        else:
            above = self._nudged(_APPROXIMATED["exponential"](z)) - number(1)
        if "series" not in term.attributes:
            return np.asarray(above / z)
        series = {
            "1": np.ones_like(z),
            "1 + z/2": number(1) + z / number(2),
            "1 + z/2 + z*z/6": number(1) + z / number(2) + z * z / number(6),
        }[term.attributes["series"]]
        return np.where(np.abs(z) <= number(term.attributes["limit"]), series, above / z)


def _magnitude(operand: Array) -> Array:
    return np.abs(operand) if operand.dtype.kind == "f" else operand


def _needed(function: Function) -> tuple[int, ...]:
    """Return the ids of the terms that the results of a region depend on."""
    order = in_order(function.results)
    terms = (found for term in order for found in (term, *dependencies(term)))
    return tuple(dict.fromkeys(map(id, terms)))
