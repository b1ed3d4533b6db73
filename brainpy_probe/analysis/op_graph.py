"""Reads the ops of a program's step as a graph, each op with its component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from brainpy_probe.analysis.costs import Owners, time_loop
from brainpy_probe.characters import in_one_line
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.program_records import GROUPS, ProgramRecord
from brainpy_probe.ir import hlo

__all__ = ["Op", "OpGraph", "op_graph"]


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """An op of a step, an argument, or a result.

    Attributes
    ----------
    label : str
        The opcode, the target of a custom call, or the role and name of an argument or result.
    component : str
        Its component; empty if it has none.
    operands : tuple of int
        The positions of the ops that it takes; constants are not included.
    constants : tuple of str
        The scalar constants among its operands.
    shape : str
        Dtype and shape of its value; empty for a tuple.
    name : str
        XLA's name for it; empty for an argument or a result.
    """

    label: str
    component: str
    operands: tuple[int, ...] = ()
    constants: tuple[str, ...] = ()
    shape: str = ""
    name: str = ""


class OpGraph(msgspec.Struct, frozen=True, kw_only=True):
    """The ops of a program's step, and the ops before and after the loop over time."""

    program: str
    ops: tuple[Op, ...]

    def __repr__(self) -> str:
        return f"<OpGraph of {in_one_line(self.program)}: {len(self.ops)} ops>"


# A value: the position of its op, a constant, or the elements of a tuple.
_Value: TypeAlias = "int | str | tuple[_Value, ...] | None"
_PASSED_ON = {"copy", "bitcast", "reshape", "broadcast", "convert"}


def op_graph(record: ProgramRecord, module: hlo.Module) -> OpGraph:
    """Return the ops of a program as a graph.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    module : Module
        Its HLO module before optimisation.
    """
    return OpGraph(program=record.name, ops=tuple(_Reader(record, module).read()))


@dataclass
class _Reader:
    record: ProgramRecord
    module: hlo.Module
    ops: list[Op] = field(default_factory=list)

    def read(self) -> list[Op]:
        """Return the ops of the program."""
        self.owners = Owners(self.record.components)
        self.loop = time_loop(self.module, self.record)
        arguments = [
            self._add(
                Op(
                    label=f"{spec.role} {spec.name}",
                    component=self._holder(spec.role, spec.name),
                    shape=f"{spec.dtype}[{','.join(map(str, spec.shape))}]",
                )
            )
            for spec in self.record.arguments
        ]
        result = self._enter(self.module.entry, arguments, "", "")
        elements = result if isinstance(result, tuple) else (result,)
        for spec, value in zip(self.record.results, elements, strict=False):
            new = "new " if spec.role == "state" else ""
            self._add(
                Op(
                    label=f"{new}{spec.role} {spec.name}",
                    component=self._holder(spec.role, spec.name),
                    operands=tuple(_positions([value])),
                )
            )
        return self.ops

    def _holder(self, role: str, name: str) -> str:
        """Return the component that holds an argument or result, or a pseudo-component."""
        if role in ("state", "constant"):
            return component_names.enclosing_component(name, self.record.components)
        return f"runner.{GROUPS[role]}"  # type: ignore[index]

    def _add(self, op: Op) -> int:
        """Add an op; return its position."""
        self.ops.append(op)
        return len(self.ops) - 1

    def _enter(
        self, computation: hlo.Computation, parameters: Sequence[_Value], caller: str, prefix: str
    ) -> _Value:
        """Read a computation; return the value of its root."""
        owners = self.owners.of_computation(computation, caller, prefix)
        values: dict[int, _Value] = {}
        for op in computation.instructions.values():
            operands = [values[number] for number in op.operands]
            values[op.id] = self._value(op, operands, parameters, owners[op.id])
        return values[computation.root]

    def _value(
        self,
        op: hlo.Instruction,
        operands: Sequence[_Value],
        parameters: Sequence[_Value],
        owner: str,
    ) -> _Value:
        """Read an instruction; return its value."""
        if op.opcode == "parameter":
            return parameters[op.parameter]
        if op.opcode == "constant":
            value = op.constant()
            return "constant" if value is None else str(value)
        if op.opcode == "tuple":
            return tuple(operands)
        if op.opcode == "get-tuple-element":
            first = operands[0]
            return first[op.tuple_index] if isinstance(first, tuple) else first
        if op.opcode == "call":
            called = self.module.computations[op.called[0]]
            return self._enter(called, operands, owner, op.location)
        if op is self.loop:
            bodies = [self.module.computations[number] for number in op.called]
            (body,) = (
                body
                for body in bodies
                if hlo.shape_text(body.instructions[body.root].shape) != "bool[]"
            )
            return self._enter(body, operands, "", "")
        if op.opcode in _PASSED_ON and operands and isinstance(operands[0], str):
            return operands[0]
        return self._add(
            Op(
                label=op.target or op.opcode,
                component=owner,
                operands=tuple(_positions(operands)),
                constants=tuple(value for value in operands if isinstance(value, str)),
                shape=hlo.shape_text(op.shape),
                name=op.name,
            )
        )


def _positions(values: Sequence[_Value]) -> list[int]:
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
        elif isinstance(value, tuple):
            found += _positions(value)
    return list(dict.fromkeys(found))
