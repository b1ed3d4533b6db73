"""Reads MLIR modules: operations, arguments, constants, custom calls; changes and renders none."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from brainpy_probe.compat import bindings

__all__ = [
    "LARGE_CONSTANT",
    "READABLE_ELEMENTS",
    "argument_names",
    "argument_types",
    "chlo",
    "custom_calls",
    "feeding_arguments",
    "is_callback",
    "large_constants",
    "main",
    "maker",
    "operations",
    "result_names",
    "result_types",
    "string",
]

# Constants of more bytes are reported.
LARGE_CONSTANT = 1024
# Constants of more elements are cut in a text that is only to be read.
READABLE_ELEMENTS = 16

_CALLBACK = re.compile(r"callback", re.IGNORECASE)
# Bytes of the widest element, a complex128.
_WIDEST = 16
# Custom calls that every XLA knows: they are annotations, not code from elsewhere.
_ANNOTATIONS = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}


def operations(module: Any) -> Iterator[Any]:
    """Yield every operation of a module, at any depth."""
    pending = [module.operation]
    while pending:
        operation = pending.pop()
        yield operation
        for region in operation.regions:
            for block in region.blocks:
                pending.extend(inner.operation for inner in block.operations)


def string(attribute: Any) -> str:
    """Return the value of a string attribute or of a symbol reference."""
    ir = bindings.take("mlir")
    if bindings.mlir_is(attribute, "FlatSymbolRefAttr"):
        return str(ir.FlatSymbolRefAttr(attribute).value)
    return str(ir.StringAttr(attribute).value)


def main(module: Any) -> Any:
    """Return a module's function ``main``."""
    for operation in module.body.operations:
        inner = operation.operation
        if inner.name == "func.func" and string(inner.attributes["sym_name"]) == "main":
            return operation
    raise ValueError("the module has no function main")


def argument_types(module: Any) -> tuple[str, ...]:
    """Return the types of main's arguments."""
    return tuple(str(one) for one in _function_type(module).inputs)


def result_types(module: Any) -> tuple[str, ...]:
    """Return the types of main's results."""
    return tuple(str(one) for one in _function_type(module).results)


def _function_type(module: Any) -> Any:
    ir = bindings.take("mlir")
    return ir.FunctionType(ir.TypeAttr(main(module).operation.attributes["function_type"]).value)


def argument_names(module: Any) -> tuple[str, ...]:
    """Return the names of main's arguments, ``state['E.V']``; empty where one has none."""
    return _names(module, "arg_attrs", "jax.arg_info", len(argument_types(module)))


def result_names(module: Any) -> tuple[str, ...]:
    """Return the names of main's results; empty where one has none."""
    return _names(module, "res_attrs", "jax.result_info", len(result_types(module)))


def _names(module: Any, kind: str, info: str, count: int) -> tuple[str, ...]:
    ir = bindings.take("mlir")
    attributes = main(module).operation.attributes
    if kind not in attributes:
        return ("",) * count
    entries = [ir.DictAttr(one) for one in ir.ArrayAttr(attributes[kind])]
    return tuple(string(one[info]) if info in one else "" for one in entries)


def chlo(among: Iterable[Any]) -> tuple[str, ...]:
    """Return the CHLO operations among some, with their number."""
    names = Counter(name for one in among if (name := one.name).startswith("chlo."))
    return tuple(f"{name} x{count}" for name, count in sorted(names.items()))


def large_constants(among: Iterable[Any]) -> list[tuple[str, int]]:
    """Return type and bytes of the constants above a size that are not one value throughout."""
    ir = bindings.take("mlir")
    found = []
    for operation in among:
        if operation.name != "stablehlo.constant":
            continue
        shaped = ir.ShapedType(operation.results[0].type)
        elements = math.prod(shaped.shape)
        if elements * _WIDEST <= LARGE_CONSTANT:
            continue
        size = elements * _bits(shaped.element_type) // 8
        if (
            size > LARGE_CONSTANT
            and not ir.DenseElementsAttr(operation.attributes["value"]).is_splat
        ):
            found.append((str(shaped), size))
    return found


def _bits(element_type: Any) -> int:
    digits = re.search(r"\d+", str(element_type))
    bits = int(digits.group()) if digits else 8
    return bits * 2 if str(element_type).startswith("complex") else bits


def is_callback(target: str) -> bool:
    """Whether a custom call's target calls back into this Python process."""
    return bool(_CALLBACK.search(target))


def custom_calls(among: Iterable[Any]) -> dict[str, list[Any]]:
    """Return the custom calls among operations whose code is not in their module, by target."""
    found: dict[str, list[Any]] = {}
    for operation in among:
        if operation.name == "stablehlo.custom_call":
            target = string(operation.attributes["call_target_name"])
            if target not in _ANNOTATIONS:
                found.setdefault(target, []).append(operation)
    return dict(sorted(found.items()))


def maker(value: Any) -> Any:
    """Return the operation that makes a value; None for a block's argument."""
    if bindings.mlir_is(value, "BlockArgument"):
        return None
    return value.owner.operation if hasattr(value.owner, "operation") else value.owner


def feeding_arguments(module: Any, among: Iterable[Any], operation: Any) -> set[int]:
    """Return which arguments of main reach an operation as they are.

    Followed are calls of functions, among a module's operations, and what a loop carries from its
    start; values that are computed on the way are not.
    """
    ir = bindings.take("mlir")
    entry = main(module).operation
    callers: dict[str, list[Any]] = {}
    for one in among:
        if one.name == "func.call":
            callers.setdefault(string(one.attributes["callee"]), []).append(one)
    reached: set[int] = set()
    seen: set[tuple[Any, int]] = set()
    pending = list(operation.operands)
    while pending:
        value = pending.pop()
        made = maker(value)
        if made is not None:
            if made.name in _PASSED_THROUGH:
                pending += made.operands
            continue
        argument = ir.BlockArgument(value)
        holder = argument.owner.owner.operation
        key = (argument.owner, argument.arg_number)
        if key in seen:
            continue
        seen.add(key)
        if holder == entry:
            reached.add(argument.arg_number)
        elif holder.name == "func.func":
            name = string(holder.attributes["sym_name"])
            pending += [call.operands[argument.arg_number] for call in callers.get(name, [])]
        elif holder.name == "stablehlo.while":
            pending.append(holder.operands[argument.arg_number])
    return reached


_PASSED_THROUGH = {"stablehlo.reshape", "stablehlo.convert", "stablehlo.broadcast_in_dim"}
