"""Rewrites a StableHLO module for compilers that optimise less than XLA; knows no capture.

Each rewriting gives the same bits.
"""

from __future__ import annotations

import re
from typing import Any

from brainpy_probe.xla import bindings, mlir

__all__ = ["select_booleans", "sum_in_steps"]


def select_booleans(module: Any) -> None:
    """Write conversions of booleans to numbers as a choice of 1 and 0, which is the same.

    IREE (3.5.0 to 3.13.0) can't multiply a converted vector of booleans, such as spikes, with a
    matrix: "'linalg.vecmat' op expected type of bb argument #0 ('i1') to match element or self
    type of the corresponding operand ('i8')". With --iree-opt-level=O2 it takes true for -1.
    """
    for one in list(mlir.operations(module)):
        if one.name != "stablehlo.convert" or not str(one.operands[0].type).endswith("i1>"):
            continue
        kind = one.results[0].type
        number = re.search(r"[<x](u?i|f)\d+>$", str(kind))
        if number is None:
            continue
        with module.context, one.location, _ir().InsertionPoint(one):
            values = ("1.0", "0.0") if number.group(1) == "f" else ("1", "0")
            made = [_constant(kind, value) for value in values]
            chosen = _made("select", kind, [one.operands[0], *made])
        one.results[0].replace_all_uses_with(chosen)
        one.erase()


def sum_in_steps(module: Any) -> None:
    """Write running sums of integers as additions of shifted arrays, about log n of them.

    JAX writes them as a window over all that came before, of which XLA makes something else; taken
    by its word (IREE 3.13.0), that is n * n additions. brainevent's plain kernels find the rows of
    all connections by such a sum: 2 million a group in EINet of 20,000 neurons.
    """
    for one in list(mlir.operations(module)):
        size = _running_sum(one)
        if not size:
            continue
        kind = one.results[0].type
        with module.context, one.location, _ir().InsertionPoint(one):
            total, zero = one.operands[0], one.operands[1]
            shift = 1
            while shift < size:
                total = _made("add", kind, [total, _shifted(total, zero, shift)])
                shift *= 2
        one.results[0].replace_all_uses_with(total)
        one.erase()


_WHOLE_NUMBERS = re.compile(r"tensor<(\d+)xu?i\d+>")


def _running_sum(operation: Any) -> int:
    """Return the length of a vector of integers whose running sum this is, else 0."""
    if operation.name != "stablehlo.reduce_window" or len(operation.operands) != 2:
        return 0
    kind = _WHOLE_NUMBERS.fullmatch(str(operation.results[0].type))
    inner = [one.operation.name for one in operation.regions[0].blocks[0].operations]
    if kind is None or inner != ["stablehlo.add", "stablehlo.return"]:
        return 0
    size = int(kind.group(1))
    expected = {
        "window_dimensions": f"array<i64: {size}>",
        "padding": f"dense<[[{size - 1}, 0]]> : tensor<1x2xi64>",
        "window_strides": "array<i64: 1>",
        "base_dilations": "array<i64: 1>",
        "window_dilations": "array<i64: 1>",
    }
    said = {name: str(value) for name, value in bindings.mlir_attributes(operation).items()}
    plain = all(said.get(name, "array<i64: 1>") == value for name, value in expected.items())
    return size if plain else 0


def _shifted(vector: Any, zero: Any, places: int) -> Any:
    ir = _ir()
    attributes = {
        "edge_padding_low": ir.DenseI64ArrayAttr.get([places]),
        "edge_padding_high": ir.DenseI64ArrayAttr.get([-places]),
        "interior_padding": ir.DenseI64ArrayAttr.get([0]),
    }
    return _made("pad", vector.type, [vector, zero], attributes)


def _constant(kind: Any, value: str) -> Any:
    dense = _ir().Attribute.parse(f"dense<{value}> : {kind}")
    return _made("constant", kind, [], {"value": dense})


def _made(name: str, kind: Any, operands: list[Any], attributes: Any = None) -> Any:
    create = _ir().Operation.create
    return create(
        f"stablehlo.{name}", results=[kind], operands=operands, attributes=attributes
    ).result


def _ir() -> Any:
    return bindings.take("mlir")
