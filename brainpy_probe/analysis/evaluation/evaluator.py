"""Evaluates terms with NumPy.

Each operation is computed in the dtype that it has in the program. A kernel without a definition,
or an operation that this module does not support, raises :class:`CannotEvaluate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainpy_probe.analysis.evaluation import arrays as array_operations
from brainpy_probe.analysis.evaluation.arrays import CannotEvaluate, chosen_branch
from brainpy_probe.analysis.evaluation.shard_map import shard_map
from brainpy_probe.analysis.explanation.graph import COMPARISONS
from brainpy_probe.analysis.explanation.kernels import definition_of, kernel_name
from brainpy_probe.analysis.explanation.order import dependencies, in_order
from brainpy_probe.analysis.explanation.terms import Function, Term
from brainpy_probe.format.arrays import Array, dtype_of
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = ["CannotEvaluate", "Evaluator"]


# Maximum number of iterations of an inner loop and the loops within it: each takes NumPy about a
# millisecond.
_MAX_ITERATIONS = 5000
# Number of iterations with floats after which rounding errors may have any size.
_MANY_ROUNDINGS = 50


@dataclass
class _Iterations:
    """Counts the iterations of an inner loop and of the loops within it."""

    count: int = 0
    rounded: int = 0

    def add(self, carried: Sequence[Array]) -> None:
        self.count += 1
        self.rounded += any(value.dtype.kind not in "biu" for value in carried)
        if self.count > _MAX_ITERATIONS:
            raise CannotEvaluate("an inner loop runs too long")


def _erf_inv(x: Array) -> Array:
    """Return the inverse error function in XLA's approximation (Giles 2012)."""
    wide = x.astype(np.float64)
    w = -np.log1p((-x * x).astype(np.float64))  # the rounding of the product matters near 1
    result = _of_range(w, _DOUBLE if x.dtype == np.float64 else _SINGLE) * wide
    return np.asarray(np.where(np.abs(wide) == 1.0, wide * np.inf, result), x.dtype)


_Range = tuple[float, bool, float, tuple[float, ...]]


def _of_range(w: Array, ranges: Sequence[_Range]) -> Array:
    """Evaluate the polynomial of each element's range."""
    result = np.full(w.shape, np.nan)
    for least, of_root, centre, coefficients in ranges:
        position = np.sqrt(np.maximum(w, 0)) if of_root else w
        result = np.where(w >= least, np.polyval(coefficients, position - centre), result)
    return result


# XLA's chlo decomposition of erf_inv for float32 and float64 (ErfInv32 and ErfInv64 of
# chlo_legalize_to_stablehlo): the lower bound of w in a range, whether its polynomial is in the
# square root of w, the point of expansion, and the coefficients.
_SINGLE: tuple[_Range, ...] = (
    (-np.inf, False, 2.5, (
        2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
        -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
    )),
    (5.0, True, 3.0, (
        -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
        -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
    )),
)  # fmt: skip
_DOUBLE: tuple[_Range, ...] = (
    (-np.inf, False, 3.125, (
        -3.6444120640178196996e-21, -1.685059138182016589e-19, 1.2858480715256400167e-18,
        1.115787767802518096e-17, -1.333171662854620906e-16, 2.0972767875968561637e-17,
        6.6376381343583238325e-15, -4.0545662729752068639e-14, -8.1519341976054721522e-14,
        2.6335093153082322977e-12, -1.2975133253453532498e-11, -5.4154120542946279317e-11,
        1.051212273321532285e-09, -4.1126339803469836976e-09, -2.9070369957882005086e-08,
        4.2347877827932403518e-07, -1.3654692000834678645e-06, -1.3882523362786468719e-05,
        0.0001867342080340571352, -0.00074070253416626697512, -0.0060336708714301490533,
        0.24015818242558961693, 1.6536545626831027356,
    )),
    (6.25, True, 3.25, (
        2.2137376921775787049e-09, 9.0756561938885390979e-08, -2.7517406297064545428e-07,
        1.8239629214389227755e-08, 1.5027403968909827627e-06, -4.013867526981545969e-06,
        2.9234449089955446044e-06, 1.2475304481671778723e-05, -4.7318229009055733981e-05,
        6.8284851459573175448e-05, 2.4031110387097893999e-05, -0.0003550375203628474796,
        0.00095328937973738049703, -0.0016882755560235047313, 0.0024914420961078508066,
        -0.0037512085075692412107, 0.005370914553590063617, 1.0052589676941592334,
        3.0838856104922207635,
    )),
    (16.0, True, 5.0, (
        -2.7109920616438573243e-11, -2.5556418169965252055e-10, 1.5076572693500548083e-09,
        -3.7894654401267369937e-09, 7.6157012080783393804e-09, -1.4960026627149240478e-08,
        2.9147953450901080826e-08, -6.7711997758452339498e-08, 2.2900482228026654717e-07,
        -9.9298272942317002539e-07, 4.5260625972231537039e-06, -1.9681778105531670567e-05,
        7.5995277030017761139e-05, -0.00021503011930044477347, -0.00013871931833623122026,
        1.0103004648645343977, 4.8499064014085844221,
    )),
)  # fmt: skip


