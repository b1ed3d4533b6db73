"""Rewrites a StableHLO module for other compilers, without changing a bit of its results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings
from brainpy_probe.ir import mlir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brainpy_probe.compat.bindings import (
        MlirAttribute,
        MlirBlock,
        MlirModule,
        MlirOperation,
        MlirType,
        MlirValue,
    )

__all__ = ["replace_boolean_converts", "replace_running_sums"]


def replace_boolean_converts(module: MlirModule) -> None:
    """Replace conversions of booleans to numbers by the equivalent select of 1 and 0.

    IREE (3.5.0 to 3.13.0) can't multiply a converted vector of booleans, such as spikes, with a
    matrix: "'linalg.vecmat' op expected type of bb argument #0 ('i1') to match element or self
    type of the corresponding operand ('i8')". With --iree-opt-level=O2 it converts true to -1.
    """
    ir = bindings.take("mlir")
    for op in list(mlir.operations(module)):
        if op.name != "stablehlo.convert" or not str(op.operands[0].type).endswith("i1>"):
            continue
        result_type = op.results[0].type
        number = re.search(r"[<x](u?i|f)\d+>$", str(result_type))
        if number is None:
            continue
        with module.context, op.location, ir.InsertionPoint(op):
            values = ("1.0", "0.0") if number.group(1) == "f" else ("1", "0")
            dense = [ir.Attribute.parse(f"dense<{value}> : {result_type}") for value in values]
            constants = [_create("constant", result_type, [], {"value": value}) for value in dense]
            selected = _create("select", result_type, [op.operands[0], *constants])
        op.results[0].replace_all_uses_with(selected)
        op.erase()


def replace_running_sums(module: MlirModule) -> None:
    """Replace running sums of integers by sums of the array and shifted copies of itself.

    JAX's ``cumsum`` is a reduction whose windows extend back to the first element. XLA itself
    rewrites it in this way, with shifts of 1, 2, 4, ... Other compilers (IREE 3.13.0) sum n windows
    of n elements. Floating-point sums are not changed, because the order of additions affects their
    bits.
    """
    ir = bindings.take("mlir")
    # Collect them first: the operations within an erased operation must not be accessed.
    reductions = [op for op in mlir.operations(module) if op.name == "stablehlo.reduce_window"]
    for op in reductions:
        axis = _running_sum_axis(op)
        if axis is None:
            continue
        with module.context, op.location, ir.InsertionPoint(op):
            total, tensor_type = op.operands[0], ir.RankedTensorType(op.results[0].type)
            zero = op.operands[1]
            distance = 1
            while distance < tensor_type.shape[axis]:
                shifted = _shift(total, tensor_type, axis, distance, zero)
                total = _create("add", tensor_type, [total, shifted])
                distance *= 2
        op.results[0].replace_all_uses_with(total)
        op.erase()


def _shift(
    value: MlirValue, tensor_type: MlirType, axis: int, distance: int, zero: MlirValue
) -> MlirValue:
    """Shift a value's elements along an axis, and fill the gap with zero."""
    ir = bindings.take("mlir")
    zeros, limits, low = [0] * tensor_type.rank, list(tensor_type.shape), [0] * tensor_type.rank
    limits[axis] -= distance
    low[axis] = distance

    def integers(values: list[int]) -> MlirAttribute:
        return ir.DenseI64ArrayAttr.get(values)

    bounds = {
        "start_indices": integers(zeros),
        "limit_indices": integers(limits),
        "strides": integers([1] * tensor_type.rank),
    }
    sliced_type = ir.RankedTensorType.get(limits, tensor_type.element_type)
    sliced = _create("slice", sliced_type, [value], bounds)
    paddings = {
        "edge_padding_low": integers(low),
        "edge_padding_high": integers(zeros),
        "interior_padding": integers(zeros),
    }
    return _create("pad", tensor_type, [sliced, zero], paddings)


def _running_sum_axis(operation: MlirOperation) -> int | None:
    """Return the axis of a reduction that is a running sum of integers; None for others."""
    ir = bindings.take("mlir")
    if len(operation.operands) != 2:
        return None
    attributes = bindings.mlir_attributes(operation)
    tensor_type = ir.RankedTensorType(operation.results[0].type)
    # On 0.4.13 and 0.4.23 this attribute is a tensor: such reductions are not changed.
    if not str(attributes["window_dimensions"]).startswith("array<i64"):
        return None
    windows = list(ir.DenseI64ArrayAttr(attributes["window_dimensions"]))
    axes = [axis for axis, size in enumerate(windows) if size != 1]
    if len(axes) != 1 or not re.fullmatch(r"u?i\d+", str(tensor_type.element_type)):
        return None
    axis = axes[0]
    padding = [0] * (2 * len(windows))
    padding[2 * axis] = windows[axis] - 1
    others = ("window_strides", "base_dilations", "window_dilations")
    is_running_sum = (
        windows[axis] == tensor_type.shape[axis]
        and "padding" in attributes
        and list(ir.DenseIntElementsAttr(attributes["padding"])) == padding
        and all(
            set(ir.DenseI64ArrayAttr(attributes[name])) == {1}
            for name in others
            if name in attributes
        )
        and _is_zero(operation.operands[1])
        and _adds(operation.regions[0].blocks[0])
    )
    return axis if is_running_sum else None


def _is_zero(value: MlirValue) -> bool:
    op = mlir.defining_op(value)
    while op is not None and op.name == "stablehlo.broadcast_in_dim":
        op = mlir.defining_op(op.operands[0])
    return (
        op is not None
        and op.name == "stablehlo.constant"
        and "dense<0>" in str(op.attributes["value"])
    )


def _adds(block: MlirBlock) -> bool:
    """Return whether a block returns the sum of its two arguments."""
    ops = [op.operation for op in block.operations]
    names = [op.name for op in ops]
    return names == ["stablehlo.add", "stablehlo.return"] and set(ops[0].operands) == set(
        block.arguments
    )


def _create(
    name: str,
    result_type: MlirType,
    operands: Sequence[MlirValue],
    attributes: Mapping[str, MlirAttribute] | None = None,
) -> MlirValue:
    op = bindings.take("mlir").Operation.create(
        f"stablehlo.{name}", results=[result_type], operands=operands, attributes=attributes
    )
    return op.result
