"""Reads MLIR modules: operations, arguments, constants and custom calls."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import (
        MlirAttribute,
        MlirModule,
        MlirOperation,
        MlirType,
        MlirValue,
    )
__all__ = [
    "LARGE_CONSTANT",
    "READABLE_ELEMENTS",
    "UNINITIALISED",
    "argument_names",
    "argument_types",
    "chlo_operations",
    "custom_calls",
    "defining_op",
    "feeding_arguments",
    "is_callback",
    "is_of_xla",
    "large_constants",
    "main",
    "operations",
    "result_names",
    "result_types",
    "string",
]

# A constant of more bytes counts as large.
LARGE_CONSTANT = 1024
# Constants with more elements are elided in a text for human readers.
READABLE_ELEMENTS = 16

# The custom call of an array whose values do not matter.
UNINITIALISED = "AllocateBuffer"
_CALLBACK = re.compile(r"callback", re.IGNORECASE)
# Bytes of the widest element, a complex128.
_MAX_ELEMENT_BYTES = 16
# Custom calls that XLA itself implements on every platform: annotations (up to 0.4.30, and in VHLO
# from 0.10 on), and arrays whose values do not matter (0.12.0, where JAX lowers a scan for a GPU).
_OF_XLA = re.compile(
    r"Sharding|SPMDFullToShardShape|SPMDShardToFullShape|xla\.sdy\..*|" + re.escape(UNINITIALISED)
)


def operations(module: MlirModule) -> Iterator[MlirOperation]:
    """Yield every operation of a module, at any depth."""
    pending = [module.operation]
    while pending:
        operation = pending.pop()
        yield operation
        for region in operation.regions:
            for block in region.blocks:
                pending.extend(inner.operation for inner in block.operations)


def string(attribute: MlirAttribute) -> str:
    """Return the value of a string attribute or of a symbol reference."""
    ir = bindings.take("mlir")
    if bindings.mlir_is(attribute, "FlatSymbolRefAttr"):
        return str(ir.FlatSymbolRefAttr(attribute).value)
    return str(ir.StringAttr(attribute).value)


def main(module: MlirModule) -> MlirOperation:
    """Return a module's function ``main``."""
    for function in module.body.operations:
        op = function.operation
        if op.name == "func.func" and string(op.attributes["sym_name"]) == "main":
            return function
    raise ValueError("the module has no function main")


def argument_types(module: MlirModule) -> tuple[str, ...]:
    """Return the types of main's arguments."""
    return tuple(map(str, _function_type(module).inputs))


def result_types(module: MlirModule) -> tuple[str, ...]:
    """Return the types of main's results."""
    return tuple(map(str, _function_type(module).results))


def _function_type(module: MlirModule) -> MlirType:
    ir = bindings.take("mlir")
    return ir.FunctionType(ir.TypeAttr(main(module).operation.attributes["function_type"]).value)


def argument_names(module: MlirModule) -> tuple[str, ...]:
    """Return the names of main's arguments, such as ``state['E.V']``; "" for one without a name."""
    return _names(module, "arg_attrs", "jax.arg_info", len(argument_types(module)))


def result_names(module: MlirModule) -> tuple[str, ...]:
    """Return the names of main's results; "" for a result without a name."""
    return _names(module, "res_attrs", "jax.result_info", len(result_types(module)))


def _names(module: MlirModule, kind: str, info: str, count: int) -> tuple[str, ...]:
    ir = bindings.take("mlir")
    attributes = main(module).operation.attributes
    if kind not in attributes:
        return ("",) * count
    entries = [ir.DictAttr(entry) for entry in ir.ArrayAttr(attributes[kind])]
    return tuple(string(entry[info]) if info in entry else "" for entry in entries)


def chlo_operations(ops: Iterable[MlirOperation]) -> tuple[str, ...]:
    """Return the names of CHLO operations among operations, each with its count."""
    names = Counter(name for op in ops if (name := op.name).startswith("chlo."))
    return tuple(f"{name} x{count}" for name, count in sorted(names.items()))


def large_constants(ops: Iterable[MlirOperation]) -> list[tuple[str, int]]:
    """Return type and bytes of the constants above :data:`LARGE_CONSTANT`, splats excluded."""
    ir = bindings.take("mlir")
    found = []
    for operation in ops:
        if operation.name != "stablehlo.constant":
            continue
        shaped = ir.ShapedType(operation.results[0].type)
        elements = math.prod(shaped.shape)
        if elements * _MAX_ELEMENT_BYTES <= LARGE_CONSTANT:
            continue
        size = elements * _bits(shaped.element_type) // 8
        if (
            size > LARGE_CONSTANT
            and not ir.DenseElementsAttr(operation.attributes["value"]).is_splat
        ):
            found.append((str(shaped), size))
    return found


def _bits(element_type: MlirType) -> int:
    digits = re.search(r"\d+", str(element_type))
    bits = int(digits.group()) if digits else 8
    return bits * 2 if str(element_type).startswith("complex") else bits


def is_callback(target: str) -> bool:
    """Return whether a custom call's target is a callback into the Python process."""
    return bool(_CALLBACK.search(target))


def is_of_xla(target: str) -> bool:
    """Return whether XLA itself implements a custom call, on every platform."""
    return _OF_XLA.fullmatch(target) is not None


def custom_calls(ops: Iterable[MlirOperation]) -> dict[str, list[MlirOperation]]:
    """Return the custom calls whose code is not in the module, by target."""
    found: dict[str, list[MlirOperation]] = {}
    for op in ops:
        if op.name == "stablehlo.custom_call":
            target = string(op.attributes["call_target_name"])
            if not is_of_xla(target):
                found.setdefault(target, []).append(op)
    return dict(sorted(found.items()))


def defining_op(value: MlirValue) -> MlirOperation | None:
    """Return the operation that defines a value; None for a block argument."""
    if bindings.mlir_is(value, "BlockArgument"):
        return None
    return value.owner.operation if hasattr(value.owner, "operation") else value.owner


def feeding_arguments(
    module: MlirModule, ops: Iterable[MlirOperation], operation: MlirOperation
) -> set[int]:
    """Return the positions of main's arguments that reach an operation unchanged.

    Values are followed through function calls and through the initial values of loops, but not
    through computations.

    Parameters
    ----------
    module : ir.Module
        The module.
    ops : iterable of ir.Operation
        All operations of the module.
    operation : ir.Operation
        The operation.
    """
    ir = bindings.take("mlir")
    entry = main(module).operation
    callers: dict[str, list[MlirOperation]] = {}
    for op in ops:
        if op.name == "func.call":
            callers.setdefault(string(op.attributes["callee"]), []).append(op)
    reached: set[int] = set()
    seen: set[tuple[object, int]] = set()
    pending = list(operation.operands)
    while pending:
        value = pending.pop()
        definition = defining_op(value)
        if definition is not None:
            if definition.name in _PASSED_THROUGH:
                pending += definition.operands
            continue
        argument = ir.BlockArgument(value)
        parent = argument.owner.owner.operation
        key = (argument.owner, argument.arg_number)
        if key in seen:
            continue
        seen.add(key)
        if parent == entry:
            reached.add(argument.arg_number)
        elif parent.name == "func.func":
            name = string(parent.attributes["sym_name"])
            pending += [call.operands[argument.arg_number] for call in callers.get(name, [])]
        elif parent.name == "stablehlo.while":
            pending.append(parent.operands[argument.arg_number])
    return reached


_PASSED_THROUGH = {"stablehlo.reshape", "stablehlo.convert", "stablehlo.broadcast_in_dim"}
