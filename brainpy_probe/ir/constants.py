"""Makes constants of a program's arguments, as they were in the run; knows no capture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from brainpy_probe.compat import bindings
from brainpy_probe.format.arrays import Array
from brainpy_probe.ir import mlir

__all__ = ["with_constants"]


def with_constants(content: bytes, arrays: Mapping[int, Array]) -> bytes:
    """Return a program in which some arguments of main are constants.

    XLA compiles a product with a constant otherwise than one with an argument, and the sums have
    other bits. The arguments stay, unread, so that the signature is what it was.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    arrays : mapping
        The constants' values by the arguments' positions.

    Returns
    -------
    bytes
        StableHLO text; ``content`` itself where there is nothing to do.
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


def _attribute(array: Array, kind: Any) -> Any:
    """Return the attribute of a constant: its bytes; booleans, which MLIR packs, by their names.

    Complex numbers are handed over as they are: on 0.4.13 what MLIR parses of them has no class in
    Python ("Can't cast unknown element type DenseIntOrFPElementsAttr"). The others are parsed:
    ``DenseElementsAttr.get`` takes no bfloat16 on 0.4.13, and no booleans on 0.10.2.
    """
    ir = bindings.take("mlir")
    if array.dtype.kind == "c":
        shaped = ir.RankedTensorType(kind)
        given = np.ascontiguousarray(array)
        return ir.DenseElementsAttr.get(given, type=shaped.element_type, shape=list(shaped.shape))
    if array.size == 0:
        elements = ""
    elif array.dtype == bool:
        elements = str(array.tolist()).lower()
    else:
        elements = f'"0x{array.tobytes().hex()}"'
    return ir.Attribute.parse(f"dense<{elements}> : {kind}")
