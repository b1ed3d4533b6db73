"""Reads a program's operations as terms, with calls inlined and the loop over time entered.

The results of a step are functions of the values before the step. Only the loop over time is
entered; any other loop stays one operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brainpy_probe.analysis.explanation.attributes import (
    constant_value,
    is_constant,
    operation_name,
    printed_attributes,
    value_type,
)
from brainpy_probe.analysis.explanation.graph import Terms
from brainpy_probe.analysis.explanation.loops import counter, trip_count
from brainpy_probe.analysis.explanation.terms import Function, Place, Term
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.program_records import ProgramRecord, TensorSpec
from brainpy_probe.ir import mlir
from brainpy_probe.ir.placement import is_constraint

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirBlock, MlirModule, MlirOperation

__all__ = ["Result", "Step", "read_step"]

_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')
_RETURNS = ("func.return", "stablehlo.return", "mhlo.return", "sdy.return")
# Operations that mark a function as an algorithm, such as a random draw. It is not inlined.
_ALGORITHMIC = {
    "stablehlo.while", "stablehlo.sort", "stablehlo.shift_left", "stablehlo.shift_right_logical",
    "stablehlo.shift_right_arithmetic", "stablehlo.rng_bit_generator", "stablehlo.case",
    "stablehlo.if",
}  # fmt: skip
# Names of functions that JAX creates around calls. They contain no function of the user's.
_WRAPPERS = ("closed_call", "core_closed_call", "core_call", "checkpoint")
# Maximum number of results of an algorithm: threefry2x32 has two.
_MAX_RESULTS = 2
# jaxlib's uniquifier of symbols: f, f_0, f_1.
_COPY = re.compile(r"_\d+$")


@dataclass(frozen=True)
class Result:
    """A result of a program.

    Attributes
    ----------
    spec : TensorSpec
        The result.
    term : Term
        Its value after a step, or after the program where ``once`` is True.
    once : bool
        Whether it is computed once, outside of the loop over time.
    """

    spec: TensorSpec
    term: Term
    once: bool


@dataclass
class Step:
    """The computation of a program in each step.

    Attributes
    ----------
    terms : Terms
        All terms.
    results : list of Result
        The results.
    loops : bool
        Whether a loop over time was found in the program.
    steps : int
        The number of its steps; 1 if it has none.
    arguments : list of Term
        The arguments of the program, in order.
    carried : dict
        The values before a step that the loop carries, each by the result that receives its last
        value: group and name, as ``state/E.V``.
    counter : Term or None
        The number of the step, from 0.
    starts : dict
        The first value of each carried value that does not start as an argument, by name.
    notes : list of str
        Parts of the program that are not in the results.
    """

    terms: Terms
    results: list[Result] = field(default_factory=list)
    loops: bool = False
    steps: int = 1
    arguments: list[Term] = field(default_factory=list)
    carried: dict[str, Term] = field(default_factory=dict)
    counter: Term | None = None
    starts: dict[str, Term] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_step(
    record: ProgramRecord, module: MlirModule, lines: Sequence[int] | None = None
) -> Step:
    """Read a program.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    module : ir.Module
        Its StableHLO module, with locations.
    lines : sequence of int, optional
        The line of each operation in the text, in the order of :func:`operations_in_order`.
    """
    return _Reader(record, module, lines).read()


def operations_in_order(module: MlirModule) -> Iterator[MlirOperation]:
    """Yield every operation of a module in the order of its text."""
    pending = [module.operation]
    while pending:
        operation = pending.pop()
        yield operation
        inner = [
            op.operation
            for region in operation.regions
            for block in region.blocks
            for op in block.operations
        ]
        pending += reversed(inner)


@dataclass
class _Loop:
    """The loop over time: its carried values, and their values after a step."""

    symbols: list[Term]
    first: list[Term]
    new: list[Term]


class _Reader:
    def __init__(
        self, record: ProgramRecord, module: MlirModule, lines: Sequence[int] | None
    ) -> None:
        self.record = record
        self.terms = Terms()
        self.step = Step(self.terms)
        self.loop: _Loop | None = None
        self._functions = {
            mlir.string(op.operation.attributes["sym_name"]): op.operation
            for op in module.body.operations
            if op.operation.name == "func.func"
        }
        self._lines: dict[Any, int] = {}
        if lines is not None:
            self._lines = dict(zip(operations_in_order(module), lines, strict=True))
        self._main = mlir.main(module).operation.regions[0].blocks[0]
        self._algorithmic: dict[str, bool] = {}
        self._called: dict[str, Function] = {}
        self._regions = 0
        self._time_loop = self._find_loop()

    def read(self) -> Step:
        record = self.record
        values: dict[Any, Term] = {}
        for value, spec in zip(self._main.arguments, record.arguments, strict=True):
            values[value] = self.terms.symbol(spec.path, spec.name, *value_type(value))
            values[value].attributes = {"role": spec.role}
            self.step.arguments.append(values[value])
        outputs = self._block(self._main, values, "")
        self._name_carried(outputs)
        for spec, term in zip(record.results, outputs, strict=True):
            after = _after_step(term, self.loop)
            once = after is None and self.loop is not None and term.op != "symbol"
            self.step.results.append(Result(spec, term if after is None else after, once))
        return self.step

    # --- The loop over time -------------------------------------------------------------------

    def _find_loop(self) -> MlirOperation | None:
        """Return the loop over time; None if the program has none, or several candidates.

        It is the loop that runs as many times as the inputs have rows, or the only loop.
        """
        if self.record.kind != "loop":
            return None
        lengths = [s.shape[0] for s in self.record.arguments if s.role == "input" and s.shape]
        rows = max(lengths, default=1)
        loops = list(self._outer_loops(self._main))
        matching = [loop for loop in loops if loop[1] == rows]
        found = matching if len(matching) == 1 else loops
        if len(found) != 1:
            self.step.notes.append(
                f"The program has {len(found)} loops that count steps, so each is one operation."
            )
            return None
        loop, self.step.steps = found[0]
        self.step.loops = True
        return loop

    def _is_time_loop(self, op: MlirOperation) -> bool:
        return self._time_loop is not None and bool(op == self._time_loop)

    def _outer_loops(self, block: MlirBlock) -> Iterator[tuple[MlirOperation, int]]:
        for operation in block.operations:
            op = operation.operation
            if op.name == "stablehlo.while":
                count = trip_count(op)
                if count is not None:
                    yield op, count
            elif op.name == "func.call":
                yield from self._outer_loops(self._body(op))

    def _body(self, call: MlirOperation) -> MlirBlock:
        return self._functions[mlir.string(call.attributes["callee"])].regions[0].blocks[0]

    def _enter_loop(
        self, op: MlirOperation, operands: list[Term], values: dict[Any, Term], caller: str
    ) -> list[Term]:
        """Read the body of the loop over time; return the terms of the loop's results."""
        body = op.regions[1].blocks[0]
        returned = list(list(body.operations)[-1].operation.operands)
        counted = counter(op)
        symbols, inner = [], dict(values)
        for number, argument in enumerate(body.arguments):
            if returned[number] == argument:
                symbol = operands[number]
            elif number == counted:
                shape, dtype = value_type(argument)
                symbol = self.step.counter = self.terms.make("counter", [], shape, dtype, name="n")
            else:
                symbol = self.terms.symbol(
                    ("carry", number), f"carried {number}", *value_type(argument)
                )
                symbol.attributes = {"role": "state"}
            symbols.append(symbol)
            inner[argument] = symbol
        new = self._block(body, inner, caller)
        self.loop = _Loop(symbols, operands, new)
        return [
            operands[number]
            if symbols[number] is operands[number]
            else self.terms.make("final", [], *value_type(value), name=str(number), result=number)
            for number, value in enumerate(op.results)
        ]

    def _name_carried(self, outputs: Sequence[Term]) -> None:
        """Name the values that the loop carries after their results or their first values."""
        loop = self.loop
        if loop is None:
            return
        names: dict[int, TensorSpec] = {}
        for spec, term in zip(self.record.results, outputs, strict=True):
            if term.op == "final" and _after_step(term, loop) is loop.new[term.result]:
                names.setdefault(term.result, spec)
        taken = {spec.name for spec in names.values()}
        for number, symbol in enumerate(loop.symbols):
            first = loop.first[number]
            if symbol is first or symbol.op != "symbol":
                continue
            if number in names:
                symbol.name = names[number].name
                self.step.carried[names[number].path] = symbol
            elif first.op == "symbol" and first.name not in taken:
                symbol.name = first.name
                taken.add(first.name)
            if first.op != "symbol" or first.name != symbol.name:
                self.step.starts[symbol.name] = first

    # --- Operations ---------------------------------------------------------------------------

    def _block(self, block: MlirBlock, values: dict[Any, Term], caller: str) -> list[Term]:
        """Read a block, and return the terms that it returns."""
        for operation in block.operations:
            op = operation.operation
            if op.name in _RETURNS:
                return [values[value] for value in op.operands]
            operands = [values[value] for value in op.operands]
            found = self._operation(op, operands, values, caller)
            values.update(zip(op.results, found, strict=True))
        return []

    def _operation(
        self, op: MlirOperation, operands: list[Term], values: dict[Any, Term], caller: str
    ) -> list[Term]:
        named = _NAME.search(str(op.location))
        components = self.record.components
        owner = component_names.owner_within(named[1] if named else "", caller, components)
        place = Place(self._lines.get(op, 0), owner)
        name = operation_name(op)
        if is_constant(op):
            value, shape, dtype = constant_value(op)
            return [self.terms.literal(value, shape, dtype)]
        if self._is_time_loop(op):
            return self._enter_loop(op, operands, values, owner)
        if name == "func.call":
            return self._call(op, operands, owner, place)
        if is_constraint(op):
            return operands
        attributes, symbol = printed_attributes(op), ""
        regions: tuple[Function, ...] = ()
        if name == "custom_call":
            name, symbol = "kernel", mlir.string(op.attributes["call_target_name"])
        elif len(op.regions):
            regions = tuple(
                self._region(region.blocks[0], values, owner)
                for region in op.regions
                if len(region.blocks)
            )
        return [
            self.terms.make(
                name, operands, *value_type(value), attributes, name=symbol, regions=regions,
                result=number, place=place,
            )
            for number, value in enumerate(op.results)
        ]  # fmt: skip

    def _call(
        self, op: MlirOperation, operands: list[Term], owner: str, place: Place
    ) -> list[Term]:
        callee = mlir.string(op.attributes["callee"])
        body = self._body(op)
        if not self._is_algorithmic(callee):
            return self._block(body, dict(zip(body.arguments, operands, strict=True)), owner)
        if callee not in self._called:
            self._called[callee] = self._region(body, {}, owner)
        function = self._called[callee]
        base = _COPY.sub("", callee)
        name = base if base in self._functions else callee
        return [
            self.terms.make(
                "call", operands, *value_type(value), name=name, regions=(function,), result=number,
                place=place,
            )
            for number, value in enumerate(op.results)
        ]  # fmt: skip

    def _is_algorithmic(self, name: str) -> bool:
        """Return whether a function is printed by its name: an algorithm, such as a random draw.

        Any other function is inlined, above all the body of a loop, which JAX 0.10 lowers to a
        separate function. A draw that calls another draw takes a key.
        """
        if name not in self._algorithmic:
            self._algorithmic[name] = False  # functions of StableHLO do not call themselves
            function = self._functions[name]
            inner = list(_inner(function))
            body = function.regions[0].blocks[0]
            results = len(list(body.operations)[-1].operation.operands)
            takes_key = any(value_type(value)[1] == "uint32" for value in body.arguments)
            itself = results <= _MAX_RESULTS and any(op.name in _ALGORITHMIC for op in inner)
            called = (mlir.string(o.attributes["callee"]) for o in inner if o.name == "func.call")
            calls = results == 1 and takes_key and any(map(self._is_algorithmic, called))
            wrapper = _COPY.sub("", name) in _WRAPPERS or any(map(self._is_time_loop, inner))
            self._algorithmic[name] = not wrapper and (itself or calls)
        return self._algorithmic[name]

    def _region(self, block: MlirBlock, values: Mapping[Any, Term], caller: str) -> Function:
        self._regions += 1
        arguments = [
            self.terms.make("argument", [], *value_type(value), name=f"{self._regions}.{number}")
            for number, value in enumerate(block.arguments)
        ]
        inner = {**values, **dict(zip(block.arguments, arguments, strict=True))}
        return Function(tuple(arguments), tuple(self._block(block, inner, caller)))


def _after_step(term: Term, loop: _Loop | None) -> Term | None:
    """Return the value that a result has after a step, given its value after the loop.

    For a result that has a row for each step, this is the row. None for any other result.
    """
    if loop is None:
        return None
    if term.op in ("transpose", "reshape") and term.operands[0].op == "final":
        term = term.operands[0]
    if term.op != "final":
        return None
    new = loop.new[term.result]
    symbol = loop.symbols[term.result]
    if new.op == "dynamic_update_slice" and new.operands[0] is symbol:
        row, start = new.operands[1], new.operands[2]
        if start.op == "counter" and row.shape[:1] == (1,):
            return row.operands[0] if row.op in ("reshape", "broadcast_in_dim") else row
    return new


def _inner(operation: MlirOperation) -> Iterator[MlirOperation]:
    for region in operation.regions:
        for block in region.blocks:
            for op in block.operations:
                yield op.operation
                yield from _inner(op.operation)