def _quotient(left: Array, right: Array) -> Array:
    """Divide; integers are rounded towards zero, as in StableHLO."""
    if left.dtype.kind not in "iu":
        return np.asarray(np.divide(left, right))
    divisor = np.where(right == 0, 1, right)
    magnitude = np.abs(left) // np.abs(divisor)
    return np.asarray(np.sign(left) * np.sign(divisor) * magnitude, left.dtype)


def _in_wide_precision(function: Callable[..., Any]) -> Callable[..., Array]:
    """Return a function that computes in float64 or complex128 and rounds the result once."""

    def rounded(*operands: Array) -> Array:
        (dtype,) = {operand.dtype for operand in operands}
        wide = np.complex128 if dtype.kind == "c" else np.float64
        return np.asarray(function(*(operand.astype(wide) for operand in operands)), dtype)

    return rounded


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _shifting(operation: Callable[..., Any]) -> Callable[[Array, Array], Array]:
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


# Functions that XLA approximates to within some ulps.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exponential": np.exp, "exponential_minus_one": np.expm1, "log": np.log,
    "log_plus_one": np.log1p, "sine": np.sin, "cosine": np.cos, "tan": np.tan, "tanh": np.tanh,
    "logistic": _logistic, "rsqrt": lambda x: 1 / np.sqrt(x), "cbrt": np.cbrt,
    "power": np.power, "atan2": np.arctan2,
}  # fmt: skip
_APPROXIMATED: dict[str, Callable[..., Array]] = {
    **{name: _in_wide_precision(function) for name, function in _FUNCTIONS.items()},
    "chlo.erf_inv": _erf_inv,
}
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": _quotient,
    "negate": np.negative, "abs": np.abs, "sqrt": np.sqrt, "maximum": np.maximum,
    "minimum": np.minimum, "floor": np.floor, "ceil": np.ceil, "sign": np.sign,
    "round_nearest_even": np.rint, "remainder": np.fmod, "mod": np.mod,
    "is_finite": np.isfinite, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "not": np.invert, "shift_left": _shifting(np.left_shift),
    "shift_right_logical": _shifting(_logical_right), "shift_right_arithmetic": np.right_shift,
    "select": np.where, "clamp": lambda low, x, high: np.clip(x, low, high),
    "chlo.square": np.square, "optimization_barrier": lambda x: x, **_APPROXIMATED,
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
        The fraction by which the result of each approximated function and of each sum is changed,
        to find the results that their rounding affects.
    iterations : _Iterations, optional
        The iterations of the inner loop that contains the terms.
    """

    def __init__(
        self,
        record: ProgramRecord,
        values: Mapping[int, Array],
        moved: float = 0.0,
        iterations: _Iterations | None = None,
    ) -> None:
        self._record = record
        self._iterations = iterations
        self.moved = moved
        self._known: dict[int, Any] = dict(values)
        # All results of a control-flow operation; each result is a term.
        self._controls: dict[tuple[Any, ...], list[Array]] = {}
        self._accumulating: set[int] = set()

    def value(self, term: Term) -> Array:
        """Return the value of a term.

        Raises
        ------
        CannotEvaluate
            If an operation on which it depends can't be evaluated.
        """
        with np.errstate(all="ignore"):
            for found in in_order([term]):
                if not self.knows(found):
                    self.assign(found, self.evaluate(found))
        return self.known(term)

    def knows(self, term: Term) -> bool:
        """Return whether the value of a term is known."""
        return id(term) in self._known

    def known(self, term: Term) -> Array:
        """Return the known value of a term."""
        value: Array = self._known[id(term)]
        return value

    def assign(self, term: Term, value: Array) -> None:
        """Set the value of a term."""
        self._known[id(term)] = value

    def accumulates(self, term: Term) -> bool:
        """Return whether rounding errors of an inner loop accumulate in an evaluated term."""
        regions = (id(region) for found in in_order([term]) for region in found.regions)
        return not self._accumulating.isdisjoint(regions)

    def evaluate(self, term: Term) -> Array:
        """Evaluate a term whose operands are known.

        Raises
        ------
        CannotEvaluate
            If it can't be evaluated.
        """
        if term.op == "constant":
            return np.broadcast_to(term.value, term.shape)
        if term.op in ("symbol", "counter", "final", "argument"):
            raise CannotEvaluate(f"the value of {term.name} is not known")
        operands = [self._known[id(operand)] for operand in term.operands]
        value = self._computed(term, operands)
        wanted = dtype_of(term.dtype)
        if self.moved and term.op in _SUMS and value.dtype.kind == "f":
            # XLA may add in another order: the error is relative to the sum of the magnitudes.
            sizes = self._computed(term, [_magnitude(operand) for operand in operands])
            value = value + sizes * value.dtype.type(self.moved)
        elif term.op in _APPROXIMATED:
            value = self._with_rounding(value)
        if value.shape != term.shape:
            value = np.broadcast_to(value, term.shape)
        return value.astype(wanted, copy=False)

    def _computed(self, term: Term, operands: Sequence[Array]) -> Array:
        """Compute the value of an operation from the values of its operands."""
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
        if op in ("call", "while", "case", "if", "shard_map"):
            return self._controlled(term, operands)
        found = array_operations.computed(term, operands, self.reducer)
        if found is None:
            raise CannotEvaluate(f"{op} is not supported")
        return found

    # --- Regions --------------------------------------------------------------------------------

    def _apply(
        self,
        function: Function,
        arguments: Sequence[Array],
        iterations: _Iterations | None = None,
    ) -> list[Array]:
        """Return the results of a region for some arguments."""
        evaluator = self.within(function, arguments, iterations)
        return [evaluator.value(result) for result in function.results]

    def within(
        self,
        function: Function,
        arguments: Sequence[Array],
        iterations: _Iterations | None = None,
    ) -> Evaluator:
        """Return an evaluator of a region for some arguments."""
        if function.needed is None:
            function.needed = _needed_ids(function)
        known = ((key, self._known.get(key)) for key in function.needed)
        inner = {key: value for key, value in known if value is not None}
        pairs = zip(function.arguments, arguments, strict=True)
        inner.update((id(argument), value) for argument, value in pairs)
        iterations = iterations or self._iterations
        return Evaluator(self._record, inner, self.moved, iterations)

    def reducer(self, function: Function) -> Callable[..., Array]:
        """Return the function of a region."""
        return lambda *arguments: self._apply(function, arguments)[0]

    def _controlled(self, term: Term, operands: Sequence[Array]) -> Array:
        key = (term.op, *map(id, term.regions), *map(id, term.operands))
        if key not in self._controls:
            iterations = self._iterations or _Iterations()
            self._controls[key] = self._control(term, operands, iterations)
            if iterations.rounded > _MANY_ROUNDINGS:
                self._accumulating.update(map(id, term.regions))
        return self._controls[key][term.result]

    def _control(
        self, term: Term, operands: Sequence[Array], iterations: _Iterations
    ) -> list[Array]:
        """Return all results of a call, loop, condition or ``shard_map``."""
        if term.op == "shard_map":
            meshes = self._record.fidelity.placement.meshes
            return shard_map(term, operands, meshes, self.within)
        if term.op == "call":
            return self._apply(term.regions[0], operands, iterations)
        if term.op == "while":
            condition, body = term.regions
            carried = list(operands)
            while self._apply(condition, carried, iterations)[0]:
                iterations.add(carried)
                carried = self._apply(body, carried, iterations)
            return carried
        return self._apply(chosen_branch(term, int(operands[0])), [], iterations)

    def _with_rounding(self, value: Array) -> Array:
        if not self.moved or value.dtype.kind != "f":
            return value
        return np.asarray(value * value.dtype.type(1 + self.moved))

    def _exprel(self, term: Term, z: Array) -> Array:
        """Compute exprel as the program does, with its series near 0."""
        number = z.dtype.type
        if term.attributes["form"] == "expm1":
            above = self._with_rounding(_APPROXIMATED["exponential_minus_one"](z))
        else:
            above = self._with_rounding(_APPROXIMATED["exponential"](z)) - number(1)
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


def _needed_ids(function: Function) -> tuple[int, ...]:
    """Return the ids of the terms that the results of a region depend on."""
    order = in_order(function.results)
    terms = (found for term in order for found in (term, *dependencies(term)))
    return tuple(dict.fromkeys(map(id, terms)))
