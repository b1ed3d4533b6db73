"""Makes constants of a program's arguments, as they were in the run; knows no capture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from brainpy_probe.xla import bindings, mlir

__all__ = ["with_constants"]

Array = np.ndarray[Any, Any]


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
            value = ir.Attribute.parse(f"dense<{_elements(array)}> : {argument.type}")
            constant = ir.Operation.create(
                "stablehlo.constant", results=[argument.type], attributes={"value": value}
            )
            argument.replace_all_uses_with(constant.result)
    return bindings.mlir_text(module).encode()


def _elements(array: Array) -> str:
    """Print elements as MLIR reads them: their bytes; booleans, which it packs, by their names."""
    if array.size == 0:
        return ""
    if array.dtype == bool:
        return str(array.tolist()).lower()
    return f'"0x{array.tobytes().hex()}"'
