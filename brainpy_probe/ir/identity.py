"""What tells one program from another, and whether a text is right; knows no file, no capture."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.format.program_records import DialectCheck
from brainpy_probe.ir import mlir

__all__ = [
    "Compared",
    "constants_in_place",
    "first_difference",
    "operation_counts",
    "reparse",
    "signature",
    "to_mhlo",
]


class Compared:
    """What tells one StableHLO module from another.

    Modules that print alike, but for where their constants stand, are one program: VHLO gathers
    constants at the head of a function, and leaves a default out. What prints otherwise may be one
    all the same: what CHLO was does not come back, passes fold constants (0.4.13, 0.4.23), other
    defaults get lost, and JAX spells typed custom calls unlike MHLO. Then XLA must make the same
    HLO of both, backend configs included; what HLO knows nothing of, the names of main's arguments
    and results, stands beside it.

    Parameters
    ----------
    module : ir.Module
        A StableHLO module that nobody changes from now on, but for its locations.
    text : str, optional
        The text of which it was parsed, without locations; else it is printed.
    """

    def __init__(self, module: Any, text: str = "") -> None:
        self._module, self._given = module, text

    @functools.cached_property
    def text(self) -> str:
        """That text, constants where they are used, values by their number."""
        return constants_in_place(self._given or bindings.mlir_text(self._module))

    @functools.cached_property
    def hlo_module(self) -> Any:
        """The HLO module that XLA makes of it."""
        return bindings.hlo_of(self._module)

    @functools.cached_property
    def hlo(self) -> str:
        """That module's canonical text."""
        return bindings.hlo_canonical_text(self.hlo_module)

    def difference(self, other: Compared) -> str:
        """Return the first line in which they differ, or nothing."""
        if self.text == other.text:
            return ""
        mine, theirs = signature(self._module), signature(other._module)
        return first_difference(mine, theirs) or first_difference(self.hlo, other.hlo)


_CONSTANT = " = stablehlo.constant "

# A string; or a value where it is defined (``%1:2 =``, ``%arg0: tensor``) or used.
_VALUE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(%\w+)((?::\d+)? =|: )?')

# What a custom call and a product have by default: VHLO does not bring it back.
_DEFAULTS = (
    ('{backend_config = "", ', "{"),
    (', backend_config = "", ', ", "),
    (", precision = [DEFAULT, DEFAULT]", ""),
)


def constants_in_place(text: str) -> str:
    """Put the constants of a module's text where they are used, and number its values anew.

    Texts that are equal then are of modules with the same operations, in the same order, on the
    same values. MLIR prints a value before what uses it, and gives a name away again only where the
    value that had it has gone out of scope: so the last value of a name is the one that is meant.
    """
    named: dict[str, str] = {}
    numbers = itertools.count()

    def numbered(match: re.Match[str]) -> str:
        name, defined = match.groups()
        if name is None:
            return match[0]
        if defined:
            named[name] = f"%{next(numbers)}"
            return named[name] + defined
        return named.get(name, name)

    for given, left in _DEFAULTS:
        text = text.replace(given, left)
    lines = []
    for line in text.splitlines():
        name, _, constant = line.strip().partition(_CONSTANT)
        if constant and name.startswith("%") and " " not in name:
            named[name] = f"<{constant}>"
        else:
            lines.append(_VALUE.sub(numbered, line))
    return "\n".join(lines)


def reparse(text: str, context: Any) -> DialectCheck:
    """Parse MLIR text and compare what that prints."""
    module = bindings.parse_mlir(text, context)
    again = bindings.mlir_text(module, locations=bindings.has_locations(text))
    difference = first_difference(text, again)
    return DialectCheck(parsed=not difference, detail=difference)


def first_difference(left: str, right: str) -> str:
    """Return the first line in which two texts differ, or nothing."""
    if left == right:
        return ""
    pairs = zip(left.splitlines(), right.splitlines(), strict=False)
    for number, (one, other) in enumerate(pairs, 1):
        if one != other:
            return f"line {number} differs: {one.strip()[:200]!r} and {other.strip()[:200]!r}"
    return "one text is longer than the other"


def signature(module: Any) -> str:
    """Print main's type, and the names and attributes of its arguments and results."""
    attributes = mlir.main(module).operation.attributes
    kinds = ("function_type", "arg_attrs", "res_attrs")
    return "\n".join(str(attributes[kind]) for kind in kinds if kind in attributes)


def operation_counts(module: Any) -> str:
    """Print the number of operations by name, whatever their dialect."""
    counted = Counter(one.name.partition(".")[2] for one in mlir.operations(module))
    return "\n".join(f"{name} {counted[name]}" for name in sorted(counted))


def to_mhlo(module: Any) -> str:
    """Legalise a StableHLO module to MHLO, in place; return the operations that it is made of."""
    operations = operation_counts(module)
    bindings.run_passes(module, "stablehlo-legalize-to-hlo")
    # CHLO by XLA's own rules: what has an operation in MHLO (erf, top_k) keeps it. Only if there is
    # any, since this pass folds constants as well on 0.4.13 and 0.4.23; and not before the other,
    # since it can't pass by a loop that carries StableHLO's tokens.
    if mlir.chlo(mlir.operations(module)):
        bindings.run_passes(module, "func.func(chlo-legalize-to-hlo)")
        operations = operation_counts(module)
        bindings.run_passes(module, "stablehlo-legalize-to-hlo")
    return operations
