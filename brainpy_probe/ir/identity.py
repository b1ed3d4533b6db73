"""Compares programs, and checks that a text is parsed back unchanged."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings
from brainpy_probe.format.manifest.program_records import DialectCheck
from brainpy_probe.ir import mlir
from brainpy_probe.ir.placement import without_shardings

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule, MlirContext, MlirModule

__all__ = [
    "ComparableModule",
    "canonical_hlo",
    "first_difference",
    "inline_constants",
    "operation_counts",
    "reparse",
    "signature",
    "to_mhlo",
]


class ComparableModule:
    """A StableHLO module that can be compared with another one.

    Two modules are the same program if they print the same text, apart from the position of
    constants: VHLO moves constants to the start of a function, and omits some defaults. Modules
    with different texts may still be the same program: decomposed CHLO operations are not restored,
    passes fold constants (0.4.13, 0.4.23), other defaults get lost, and JAX prints typed custom
    calls differently from MHLO. Such modules are compared by the HLO that XLA makes of them,
    including backend configs and shardings, and by the names of main's arguments and results, which
    HLO lacks.

    Parameters
    ----------
    module : ir.Module
        A StableHLO module. From now on only its locations may change.
    text : str, optional
        The text from which it was parsed, without locations; by default the module is printed.
    """

    def __init__(self, module: MlirModule, text: str = "") -> None:
        self._module, self._parsed_text = module, text

    @functools.cached_property
    def text(self) -> str:
        """The module's text with inlined constants and renumbered values."""
        return inline_constants(self._parsed_text or bindings.mlir_text(self._module))

    @functools.cached_property
    def hlo_module(self) -> HloModule:
        """The module as XLA's HLO module."""
        return bindings.hlo_of(self._module)

    @functools.cached_property
    def hlo(self) -> str:
        """The canonical text of the HLO module."""
        return canonical_hlo(self.hlo_module)

    def difference(self, other: ComparableModule) -> str:
        """Return the first line that differs; empty if the programs are the same."""
        if self.text == other.text:
            return ""
        mine, theirs = signature(self._module), signature(other._module)
        return first_difference(mine, theirs) or first_difference(self.hlo, other.hlo)


# A mesh without axes in the frontend attributes of an HLO module.
_EMPTY_MESH = re.compile(r"\b\w+ = #sdy\.mesh<\[\]>(, )?")


def canonical_hlo(module: HloModule) -> str:
    """Return the text of an HLO module, equal for equal programs.

    Meshes without axes are omitted: they distribute nothing, and VHLO omits them in some programs
    (0.12.0).
    """
    return _EMPTY_MESH.sub("", bindings.hlo_canonical_text(module))


_CONSTANT = " = stablehlo.constant "

# Matches a string, or a value where it is defined (``%1:2 =``, ``%arg0: tensor``) or used.
_VALUE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(%\w+)((?::\d+)? =|: )?')

# Defaults of custom calls and products, which VHLO does not restore.
_DEFAULTS = (
    ('{backend_config = "", ', "{"),
    (', backend_config = "", ', ", "),
    (", precision = [DEFAULT, DEFAULT]", ""),
)


def inline_constants(text: str) -> str:
    """Inline the constants of a module's text at each use, and renumber its values.

    Modules with equal results have the same operations, in the same order, on the same values. MLIR
    prints a value before its uses, and reuses a name only after the scope of the earlier value has
    ended. Therefore a name always refers to the last value with that name.
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

    for printed, replacement in _DEFAULTS:
        text = text.replace(printed, replacement)
    lines = []
    for line in text.splitlines():
        name, _, constant = line.strip().partition(_CONSTANT)
        if constant and name.startswith("%") and " " not in name:
            named[name] = f"<{constant}>"
        else:
            lines.append(_VALUE.sub(numbered, line))
    return "\n".join(lines)


def reparse(text: str, context: MlirContext) -> DialectCheck:
    """Parse MLIR text, print the module, and compare both texts."""
    module = bindings.parse_mlir(text, context)
    again = bindings.mlir_text(module, locations=bindings.has_locations(text))
    difference = first_difference(text, again)
    return DialectCheck(parsed=not difference, detail=difference)


def first_difference(left: str, right: str) -> str:
    """Return the first line in which two texts differ; empty if they are equal."""
    if left == right:
        return ""
    pairs = zip(left.splitlines(), right.splitlines(), strict=False)
    for number, (mine, theirs) in enumerate(pairs, 1):
        if mine != theirs:
            return f"line {number} differs: {mine.strip()[:200]!r} and {theirs.strip()[:200]!r}"
    return "one text is longer than the other"


def signature(module: MlirModule) -> str:
    """Return main's type, and the attributes of its arguments and results, as text.

    Shardings are omitted, because VHLO writes them in XLA's form instead of Shardy's (0.10.2,
    0.12.0). HLO has them.
    """
    attributes = mlir.main(module).operation.attributes
    lines = [str(attributes["function_type"])]
    for kind in ("arg_attrs", "res_attrs"):
        if kind in attributes:
            lines.append(str(without_shardings(attributes[kind], module.context)))
    return "\n".join(lines)


def operation_counts(module: MlirModule) -> str:
    """Return the number of operations by name, without their dialect, as text."""
    counts = Counter(op.name.partition(".")[2] for op in mlir.operations(module))
    return "\n".join(f"{name} {counts[name]}" for name in sorted(counts))


def to_mhlo(module: MlirModule) -> str:
    """Convert a StableHLO module to MHLO, in place; return its operation counts."""
    operations = operation_counts(module)
    bindings.run_passes(module, "stablehlo-legalize-to-hlo")
    # XLA's own pass for CHLO keeps operations that MHLO also has (erf, top_k). It runs only if
    # there are CHLO operations, because it also folds constants on 0.4.13 and 0.4.23. It runs after
    # the other pass, because it fails on loops that carry StableHLO's tokens.
    if mlir.chlo_operations(mlir.operations(module)):
        bindings.run_passes(module, "func.func(chlo-legalize-to-hlo)")
        operations = operation_counts(module)
        bindings.run_passes(module, "stablehlo-legalize-to-hlo")
    return operations
