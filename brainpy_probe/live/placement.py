"""Removes from a module of one device what says where its arrays are; knows no program."""

from __future__ import annotations

from typing import Any

from brainpy_probe.xla import bindings, mlir

__all__ = ["remove_placement"]

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
