"""Reads the attributes and constants of operations, as jaxlib 0.4.13 to 0.12.0 print them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.format.arrays import Array, dtype_of
from brainpy_probe.ir import mlir
from brainpy_probe.ir.dtypes import numpy_type

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirOperation, MlirValue

__all__ = [
    "constant_value",
    "field",
    "integers",
    "is_constant",
    "operation_name",
    "printed_attributes",
    "value_type",
]

# Attributes that do not affect the value of an operation, or differ between versions.
_IGNORED = {
    "api_version", "backend_config", "called_computations", "has_side_effect",
    "indices_are_sorted", "mhlo.backend_config", "mhlo.frontend_attributes", "mhlo.sharding",
    "operand_layouts", "output_operand_aliases", "precision_config", "result_accuracy",
    "result_layouts", "sdy.sharding", "unique_indices", "compare_type", "call_target_name",
}  # fmt: skip
_SHARDY = {"sdy.manual_computation": "shard_map"}
_DIRECTION = re.compile(r"\b(LT|LE|GT|GE|EQ|NE)\b")
# array<i64: 1, 2> (0.4.23 and later) and dense<[1, 2]> : tensor<2xi64> (0.4.13), where equal
# elements are printed once: dense<1> : tensor<2xi64>.
_ARRAY = re.compile(r"array<i(?:1|64)(?:: )?([^>]*)>|dense<([^>]*)> : tensor<((?:\d+x)*)i(?:1|64)>")


def operation_name(op: MlirOperation) -> str:
    """Return the name of an operation without its dialect."""
    name = str(op.name)
    return _SHARDY.get(name, name.removeprefix("stablehlo."))


def printed_attributes(op: MlirOperation) -> dict[str, str]:
    """Return the attributes of an operation as text that is equal in all versions."""
    found = {}
    for name, attribute in bindings.mlir_attributes(op).items():
        if name in _IGNORED:
            continue
        printed = str(attribute)
        if name == "comparison_direction":
            direction = _DIRECTION.search(printed)
            printed = direction[1] if direction else printed
        else:
            printed = _ARRAY.sub(_as_list, printed)
        found[name] = printed
    return found


def _as_list(match: re.Match[str]) -> str:
    if match[1] is not None:
        return f"[{match[1]}]"
    content, sizes = match[2] or "", match[3]
    if "[" not in content and sizes and content:
        count = math.prod(map(int, sizes.split("x")[:-1]))
        content = f"[{', '.join([content] * count)}]"
    return content or "[]"


def integers(printed: str) -> tuple[int, ...]:
    """Return the integers of a printed list, as ``[0, 1]``, or of a single printed integer."""
    content = printed.partition(" : ")[0]
    return tuple(int(digits) for digits in re.findall(r"-?\d+", content))


def field(printed: str, name: str) -> tuple[int, ...]:
    """Return the integers of a field of a printed structure: ``offset_dims = [0], ...``."""
    found = re.search(rf"\b{name} = (\[[^\]]*\]|-?\d+)", printed)
    return integers(found[1]) if found else ()


def value_type(value: MlirValue) -> tuple[tuple[int, ...], str]:
    """Return shape and NumPy's name of the dtype of a value."""
    return numpy_type(str(value.type))


def is_constant(op: MlirOperation) -> bool:
    """Return whether an op is a constant, or an array whose values do not matter."""
    if op.name == "stablehlo.custom_call":
        return mlir.string(op.attributes["call_target_name"]) == mlir.UNINITIALISED
    return bool(op.name == "stablehlo.constant")


def constant_value(op: MlirOperation) -> tuple[Array, tuple[int, ...], str]:
    """Return value, shape and dtype of a constant; the value of a splat is a scalar.

    The values of an array that do not matter are zeros.
    """
    shape, dtype = value_type(op.results[0])
    if "value" not in op.attributes:
        return np.zeros((), dtype_of(dtype)), shape, dtype
    printed = str(op.attributes["value"])
    content = printed.removeprefix("dense<").rpartition("> : ")[0]
    wanted = dtype_of(dtype)
    if content.startswith('"0x'):
        content = content.strip('"').removeprefix("0x")
        if dtype == "bool":
            raise ValueError("MLIR prints the bits of a large boolean constant")
        return np.frombuffer(bytes.fromhex(content), wanted).reshape(shape), shape, dtype
    if not content:
        return np.zeros(shape, wanted), shape, dtype
    splat = "[" not in content
    elements = [_element(element, wanted) for element in _ELEMENT.findall(content)]
    array = np.array(elements, wanted)
    return array.reshape(() if splat else shape), shape, dtype


_ELEMENT = re.compile(r"\([^)]*\)|[^\s,\[\]]+")


def _element(printed: str, dtype: np.dtype[Any]) -> Any:
    if printed.startswith("("):
        real, imaginary = printed.strip("()").split(",")
        return complex(float(real), float(imaginary))
    if printed in ("true", "false"):
        return printed == "true"
    if printed.startswith("0x") and dtype.kind not in "iub":  # the bits of NaN and infinity
        return np.array(int(printed, 16), f"u{dtype.itemsize}").view(dtype)[()]
    return int(printed) if dtype.kind in "iu" else float(printed)
