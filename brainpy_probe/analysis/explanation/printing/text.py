"""Prints terms as expressions in plain text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from brainpy_probe.analysis.explanation.attributes import field, integers
from brainpy_probe.analysis.explanation.kernels import definition_of, kernel_name
from brainpy_probe.analysis.explanation.order import dependencies, seen_through
from brainpy_probe.analysis.explanation.terms import Term, is_constant, scalar
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = ["FUNCTIONS", "Printer", "number"]

# Precedence of printed expressions, from loose to tight.
CASES, OR, AND, NOT, COMPARE, SUM, PRODUCT, SIGN, POWER, ATOM = range(10)

FUNCTIONS = {
    "exponential": "exp", "exponential_minus_one": "expm1", "log_plus_one": "log1p",
    "maximum": "max", "minimum": "min", "sine": "sin", "cosine": "cos", "tan": "tan",
    "logistic": "sigmoid", "round_nearest_even": "round", "round_nearest_afz": "round_away",
    "remainder": "rem", "bitcast_convert": "bits", "concatenate": "concat", "ceil": "ceil",
    "count_leading_zeros": "clz", "popcnt": "popcount", "collective_permute": "ppermute",
    "reduce_scatter": "psum_scatter", "partition_id": "device",
}  # fmt: skip
COMPARISONS = {"LT": "<", "LE": "<=", "GT": ">", "GE": ">=", "EQ": "==", "NE": "!="}
_SHIFTS = {"shift_left": "<<", "shift_right_logical": ">>", "shift_right_arithmetic": ">>"}
_REDUCTIONS = {
    ("add", 0): "sum", ("multiply", 1): "prod", ("and", True): "all", ("or", False): "any",
    ("maximum", None): "max", ("minimum", None): "min",
}  # fmt: skip
_SUMS_OF_PARTS = {"add": "psum", "maximum": "pmax", "minimum": "pmin"}
_MAX_ELEMENTS = 8


def number(value: Any) -> str:
    """Return a constant as the shortest text that gives the same value in its dtype."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    text = str(value)
    return text.removesuffix(".0")


def decimal(value: Fraction | None) -> str:
    """Return a rational number as a decimal; "" if it has more digits than a float32."""
    if value is None or value == 0:
        return "" if value is None else "0"
    digits = f"{float(value):.{_DIGITS}g}"
    return digits if Fraction(digits) == value else ""


_DIGITS = 7


