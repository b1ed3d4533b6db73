"""Rewrites a program's loop so that each step begins with the states that a run recorded.

Differences of rounding then do not add up from one step to the next. Also finds through which
states the loop passes differences on all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.ir import mlir

__all__ = ["Loop", "read_loop"]

_TERMINATORS = ("stablehlo.return", "func.return")


@dataclass(frozen=True)
class Loop:
    """The loop over time of a program, read from its StableHLO.

    Attributes
    ----------
    steps : int
        How many steps it runs.
    carried : dict
        Which operand of the loop each argument of main is that the loop carries and changes.
    """

    steps: int
    carried: dict[int, int]
    _module: Any
    _operation: Any
    _counter: int
    _flow: tuple[frozenset[int], ...]

    def accumulating(self, recorded: Collection[int]) -> dict[int, bool]:
        """Return the arguments of main in which differences may grow from step to step.

        They are not recorded, they are of floats or depend on such, and a later value of each
        depends on an earlier one without a recorded state in between. Of each, whether anything
        else depends on it.

        Parameters
        ----------
        recorded : collection
            The recorded states, by their positions among the arguments of main.
        """
        known = {self.carried[position] for position in recorded} | {self._counter}
        reached = {n: before - known for n, before in enumerate(self._flow) if n not in known}
        found = {}
        for position, number in self.carried.items():
            if number in known or not self._is_inexact(number, reached):
                continue
            if number in _all_before(number, reached):
                others = (before for n, before in enumerate(self._flow) if n != number)
                found[position] = any(number in before for before in others)
        return found

    def _is_inexact(self, number: int, reached: Mapping[int, frozenset[int]]) -> bool:
        """Whether a value is one of floats, or depends on one."""
        operands = list(self._operation.operands)
        before = {number} | _all_before(number, reached)
        return any("i" not in _element_type(operands[n]) for n in before)

    def with_recorded(self, recorded: Collection[int]) -> bytes:
        """Return the program in which each step but the first begins with recorded states.

        The recorded values are further arguments of main, in the order given: for each the values
        of a state after each step, the steps first.

        Parameters
        ----------
        recorded : mapping
            The positions of the states among the arguments of main.
        """
        ir = bindings.take("mlir")
        main = mlir.main(self._module).operation
        types = [main.regions[0].blocks[0].arguments[position].type for position in recorded]
        with self._module.context, ir.Location.unknown():
            kinds = [ir.RankedTensorType(one) for one in types]
            added = [
                ir.RankedTensorType.get([self.steps, *kind.shape], kind.element_type)
                for kind in kinds
            ]
            block = _with_arguments(main, added)
            body = self._operation.regions[1].blocks[0]
            given = list(block.arguments)[-len(added) :]
            with ir.InsertionPoint.at_block_begin(body):
                for position, values, kind in zip(recorded, given, kinds, strict=True):
                    carried = body.arguments[self.carried[position]]
                    select = _selected(body.arguments[self._counter], carried, values, kind)
                    carried.replace_all_uses_with(select.result)
                    select.operands[1] = carried  # which it had replaced, too
        self._module.operation.verify()
        return bindings.mlir_text(self._module).encode()


def read_loop(content: bytes) -> Loop | None:
    """Return the loop over time of a program; None if there is not exactly one that is understood.

    It is the only loop of main that counts from 0 by 1 up to a constant.

    Parameters
    ----------
    content : bytes
        VHLO bytecode, or StableHLO text.
    """
    module = bindings.read_mlir(content)
    main = mlir.main(module).operation
    found = []
    for operation in main.regions[0].blocks[0].operations:
        one = operation.operation
        if one.name == "stablehlo.while":
            counted = _counter(one)
            if counted is not None:
                found.append((one, *counted))
    if len(found) != 1:
        return None
    ((loop, counter, steps),) = found
    flow = _Flows(module).of(loop.regions[1].blocks[0])
    return Loop(steps, _carried(loop), module, loop, counter, flow)


def _carried(loop: Any) -> dict[int, int]:
    """Return which operand of a loop each argument of main is that the loop carries and changes."""
    body, ir = loop.regions[1].blocks[0], bindings.take("mlir")
    operands: dict[int, list[int]] = {}
    rows = zip(loop.operands, body.arguments, _returned(body), strict=True)
    for number, (operand, argument, returned) in enumerate(rows):
        if bindings.mlir_is(operand, "BlockArgument") and argument != returned:
            position = ir.BlockArgument(operand).arg_number
            operands.setdefault(position, []).append(number)
    # What begins several of them is the state's own in none for certain.
    return {position: numbers[0] for position, numbers in operands.items() if len(numbers) == 1}


def _counter(loop: Any) -> tuple[int, int] | None:
    """Return which operand of a loop counts its steps, and up to what; None if none does."""
    condition, body = (region.blocks[0] for region in loop.regions)
    (decides,) = _returned(condition)
    compare = mlir.defining_op(decides)
    if compare is None or compare.name != "stablehlo.compare":
        return None
    if "LT" not in str(compare.attributes["comparison_direction"]):
        return None
    numbers = [n for n, one in enumerate(condition.arguments) if one == compare.operands[0]]
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


def _integer(value: Any) -> int | None:
    """Return the integer that a value always is; None if it is not a constant."""
    made = mlir.defining_op(value)
    if made is None or made.name != "stablehlo.constant":
        return None
    attribute = made.attributes["value"]
    if not bindings.mlir_is(attribute, "DenseIntElementsAttr"):
        return None
    elements = bindings.take("mlir").DenseIntElementsAttr(attribute)
    return int(elements[0]) if len(elements) == 1 else None


def _returned(block: Any) -> list[Any]:
    last = list(block.operations)[-1].operation
    return list(last.operands) if last.name in _TERMINATORS else []


def _element_type(value: Any) -> str:
    return str(bindings.take("mlir").ShapedType(value.type).element_type)


def _all_before(number: int, reached: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """Return what a carried value depends on, however many steps before."""
    found: set[int] = set()
    pending = list(reached[number])
    while pending:
        one = pending.pop()
        if one not in found and one in reached:
            found.add(one)
            pending += reached[one]
    return frozenset(found)


class _Flows:
    """Which arguments of a block each value that it returns depends on."""

    def __init__(self, module: Any) -> None:
        self._functions = {
            mlir.string(one.operation.attributes["sym_name"]): one.operation
            for one in module.body.operations
            if one.operation.name == "func.func"
        }
        self._known: dict[str, tuple[frozenset[int], ...]] = {}

    def of(self, block: Any) -> tuple[frozenset[int], ...]:
        known: dict[Any, frozenset[int]] = {
            argument: frozenset([number]) for number, argument in enumerate(block.arguments)
        }
        for operation in block.operations:
            one = operation.operation
            if one.name == "func.call":
                name = mlir.string(one.attributes["callee"])
                into = [known.get(value, frozenset()) for value in one.operands]
                for value, through in zip(one.results, self._of_function(name), strict=True):
                    known[value] = frozenset().union(*(into[n] for n in through))
                continue
            read = [known.get(value, frozenset()) for value in _read_by(one)]
            together: frozenset[int] = frozenset().union(*read)
            for value in one.results:
                known[value] = together
        return tuple(known.get(value, frozenset()) for value in _returned(block))

    def _of_function(self, name: str) -> tuple[frozenset[int], ...]:
        if name not in self._known:
            self._known[name] = self.of(self._functions[name].regions[0].blocks[0])
        return self._known[name]


def _read_by(operation: Any) -> list[Any]:
    """Return what an operation reads, also within its regions."""
    found = list(operation.operands)
    for region in operation.regions:
        for block in region.blocks:
            for inner in block.operations:
                found += _read_by(inner.operation)
    return found


def _with_arguments(function: Any, added: list[Any]) -> Any:
    """Put a function with further arguments in the place of one, and return its block.

    Its operations are moved: ``Block.add_argument`` is not in 0.4.13 and 0.4.23.
    """
    ir = bindings.take("mlir")
    old = function.regions[0].blocks[0]
    kinds = [*(argument.type for argument in old.arguments), *added]
    signature = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    attributes = bindings.mlir_attributes(function)
    made = ir.FunctionType.get(kinds, list(signature.results))
    attributes["function_type"] = ir.TypeAttr.get(made)
    if "arg_attrs" in attributes:
        named = [*ir.ArrayAttr(attributes["arg_attrs"]), *[ir.DictAttr.get({})] * len(added)]
        attributes["arg_attrs"] = ir.ArrayAttr.get(named)
    with ir.InsertionPoint(function):
        replaced = ir.Operation.create("func.func", attributes=attributes, regions=1)
    block = replaced.regions[0].blocks.append(*kinds)
    for before, after in zip(old.arguments, block.arguments, strict=False):
        before.replace_all_uses_with(after)
    for operation in list(old.operations):
        block.append(operation)
    function.erase()
    return block


def _selected(counter: Any, carried: Any, values: Any, kind: Any) -> Any:
    """Make the op that selects a state at the begin of a step: carried or, later, recorded."""
    ir = bindings.take("mlir")

    def made(name: str, result: Any, operands: list[Any], **attributes: Any) -> Any:
        return ir.Operation.create(
            f"stablehlo.{name}", results=[result], operands=operands, attributes=attributes
        ).result

    def constant(number: int) -> Any:
        value = ir.Attribute.parse(f"dense<{number}> : {counter.type}")
        return made("constant", counter.type, [], value=value)

    zero = constant(0)
    before = made("subtract", counter.type, [counter, constant(1)])
    row = ir.RankedTensorType.get([1, *kind.shape], kind.element_type)
    cut = made(
        "dynamic_slice",
        row,
        [values, before, *[zero] * len(kind.shape)],
        slice_sizes=bindings.mlir_sizes([1, *kind.shape]),
    )
    recorded = made("reshape", kind, [cut])
    boolean = ir.RankedTensorType.get([], ir.IntegerType.get_signless(1))
    equals = ir.Attribute.parse("#stablehlo<comparison_direction EQ>")
    is_first = made("compare", boolean, [counter, zero], comparison_direction=equals)
    operands = [is_first, carried, recorded]
    return ir.Operation.create("stablehlo.select", results=[kind], operands=operands)
