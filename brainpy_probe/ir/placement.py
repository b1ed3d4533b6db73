"""Reads and removes the placement of a module: its devices, and how arrays are distributed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings
from brainpy_probe.format.manifest.program_records import Placement
from brainpy_probe.ir import mlir

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import (
        MlirAttribute,
        MlirContext,
        MlirModule,
        MlirOperation,
    )

__all__ = [
    "computes_parts",
    "is_constraint",
    "placement_of",
    "remove_placement",
    "shardings",
    "without_shardings",
]

# Attributes of Shardy (jaxlib 0.10.2, 0.12.0) and of XLA (up to 0.4.30).
_SHARDING_ATTRIBUTES = ("sdy.sharding", "sdy.sharding_per_value", "mhlo.sharding")
_COUNTS = {"partitions": "mhlo.num_partitions", "replicas": "mhlo.num_replicas"}
# In VHLO, XLA's attribute replaces Shardy's, which is kept within this one (jaxlib 0.10.2, 0.12.0).
_EXPORTED = "mhlo.frontend_attributes"


def placement_of(module: MlirModule, platform: str) -> Placement:
    """Return the devices for which a module is lowered, and its meshes.

    Parameters
    ----------
    module : ir.Module
        The module as JAX lowered it.
    platform : str
        The platform for which JAX lowered it.
    """
    ir = bindings.take("mlir")
    attributes = bindings.mlir_attributes(module.operation)
    counts = {
        name: ir.IntegerAttr(attributes[attribute]).value
        for name, attribute in _COUNTS.items()
        if attribute in attributes
    }
    meshes = {}
    for op in (found.operation for found in module.body.operations):
        if op.name == "sdy.mesh":
            name = mlir.string(op.attributes["sym_name"])
            meshes[name] = str(op.attributes["mesh"]).removeprefix("#sdy.mesh")
    return Placement(platform=platform, **counts, meshes=meshes)


def shardings(module: MlirModule) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the shardings of main's arguments and results; "" for a value without a sharding."""
    arguments = _shardings(module, "arg_attrs", len(mlir.argument_types(module)))
    return arguments, _shardings(module, "res_attrs", len(mlir.result_types(module)))


def _shardings(module: MlirModule, kind: str, count: int) -> tuple[str, ...]:
    """Return the shardings in the attributes of main's arguments or results."""
    ir = bindings.take("mlir")
    attributes = mlir.main(module).operation.attributes
    if kind not in attributes:
        return ("",) * count
    found = []
    for entries in map(ir.DictAttr, ir.ArrayAttr(attributes[kind])):
        if "sdy.sharding" in entries:
            text = str(entries["sdy.sharding"]).removeprefix("#sdy.sharding")
            # A sharding of an empty mesh: the value is not distributed.
            found.append("" if text.startswith("<@empty_mesh") else text)
        else:
            text = mlir.string(entries["mhlo.sharding"]) if "mhlo.sharding" in entries else ""
            found.append(text)
    return tuple(found)


def remove_placement(module: MlirModule) -> int:
    """Remove the placement of a program's arrays, in place.

    On one device the placement has no effect, and only XLA can read it. It comes from arrays that
    the user placed on devices (``jax.device_put``), from constraints in the model, and from
    brainstate's random state. A ``shard_map`` is kept, because its body is written for a mesh. If
    there is one, the device counts are kept too.

    Returns
    -------
    int
        The number of removed constraints.
    """
    constraints = [op for op in mlir.operations(module) if is_constraint(op)]
    for op in constraints:
        op.results[0].replace_all_uses_with(op.operands[0])
        op.erase()
    remaining = list(mlir.operations(module))
    for op in remaining:
        _remove_attributes(op)
    if not any(_needs_devices(op) for op in remaining):
        for op in remaining:
            if op.name == "sdy.mesh":
                op.erase()
        ir = bindings.take("mlir")
        attributes = module.operation.attributes
        for name in _COUNTS.values():
            if name in attributes:
                attributes[name] = ir.IntegerAttr.get(ir.IntegerAttr(attributes[name]).type, 1)
    return len(constraints)


def _needs_devices(op: MlirOperation) -> bool:
    """Return whether an op depends on the devices on which the program runs."""
    if op.name.startswith("sdy."):
        return bool(op.name != "sdy.mesh")
    if op.name == "stablehlo.custom_call":
        return mlir.string(op.attributes["call_target_name"]).startswith("SPMD")
    return bool(op.name in _DEVICE_OPS)


_DEVICE_OPS = {
    f"stablehlo.{name}"
    for name in (
        "all_gather",
        "all_reduce",
        "all_to_all",
        "collective_broadcast",
        "collective_permute",
        "partition_id",
        "reduce_scatter",
        "replica_id",
    )
}


# XLA's own calls (up to 0.4.30), Shardy's op (0.10.2, 0.12.0), and the call that replaces it in
# VHLO.
_PARTS = re.compile(rb"SPMDFullToShardShape|sdy\.manual_computation|xla\.sdy\.GlobalToLocalShape")


def computes_parts(content: bytes) -> bool:
    """Return whether a program has a ``shard_map``, whose body is written for a part of each array.

    Parameters
    ----------
    content : bytes
        Its StableHLO text, or VHLO bytecode.
    """
    return _PARTS.search(content) is not None


def is_constraint(op: MlirOperation) -> bool:
    """Return whether an op only specifies how its operand is distributed over devices."""
    if op.name == "stablehlo.custom_call":
        return mlir.string(op.attributes["call_target_name"]) == "Sharding"
    return bool(op.name == "sdy.sharding_constraint")


def without_shardings(attributes: MlirAttribute, context: MlirContext) -> MlirAttribute:
    """Return the attributes of a function's arguments or results without shardings."""
    ir = bindings.take("mlir")

    def kept(entries: MlirAttribute) -> MlirAttribute:
        found = {entry.name: entry.attr for entry in ir.DictAttr(entries)}
        for name in _SHARDING_ATTRIBUTES:
            found.pop(name, None)
        if _EXPORTED in found:
            exported = {entry.name: entry.attr for entry in ir.DictAttr(found.pop(_EXPORTED))}
            others = {k: v for k, v in exported.items() if not k.startswith("xla.sdy.")}
            if others:
                found[_EXPORTED] = ir.DictAttr.get(others)
        return ir.DictAttr.get(found)

    with context:
        return ir.ArrayAttr.get([kept(entries) for entries in ir.ArrayAttr(attributes)])


def _remove_attributes(op: MlirOperation) -> None:
    for name in _SHARDING_ATTRIBUTES:
        if name in op.attributes:
            del op.attributes[name]
    for kind in ("arg_attrs", "res_attrs"):
        if kind in op.attributes:
            op.attributes[kind] = without_shardings(op.attributes[kind], op.context)
