"""Rewrites a program's loop so that each step starts from the states that a run recorded.

Rounding differences then do not accumulate from step to step. This module also finds the states
that still pass differences on to later steps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brainpy_probe.compat import bindings
from brainpy_probe.ir import mlir

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import (
        MlirBlock,
        MlirModule,
        MlirOperation,
        MlirType,
        MlirValue,
    )
__all__ = ["Loop", "read_loop"]

_TERMINATORS = ("stablehlo.return", "func.return")


@dataclass(frozen=True)
class Loop:
    """The loop over time of a program.

    Attributes
    ----------
    steps : int
        The number of steps.
    carried : dict
        The loop operand of each argument of main that the loop carries and changes, by the
        argument's position.
    """

    steps: int
    carried: dict[int, int]
    _module: MlirModule
    _operation: MlirOperation
    _counter: int
    _flow: tuple[frozenset[int], ...]

    def accumulating(self, recorded: Collection[int]) -> dict[int, bool]:
        """Return the arguments of main in which differences may grow from step to step.

        Such an argument is not recorded, contains floats or depends on floats, and its later values
        depend on its earlier ones without a recorded state in between. The value in the dict is
        whether anything else depends on the argument.

        Parameters
        ----------
        recorded : collection
            The positions of the recorded states among the arguments of main.
        """
        known = {self.carried[position] for position in recorded} | {self._counter}
        reached = {n: before - known for n, before in enumerate(self._flow) if n not in known}
        found = {}
        for position, number in self.carried.items():
            if number in known or not self._is_inexact(number, reached):
                continue
            if number in _all_dependencies(number, reached):
                others = (before for n, before in enumerate(self._flow) if n != number)
                found[position] = any(number in before for before in others)
        return found

    def _is_inexact(self, number: int, reached: Mapping[int, frozenset[int]]) -> bool:
        """Return whether a carried value contains floats, or depends on a value that does."""
        operands = list(self._operation.operands)
        dependencies = {number} | _all_dependencies(number, reached)
        return any("i" not in _element_type(operands[n]) for n in dependencies)

    def with_recorded(self, recorded: Collection[int]) -> bytes:
        """Return the program in which each step but the first starts from recorded states.

        The recorded values are additional arguments of main, in the same order: for each state an
        array of its values after each step, with the steps as first axis.

        Parameters
        ----------
        recorded : collection
            The positions of the states among the arguments of main.
        """
        ir = bindings.take("mlir")
        main = mlir.main(self._module).operation
        types = [main.regions[0].blocks[0].arguments[position].type for position in recorded]
        with self._module.context, ir.Location.unknown():
            state_types = [ir.RankedTensorType(state_type) for state_type in types]
            added = [
                ir.RankedTensorType.get([self.steps, *state.shape], state.element_type)
                for state in state_types
            ]
            block = _with_arguments(main, added)
            body = self._operation.regions[1].blocks[0]
            arguments = list(block.arguments)[-len(added) :]
            with ir.InsertionPoint.at_block_begin(body):
                for position, values, state in zip(recorded, arguments, state_types, strict=True):
                    carried = body.arguments[self.carried[position]]
                    select = _select_state(body.arguments[self._counter], carried, values, state)
                    carried.replace_all_uses_with(select.result)
                    select.operands[1] = carried  # undo the replacement within the select itself
        self._module.operation.verify()
        return bindings.mlir_text(self._module).encode()

    def with_bound(self) -> bytes:
        """Return the program with the number of its loop's iterations as an additional argument.

        The argument is a scalar with the type of the loop's counter.
        """
        main = mlir.main(self._module).operation
        condition = self._operation.regions[0].blocks[0]
        (compare,) = (
            op.operation
            for op in condition.operations
            if list(op.operation.results) == _returned(condition)
        )
        ir = bindings.take("mlir")
        with self._module.context, ir.Location.unknown():
            block = _with_arguments(main, [compare.operands[1].type])
            compare.operands[1] = list(block.arguments)[-1]
        self._module.operation.verify()
        return bindings.mlir_text(self._module).encode()


def read_loop(content: bytes) -> Loop | None:
    """Return the loop over time of a program; None if there is not exactly one candidate.

    A candidate is a loop of main that counts from 0 by 1 up to a constant.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    """
    module = bindings.read_mlir(content)
    main = mlir.main(module).operation
    found = []
    for operation in main.regions[0].blocks[0].operations:
        op = operation.operation
        if op.name == "stablehlo.while":
            counted = _counter(op)
            if counted is not None:
                found.append((op, *counted))
    if len(found) != 1:
        return None
    ((loop, counter, steps),) = found
    flow = _DataFlow(module).of(loop.regions[1].blocks[0])
    return Loop(steps, _carried(loop), module, loop, counter, flow)


def _carried(loop: MlirOperation) -> dict[int, int]:
    """Return the loop operand of each argument of main that the loop carries and changes."""
    body, ir = loop.regions[1].blocks[0], bindings.take("mlir")
    operands: dict[int, list[int]] = {}
    rows = zip(loop.operands, body.arguments, _returned(body), strict=True)
    for number, (operand, argument, returned) in enumerate(rows):
        if bindings.mlir_is(operand, "BlockArgument") and argument != returned:
            position = ir.BlockArgument(operand).arg_number
            operands.setdefault(position, []).append(number)
    # An argument that initialises several operands can't be assigned to one of them.
    return {position: numbers[0] for position, numbers in operands.items() if len(numbers) == 1}


def _counter(loop: MlirOperation) -> tuple[int, int] | None:
    """Return the operand of a loop that counts its steps, and the bound; None if none does."""
    condition, body = (region.blocks[0] for region in loop.regions)
    (predicate,) = _returned(condition)
    compare = mlir.defining_op(predicate)
    if compare is None or compare.name != "stablehlo.compare":
        return None
    if "LT" not in str(compare.attributes["comparison_direction"]):
        return None
    numbers = [
        n for n, argument in enumerate(condition.arguments) if argument == compare.operands[0]
    ]
    steps = _integer(compare.operands[1])
    if len(numbers) != 1 or steps is None:
        return None
    (number,) = numbers
    added = mlir.defining_op(_returned(body)[number])
    counts = (
        added is not None
        and added.name == "stablehlo.add"
        and added.operands[0] == body.arguments[number]
        and _integer(added.operands[1]) == 1
        and _integer(loop.operands[number]) == 0
    )
    return (number, steps) if counts else None


def _integer(value: MlirValue) -> int | None:
    """Return the value of an integer constant; None if it is not a constant."""
    op = mlir.defining_op(value)
    if op is None or op.name != "stablehlo.constant":
        return None
    attribute = op.attributes["value"]
    if not bindings.mlir_is(attribute, "DenseIntElementsAttr"):
        return None
    elements = bindings.take("mlir").DenseIntElementsAttr(attribute)
    return int(elements[0]) if len(elements) == 1 else None


def _returned(block: MlirBlock) -> list[MlirValue]:
    last = list(block.operations)[-1].operation
    return list(last.operands) if last.name in _TERMINATORS else []


def _element_type(value: MlirValue) -> str:
    return str(bindings.take("mlir").ShapedType(value.type).element_type)


def _all_dependencies(number: int, reached: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """Return the carried values on which a carried value depends, also through earlier steps."""
    found: set[int] = set()
    pending = list(reached[number])
    while pending:
        dependency = pending.pop()
        if dependency not in found and dependency in reached:
            found.add(dependency)
            pending += reached[dependency]
    return frozenset(found)


class _DataFlow:
    """The arguments of a block on which each value that it returns depends."""

    def __init__(self, module: MlirModule) -> None:
        self._functions = {
            mlir.string(function.operation.attributes["sym_name"]): function.operation
            for function in module.body.operations
            if function.operation.name == "func.func"
        }
        self._known: dict[str, tuple[frozenset[int], ...]] = {}

    def of(self, block: MlirBlock) -> tuple[frozenset[int], ...]:
        """Return, for each value that a block returns, the arguments on which it depends."""
        known: dict[Any, frozenset[int]] = {
            argument: frozenset([number]) for number, argument in enumerate(block.arguments)
        }
        for operation in block.operations:
            op = operation.operation
            if op.name == "func.call":
                name = mlir.string(op.attributes["callee"])
                operands = [known.get(value, frozenset()) for value in op.operands]
                for value, used in zip(op.results, self._of_function(name), strict=True):
                    known[value] = frozenset().union(*(operands[n] for n in used))
                continue
            inputs = [known.get(value, frozenset()) for value in _inputs(op)]
            dependencies: frozenset[int] = frozenset().union(*inputs)
            for value in op.results:
                known[value] = dependencies
        return tuple(known.get(value, frozenset()) for value in _returned(block))

    def _of_function(self, name: str) -> tuple[frozenset[int], ...]:
        if name not in self._known:
            self._known[name] = self.of(self._functions[name].regions[0].blocks[0])
        return self._known[name]


def _inputs(operation: MlirOperation) -> list[MlirValue]:
    """Return the operands of an operation and of all operations in its regions."""
    found = list(operation.operands)
    for region in operation.regions:
        for block in region.blocks:
            for inner in block.operations:
                found += _inputs(inner.operation)
    return found


def _with_arguments(function: MlirOperation, added: list[MlirType]) -> MlirBlock:
    """Replace a function by one with additional arguments, and return its block.

    The operations are moved, because 0.4.13 and 0.4.23 lack ``Block.add_argument``.
    """
    ir = bindings.take("mlir")
    old = function.regions[0].blocks[0]
    types = [*(argument.type for argument in old.arguments), *added]
    signature = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    attributes = bindings.mlir_attributes(function)
    function_type = ir.FunctionType.get(types, list(signature.results))
    attributes["function_type"] = ir.TypeAttr.get(function_type)
    if "arg_attrs" in attributes:
        entries = [*ir.ArrayAttr(attributes["arg_attrs"]), *[ir.DictAttr.get({})] * len(added)]
        attributes["arg_attrs"] = ir.ArrayAttr.get(entries)
    with ir.InsertionPoint(function):
        replaced = ir.Operation.create("func.func", attributes=attributes, regions=1)
    block = replaced.regions[0].blocks.append(*types)
    for before, after in zip(old.arguments, block.arguments, strict=False):
        before.replace_all_uses_with(after)
    for operation in list(old.operations):
        block.append(operation)
    function.erase()
    return block


def _select_state(
    counter: MlirValue, carried: MlirValue, values: MlirValue, state_type: MlirType
) -> MlirOperation:
    """Create the select of the carried state in the first step, of the recorded one in others."""
    ir = bindings.take("mlir")

    def create(name: str, result: MlirType, operands: list[MlirValue], **attributes: Any) -> Any:
        return ir.Operation.create(
            f"stablehlo.{name}", results=[result], operands=operands, attributes=attributes
        ).result

    def constant(number: int) -> MlirValue:
        value = ir.Attribute.parse(f"dense<{number}> : {counter.type}")
        return create("constant", counter.type, [], value=value)

    zero = constant(0)
    previous = create("subtract", counter.type, [counter, constant(1)])
    row_type = ir.RankedTensorType.get([1, *state_type.shape], state_type.element_type)
    row = create(
        "dynamic_slice",
        row_type,
        [values, previous, *[zero] * len(state_type.shape)],
        slice_sizes=bindings.mlir_sizes([1, *state_type.shape]),
    )
    recorded = create("reshape", state_type, [row])
    boolean = ir.RankedTensorType.get([], ir.IntegerType.get_signless(1))
    equals = ir.Attribute.parse("#stablehlo<comparison_direction EQ>")
    is_first = create("compare", boolean, [counter, zero], comparison_direction=equals)
    operands = [is_first, carried, recorded]
    return ir.Operation.create("stablehlo.select", results=[state_type], operands=operands)
