"""Rewrites a StableHLO module for other compilers, to the same bits; knows no capture."""

from __future__ import annotations

import re
from typing import Any

from brainpy_probe.xla import bindings, mlir

__all__ = ["select_booleans"]


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


def _made(name: str, kind: Any, operands: list[Any], attributes: Any = None) -> Any:
    made = bindings.take("mlir").Operation.create(
        f"stablehlo.{name}", results=[kind], operands=operands, attributes=attributes
    )
    return made.result
