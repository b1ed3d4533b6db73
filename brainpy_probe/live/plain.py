"""Rewrites a StableHLO module for other compilers, to the same bits; knows no capture."""

from __future__ import annotations

import re
from typing import Any

from brainpy_probe.xla import bindings, mlir

__all__ = ["double_running_sums", "select_booleans"]


def select_booleans(module: Any) -> None:
    """Write conversions of booleans to numbers as a choice of 1 and 0, which is the same.

    IREE (3.5.0 to 3.13.0) can't multiply a converted vector of booleans, such as spikes, with a
    matrix: "'linalg.vecmat' op expected type of bb argument #0 ('i1') to match element or self
    type of the corresponding operand ('i8')". With --iree-opt-level=O2 it takes true for -1.
    """
    ir = bindings.take("mlir")
    for one in list(mlir.operations(module)):
        if one.name != "stablehlo.convert" or not str(one.operands[0].type).endswith("i1>"):
            continue
        kind = one.results[0].type
        number = re.search(r"[<x](u?i|f)\d+>$", str(kind))
        if number is None:
            continue
        with module.context, one.location, ir.InsertionPoint(one):
            values = ("1.0", "0.0") if number.group(1) == "f" else ("1", "0")
            dense = [ir.Attribute.parse(f"dense<{value}> : {kind}") for value in values]
            made = [_made("constant", kind, [], {"value": value}) for value in dense]
            chosen = _made("select", kind, [one.operands[0], *made])
        one.results[0].replace_all_uses_with(chosen)
        one.erase()


def double_running_sums(module: Any) -> None:
    """Write running sums of integers as sums with themselves, moved on by 1, 2, 4, ...

    That is what XLA makes of JAX's ``cumsum``, a reduction whose windows reach back to the first
    element. Other compilers (IREE 3.13.0) take it at its word, and sum up n windows of n elements.
    Integers alone: the order of additions does not matter to them.
    """
    ir = bindings.take("mlir")
    # Found before any is erased: what lies in an erased one's region can't be asked any more.
    reductions = [one for one in mlir.operations(module) if one.name == "stablehlo.reduce_window"]
    for one in reductions:
        axis = _summed_axis(one)
        if axis is None:
            continue
        with module.context, one.location, ir.InsertionPoint(one):
            total, kind = one.operands[0], ir.RankedTensorType(one.results[0].type)
            zero = one.operands[1]
            distance = 1
            while distance < kind.shape[axis]:
                total = _made("add", kind, [total, _moved(total, kind, axis, distance, zero)])
                distance *= 2
        one.results[0].replace_all_uses_with(total)
        one.erase()


def _moved(value: Any, kind: Any, axis: int, distance: int, zero: Any) -> Any:
    """Move a value's elements on along an axis, what comes in being zero."""
    ir = bindings.take("mlir")
    none, limits, low = [0] * kind.rank, list(kind.shape), [0] * kind.rank
    limits[axis] -= distance
    low[axis] = distance

    def numbers(given: list[int]) -> Any:
        return ir.DenseI64ArrayAttr.get(given)

    places = {
        "start_indices": numbers(none),
        "limit_indices": numbers(limits),
        "strides": numbers([1] * kind.rank),
    }
    kept = ir.RankedTensorType.get(limits, kind.element_type)
    cut = _made("slice", kept, [value], places)
    paddings = {
        "edge_padding_low": numbers(low),
        "edge_padding_high": numbers(none),
        "interior_padding": numbers(none),
    }
    return _made("pad", kind, [cut, zero], paddings)


def _summed_axis(operation: Any) -> int | None:
    """Return the axis along which a reduction is a running sum of integers, if it is one."""
    ir = bindings.take("mlir")
    if len(operation.operands) != 2:
        return None
    given = bindings.mlir_attributes(operation)
    kind = ir.RankedTensorType(operation.results[0].type)
    # On 0.4.13 and 0.4.23 these numbers are tensors: there it stays as it is.
    if not str(given["window_dimensions"]).startswith("array<i64"):
        return None
    windows = list(ir.DenseI64ArrayAttr(given["window_dimensions"]))
    axes = [axis for axis, size in enumerate(windows) if size != 1]
    if len(axes) != 1 or not re.fullmatch(r"u?i\d+", str(kind.element_type)):
        return None
    axis = axes[0]
    reaching_back = [[0, 0] for _ in windows]
    reaching_back[axis][0] = windows[axis] - 1
    others = ("window_strides", "base_dilations", "window_dilations")
    as_expected = (
        windows[axis] == kind.shape[axis]
        and "padding" in given
        and list(ir.DenseIntElementsAttr(given["padding"]))
        == [n for two in reaching_back for n in two]
        and all(set(ir.DenseI64ArrayAttr(given[name])) == {1} for name in others if name in given)
        and _is_zero(operation.operands[1])
        and _adds(operation.regions[0].blocks[0])
    )
    return axis if as_expected else None


def _is_zero(value: Any) -> bool:
    made = mlir.maker(value)
    while made is not None and made.name == "stablehlo.broadcast_in_dim":
        made = mlir.maker(made.operands[0])
    constant = made is not None and made.name == "stablehlo.constant"
    return constant and "dense<0>" in str(made.attributes["value"])


def _adds(block: Any) -> bool:
    """Whether a block gives the sum of its two arguments."""
    operations = [one.operation for one in block.operations]
    names = [one.name for one in operations]
    return names == ["stablehlo.add", "stablehlo.return"] and set(operations[0].operands) == set(
        block.arguments
    )


def _made(name: str, kind: Any, operands: list[Any], attributes: Any = None) -> Any:
    made = bindings.take("mlir").Operation.create(
        f"stablehlo.{name}", results=[kind], operands=operands, attributes=attributes
    )
    return made.result