class Printer:
    """Prints terms; a term with a name is printed as the name.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    names : mapping
        The name of each named term by its ``id``.

    Attributes
    ----------
    used : dict
        The functions that were printed and need a definition, with the definition.
    """

    def __init__(self, record: ProgramRecord, names: Mapping[int, str]) -> None:
        self._record = record
        self._names = names
        self.used: dict[str, str] = {}

    def definition(self, term: Term) -> str:
        """Print a term that has a name, without its name."""
        return self._print(seen_through(term))[0]

    def reference(self, term: Term, least: int = CASES) -> str:
        """Print a term as an operand, in parentheses if it binds less tightly than ``least``."""
        name = self._names.get(id(term)) or self._names.get(id(seen_through(term)))
        if name is not None:
            return self.name(name)
        text, precedence = self._print(seen_through(term))
        return text if precedence >= least else self.parenthesised(text)

    def parenthesised(self, text: str) -> str:
        """Print parentheses around an expression."""
        return f"({text})"

    def name(self, name: str) -> str:
        """Print a name."""
        return name

    def _print(self, term: Term) -> tuple[str, int]:
        """Return the text of a term, and how tightly it binds."""
        method = getattr(self, f"_{term.op}", None)
        if method is not None:
            found: tuple[str, int] = method(term)
            return found
        if term.op in _SHIFTS:
            left, right = (self.reference(operand, ATOM) for operand in term.operands)
            return f"{left} {_SHIFTS[term.op]} {right}", COMPARE
        return self._function(FUNCTIONS.get(term.op, term.op.removeprefix("chlo.")), term)

    def _function(self, name: str, term: Term, *more: str) -> tuple[str, int]:
        operands = term.operands if name not in ("while", "if", "case") else dependencies(term)
        arguments = [self.reference(operand) for operand in operands]
        return self.applied(name, [*arguments, *more]), ATOM

    def applied(self, name: str, arguments: list[str]) -> str:
        """Print a function of arguments."""
        return f"{name}({', '.join(arguments)})"

    # --- Atoms ---------------------------------------------------------------------------------

    def _constant(self, term: Term) -> tuple[str, int]:
        if is_constant(term):
            text = decimal(term.exact) or number(term.value[()])
        elif np.size(term.value) <= _MAX_ELEMENTS:
            text = f"[{', '.join(number(value) for value in np.ravel(term.value))}]"
        else:
            text = f"array{list(term.shape)}"
        return text, SIGN if text.startswith("-") else ATOM

    def _symbol(self, term: Term) -> tuple[str, int]:
        return self.name(term.name), ATOM

    def _counter(self, _: Term) -> tuple[str, int]:
        return "n", ATOM

    def _argument(self, term: Term) -> tuple[str, int]:
        return f"arg{term.name.rpartition('.')[2]}", ATOM

    # --- Arithmetic ----------------------------------------------------------------------------

    def _add(self, term: Term) -> tuple[str, int]:
        if term.dtype == "bool":
            return self._or(term)
        added: list[str] = []
        while True:
            left, right = map(seen_through, term.operands)
            added.insert(0, self._added(right))
            if left.op != "add" or id(left) in self._names:
                break
            term = left
        return self.reference(left, SUM) + "".join(added), SUM

    def _added(self, term: Term) -> str:
        """Print a term that is added: `` + x``, or `` - 60`` for the constant -60."""
        value = scalar(term)
        if value is not None and np.isrealobj(value) and value < 0:
            exact = None if term.exact is None else -term.exact
            return f" - {decimal(exact) or number(-value)}"
        if term.op == "negate" and id(term) not in self._names:
            return f" - {self.reference(term.operands[0], PRODUCT)}"
        return f" + {self.reference(term, SUM)}"

    def _subtract(self, term: Term) -> tuple[str, int]:
        left, right = term.operands
        value = scalar(right)
        if value is not None and np.isrealobj(value) and value < 0:
            added = decimal(None if right.exact is None else -right.exact) or number(-value)
            return f"{self.reference(left, SUM)} + {added}", SUM
        return f"{self.reference(left, SUM)} - {self.reference(right, PRODUCT)}", SUM

    def _multiply(self, term: Term) -> tuple[str, int]:
        if term.dtype == "bool":
            return self._and(term)
        factors: list[tuple[Term, int]] = []
        while term.op == "multiply":
            left, right = map(seen_through, term.operands)
            if factors and factors[0][0] is right:
                factors[0] = right, factors[0][1] + 1
            else:
                factors.insert(0, (right, 1))
            term = left
            if id(left) in self._names:
                break
        if factors[0][0] is term:
            factors[0] = term, factors[0][1] + 1
        else:
            factors.insert(0, (term, 1))
        return self.product(factors), PRODUCT

    def product(self, factors: list[tuple[Term, int]]) -> str:
        """Print a product of powers."""
        return " * ".join(
            self.reference(factor, PRODUCT if not place else SIGN)
            if power == 1
            else self.power(factor, str(power))
            for place, (factor, power) in enumerate(factors)
        )

    def power(self, base: Term, exponent: str) -> str:
        """Print a power."""
        return f"{self.reference(base, ATOM)}**{exponent}"

    def _power(self, term: Term) -> tuple[str, int]:
        base, exponent = term.operands
        return self.power(base, self.reference(exponent, POWER)), POWER

    def _divide(self, term: Term) -> tuple[str, int]:
        left, right = term.operands
        if np.dtype(term.dtype).kind in "iu":
            return self._function("quotient", term)
        return f"{self.reference(left, PRODUCT)} / {self.reference(right, SIGN)}", PRODUCT

    def _negate(self, term: Term) -> tuple[str, int]:
        return f"-{self.reference(term.operands[0], SIGN)}", SIGN

    def _exprel(self, term: Term) -> tuple[str, int]:
        """Print (exp(z) - 1) / z. Functions with another series near 0 have other names."""
        name, text = "exprel", "(exp(z) - 1) / z"
        if "series" in term.attributes:
            series = f"; {term.attributes['series']} where abs(z) <= {term.attributes['limit']}"
            known = [used for used, found in self.used.items() if found == text + series]
            unguarded = self.used.get("exprel(z)") in (None, text)
            if known:
                name = known[0].removesuffix("(z)")
            elif not unguarded:
                name = f"exprel_{sum(used.startswith('exprel') for used in self.used) + 1}"
            text += series
            self.used[f"{name}(z)"] = text
        else:
            self.used.setdefault("exprel(z)", text)
        return self._function(name, term)

    def _convert(self, term: Term) -> tuple[str, int]:
        (operand,) = term.operands
        return self.applied(_kind(term.dtype), [self.reference(operand)]), ATOM

    # --- Logic ---------------------------------------------------------------------------------

    def _compare(self, term: Term) -> tuple[str, int]:
        left, right = term.operands
        sign = COMPARISONS[term.attributes["comparison_direction"]]
        return f"{self.reference(left, SUM)} {sign} {self.reference(right, SUM)}", COMPARE

    def _and(self, term: Term) -> tuple[str, int]:
        return self._logic(term, "and", "&", AND)

    def _or(self, term: Term) -> tuple[str, int]:
        return self._logic(term, "or", "|", OR)

    def _xor(self, term: Term) -> tuple[str, int]:
        return self._logic(term, "xor", "^", OR)

    def _logic(self, term: Term, word: str, bits: str, precedence: int) -> tuple[str, int]:
        left, right = term.operands
        if term.dtype == "bool":
            pair = self.reference(left, precedence), self.reference(right, precedence + 1)
            return f"{pair[0]} {word} {pair[1]}", precedence
        return f"{self.reference(left, ATOM)} {bits} {self.reference(right, ATOM)}", COMPARE

    def _not(self, term: Term) -> tuple[str, int]:
        return f"not {self.reference(term.operands[0], NOT)}", NOT

    def _select(self, term: Term) -> tuple[str, int]:
        condition, then, otherwise = term.operands
        return self.cases(condition, then, otherwise), CASES

    def cases(self, condition: Term, then: Term, otherwise: Term) -> str:
        """Print a choice between two values."""
        return (
            f"{self.reference(then, OR)} if {self.reference(condition, OR)} "
            f"else {self.reference(otherwise, CASES)}"
        )

    # --- Arrays --------------------------------------------------------------------------------

    def _broadcast_in_dim(self, term: Term) -> tuple[str, int]:
        (operand,) = term.operands
        axes = integers(term.attributes["broadcast_dimensions"])
        if axes == tuple(range(len(operand.shape))):
            return self._with_axes(operand, len(term.shape))
        return self._function("broadcast", term, f"axes={list(axes)}")

    def _reshape(self, term: Term) -> tuple[str, int]:
        (operand,) = term.operands
        rank = len(operand.shape)
        if term.shape[:rank] == operand.shape and set(term.shape[rank:]) == {1}:
            return self._with_axes(operand, len(term.shape))
        return self._function("reshape", term, str(list(term.shape)))

    def _with_axes(self, operand: Term, rank: int) -> tuple[str, int]:
        """Print a value with further axes after its own, as NumPy's ``x[:, None]``."""
        axes = [":"] * len(operand.shape) + ["None"] * (rank - len(operand.shape))
        return f"{self.reference(operand, ATOM)}[{', '.join(axes)}]", ATOM

    def _dynamic_slice(self, term: Term) -> tuple[str, int]:
        array, *starts = term.operands
        sizes = integers(term.attributes["slice_sizes"])
        cut = [axis for axis, size in enumerate(sizes) if size != array.shape[axis]]
        if len(cut) == 1 and sizes[cut[0]] == 1:
            axes = ", ".join([":"] * cut[0] + [self.reference(starts[cut[0]])])
            return f"{self.reference(array, ATOM)}[{axes}]", ATOM
        return self._function("slice", term, f"sizes={list(sizes)}")

    def _slice(self, term: Term) -> tuple[str, int]:
        (array,) = term.operands
        begins, ends, steps = (
            integers(term.attributes[name])
            for name in ("start_indices", "limit_indices", "strides")
        )
        axes = []
        for begin, end, step, size in zip(begins, ends, steps, array.shape, strict=True):
            whole = begin == 0 and end == size
            text = ":" if whole else str(begin) if end == begin + 1 else f"{begin}:{end}"
            axes.append(text if step == 1 else f"{begin}:{end}:{step}")
        while len(axes) > 1 and axes[-1] == ":":
            axes.pop()
        return f"{self.reference(array, ATOM)}[{', '.join(axes)}]", ATOM

    def _dot_general(self, term: Term) -> tuple[str, int]:
        left, right = term.operands
        numbers = term.attributes["dot_dimension_numbers"]
        last = (len(left.shape) - 1,)
        standard = (
            not field(numbers, "lhs_batching_dimensions")
            and field(numbers, "lhs_contracting_dimensions") == last
            and field(numbers, "rhs_contracting_dimensions") == (0,)
        )
        if standard:
            return f"{self.reference(left, PRODUCT)} @ {self.reference(right, SIGN)}", PRODUCT
        return self._function("dot", term, numbers.partition("<")[2].rpartition(">")[0])

    def _reduce(self, term: Term) -> tuple[str, int]:
        body = term.regions[0].results
        axes = list(integers(term.attributes["dimensions"]))
        if len(term.operands) == 2 and len(body) == 1:
            array, start = term.operands
            key = body[0].op, scalar(start)
            name = _REDUCTIONS.get(key) or _REDUCTIONS.get((body[0].op, None))
            if name and all(operand.op == "argument" for operand in body[0].operands):
                more = [] if len(axes) == len(array.shape) else [f"axes={axes}"]
                return self.applied(name, [self.reference(array), *more]), ATOM
        return self._function("reduce", term, f"axes={axes}")

    def _iota(self, term: Term) -> tuple[str, int]:
        (axis,) = integers(term.attributes["iota_dimension"])
        return f"arange({term.shape[axis]})", ATOM

    def _transpose(self, term: Term) -> tuple[str, int]:
        axes = list(integers(term.attributes["permutation"]))
        if axes == [1, 0]:
            return f"{self.reference(term.operands[0], ATOM)}.T", ATOM
        return self._function("transpose", term, f"axes={axes}")

    def _scatter(self, term: Term) -> tuple[str, int]:
        body = term.regions[0].results
        op = body[0].op if len(body) == 1 else ""
        return self._function(f"scatter_{op}" if op not in ("", "argument") else "scatter", term)

    # --- Functions that are not inlined ----------------------------------------------------------

    def _call(self, term: Term) -> tuple[str, int]:
        text, precedence = self._function(term.name, term)
        return (f"{text}[{term.result}]" if term.result else text), precedence

    def _shard_map(self, term: Term) -> tuple[str, int]:
        """Print a name; its definition is the computation on the parts of one device."""
        (body,) = term.regions
        given = f"({', '.join(self._argument(argument)[0] for argument in body.arguments)})"
        text = f"{', '.join(map(self.reference, body.results))}, of the parts on each device"
        known = {signature.partition("(")[0]: (signature, t) for signature, t in self.used.items()}
        names = itertools.chain(["shard_map"], (f"shard_map_{n}" for n in itertools.count(2)))
        name = next(n for n in names if known.get(n, (n + given, text)) == (n + given, text))
        self.used[name + given] = text
        printed, precedence = self._function(name, term)
        return (f"{printed}[{term.result}]" if len(body.results) > 1 else printed), precedence

    def _all_reduce(self, term: Term) -> tuple[str, int]:
        name = _SUMS_OF_PARTS.get(term.regions[0].results[0].op, "all_reduce")
        return self.applied(name, [self.reference(term.operands[term.result])]), ATOM

    def _kernel(self, term: Term) -> tuple[str, int]:
        definition = definition_of(self._record, term)
        if definition is None:
            return self._function(kernel_name(self._record, term), term)
        self.used[definition.signature] = definition.sentence
        arguments = [self.reference(operand) for operand in definition.arguments(term)]
        return self.applied(definition.name, arguments), ATOM


def _kind(dtype: str) -> str:
    return {"float32": "float", "int32": "int"}.get(dtype, dtype)
