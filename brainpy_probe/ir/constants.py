"""Replaces arguments of a program by constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.format.arrays import Array
from brainpy_probe.ir import mlir

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirAttribute, MlirType

__all__ = ["with_constants"]


def with_constants(content: bytes, arrays: Mapping[int, Array]) -> bytes:
    """Return a program in which some arguments of main are replaced by constants.

    XLA compiles a product with a constant differently from a product with an argument, so that sums
    round differently. The arguments remain, unused, so that the signature does not change.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    arrays : mapping
        The values of the constants, by position of the argument.

    Returns
    -------
    bytes
        StableHLO text; ``content`` itself if ``arrays`` is empty.
    """
    if not arrays:
        return content
    ir, module = bindings.take("mlir"), bindings.read_mlir(content)
    block = mlir.main(module).operation.regions[0].blocks[0]
    with module.context, ir.Location.unknown(), ir.InsertionPoint.at_block_begin(block):
        for position, array in arrays.items():
            argument = block.arguments[position]
            value = _attribute(array, argument.type)
            constant = ir.Operation.create(
                "stablehlo.constant", results=[argument.type], attributes={"value": value}
            )
            argument.replace_all_uses_with(constant.result)
    return bindings.mlir_text(module).encode()


def _attribute(array: Array, tensor_type: MlirType) -> MlirAttribute:
    """Return the value attribute of a constant.

    Complex numbers are passed as an array: on 0.4.13 the attribute that MLIR parses has no class in
    Python ("Can't cast unknown element type DenseIntOrFPElementsAttr"). Other values are parsed
    from text, booleans from their names because MLIR packs their bits: ``DenseElementsAttr.get``
    rejects bfloat16 on 0.4.13, and booleans on 0.10.2.
    """
    ir = bindings.take("mlir")
    if array.dtype.kind == "c":
        shaped = ir.RankedTensorType(tensor_type)
        values = np.ascontiguousarray(array)
        return ir.DenseElementsAttr.get(values, type=shaped.element_type, shape=list(shaped.shape))
    if array.size == 0:
        elements = ""
    elif array.dtype == bool:
        elements = str(array.tolist()).lower()
    else:
        elements = f'"0x{array.tobytes().hex()}"'
    return ir.Attribute.parse(f"dense<{elements}> : {tensor_type}")
