"""Recognises loops that count steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from brainpy_probe.analysis.explanation.attributes import constant_value
from brainpy_probe.ir import mlir

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirOperation, MlirValue

__all__ = ["counter", "trip_count"]


def counter(loop: MlirOperation) -> int | None:
    """Return the number of the carried value that counts the steps; None if none does."""
    condition, body = (region.blocks[0] for region in loop.regions)
    (predicate,) = list(condition.operations)[-1].operation.operands
    compare = mlir.defining_op(predicate)
    if compare is None or compare.name != "stablehlo.compare":
        return None
    if "LT" not in str(compare.attributes["comparison_direction"]):
        return None
    for number, argument in enumerate(condition.arguments):
        if argument == compare.operands[0]:
            returned = list(body.operations)[-1].operation.operands[number]
            added = mlir.defining_op(returned)
            counts = (
                added is not None
                and added.name == "stablehlo.add"
                and added.operands[0] == body.arguments[number]
                and _integer(added.operands[1]) == 1
                and _integer(loop.operands[number]) == 0
            )
            return number if counts else None
    return None


def trip_count(loop: MlirOperation) -> int | None:
    """Return how many times a loop runs that counts from 0 by 1 to a constant; otherwise None."""
    if counter(loop) is None:
        return None
    condition = loop.regions[0].blocks[0]
    (predicate,) = list(condition.operations)[-1].operation.operands
    compare = mlir.defining_op(predicate)
    bound = compare.operands[1] if compare is not None else None
    for argument, operand in zip(condition.arguments, loop.operands, strict=True):
        if bound == argument:
            bound = operand
    return None if bound is None else _integer(bound)


def _integer(value: MlirValue) -> int | None:
    op = mlir.defining_op(value)
    if op is None or op.name != "stablehlo.constant":
        return None
    found = np.asarray(constant_value(op)[0])
    return int(found) if found.ndim == 0 and found.dtype.kind in "iu" else None
