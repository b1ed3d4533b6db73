"""Rewrites a StableHLO module for other compilers, to the same bits; knows no capture."""

from __future__ import annotations

import re
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.ir import mlir

__all__ = ["double_running_sums", "remove_placement", "select_booleans"]


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


# Shardy's (jaxlib 0.10.2, 0.12.0), and XLA's own (up to 0.4.30).
_ATTRIBUTES = ("sdy.sharding", "sdy.sharding_per_value", "mhlo.sharding")


_PARTITIONS = "mhlo.num_partitions"


def remove_placement(module: Any) -> int:
    """Remove the placement of a program's arrays, in place, if it runs on one device.

    There it does nothing, and no compiler but XLA reads it. It comes from arrays that were put on a
    device by hand (``jax.device_put``), from constraints of the model's own, and from brainstate's
    random state. ``shard_map`` stays: its bodies are written for a mesh.

    Returns
    -------
    int
        The number of constraints that were there.
    """
    ir = bindings.take("mlir")
    given = bindings.mlir_attributes(module.operation)
    if _PARTITIONS in given and ir.IntegerAttr(given[_PARTITIONS]).value != 1:
        return 0
    constraints = [op for op in mlir.operations(module) if _is_constraint(op)]
    for op in constraints:
        op.results[0].replace_all_uses_with(op.operands[0])
        op.erase()
    left = list(mlir.operations(module))
    for op in left:
        _remove_attributes(op)
    if not any(op.name.startswith("sdy.") and op.name != "sdy.mesh" for op in left):
        for op in left:
            if op.name == "sdy.mesh":
                op.erase()
    return len(constraints)


def _is_constraint(op: Any) -> bool:
    if op.name == "stablehlo.custom_call":
        return mlir.string(op.attributes["call_target_name"]) == "Sharding"
    return bool(op.name == "sdy.sharding_constraint")


def _remove_attributes(op: Any) -> None:
    for name in _ATTRIBUTES:
        if name in op.attributes:
            del op.attributes[name]
    for kind in ("arg_attrs", "res_attrs"):
        if kind in op.attributes:
            op.attributes[kind] = _without_placement(op.attributes[kind], op.context)


def _without_placement(attributes: Any, context: Any) -> Any:
    """Return the attributes of a function's arguments or results without those of placement."""
    ir = bindings.take("mlir")
    with context:
        return ir.ArrayAttr.get(
            [
                ir.DictAttr.get(
                    {
                        entry.name: entry.attr
                        for entry in ir.DictAttr(entries)
                        if entry.name not in _ATTRIBUTES
                    }
                )
                for entries in ir.ArrayAttr(attributes)
            ]
        )
