"""What tells one program from another, and whether a text is right; knows no file, no capture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from brainpy_probe.records import DialectCheck
from brainpy_probe.xla import bindings, mlir

__all__ = ["Compared", "first_difference", "operation_counts", "reparse", "signature", "to_mhlo"]


@dataclass(frozen=True)
class Compared:
    """What tells one StableHLO module from another.

    Not its text: what CHLO was does not come back, passes fold constants (0.4.13, 0.4.23),
    attributes with their default value get lost, and JAX spells typed custom calls unlike MHLO.
    The HLO that XLA makes of two modules of one program is the same, backend configs included;
    what HLO knows nothing of, the names of main's arguments and results, stands beside it.
    """

    signature: str
    hlo: str

    @classmethod
    def of(cls, module: Any) -> Compared:
        """Return it of a StableHLO module."""
        return cls(signature(module), bindings.hlo_canonical_text(bindings.hlo_of(module)))

    def difference(self, other: Compared) -> str:
        """Return the first line in which they differ, or nothing."""
        return first_difference(self.signature, other.signature) or first_difference(
            self.hlo, other.hlo
        )


def reparse(text: str) -> DialectCheck:
    """Parse MLIR text in a context of its own and compare what that prints."""
    module = bindings.parse_mlir(text, bindings.mlir_context())
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
    if mlir.chlo(module):
        bindings.run_passes(module, "func.func(chlo-legalize-to-hlo)")
        operations = operation_counts(module)
        bindings.run_passes(module, "stablehlo-legalize-to-hlo")
    return operations
