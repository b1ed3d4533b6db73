"""Reads HLO modules, instruction by instruction, and has XLA count what one costs.

A module's own form, a protocol buffer, is read here: jaxlib's objects for computations and
instructions came with 0.10, and carry no metadata. The fields' numbers are those of XLA's
service/hlo.proto and xla_data.proto, which jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2 and 0.12.0 share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.format.cost_records import Count
from brainpy_probe.ir import execution, protobuf

__all__ = ["Computation", "Instruction", "Module", "Pricing", "cost_of", "shape_bytes"]

# Fields of HloModuleProto, HloComputationProto, HloInstructionProto, OpMetadata.
_MODULE_COMPUTATIONS, _MODULE_ENTRY = 3, 6
_COMPUTATION_NAME, _COMPUTATION_INSTRUCTIONS, _COMPUTATION_ID, _COMPUTATION_ROOT = 1, 2, 5, 6
_NAME, _OPCODE, _SHAPE, _METADATA, _LITERAL, _PARAMETER = 1, 2, 3, 7, 8, 9
_TUPLE_INDEX, _TARGET, _ID, _OPERANDS, _CONTROL, _CALLED = 13, 28, 35, 36, 37, 38
_OP_NAME = 2
_OWN = {_NAME, _METADATA, _ID, _OPERANDS, _CONTROL}


@dataclass(frozen=True)
class Instruction:
    """One instruction of an HLO computation.

    Attributes
    ----------
    name, opcode : str
        As XLA has them: ``fusion.3``, ``fusion``.
    location : str
        The name that its location has (``op_name``).
    id : int
        Its number in the module.
    operands, called : tuple of int
        The instructions that it takes, and the computations that it calls.
    target : str
        What a custom call calls.
    raw : bytes
        All of it, as XLA wrote it.
    """

    name: str
    opcode: str
    location: str
    id: int
    operands: tuple[int, ...]
    called: tuple[int, ...]
    target: str
    parameter: int
    tuple_index: int
    shape: bytes
    raw: bytes

    def constant(self) -> int | None:
        """Return the value of a constant that is one whole number, or None."""
        for number, value in protobuf.fields(self.raw):
            if number == _LITERAL and isinstance(value, bytes):
                return _whole(value)
        return None


@dataclass(frozen=True)
class Computation:
    """A computation of an HLO module: its instructions by number, its root."""

    id: int
    name: str
    instructions: dict[int, Instruction]
    root: int
    raw: bytes


@dataclass(frozen=True)
class Module:
    """An HLO module: its name, its computations by number, its entry."""

    name: str
    computations: dict[int, Computation]
    entry: Computation

    @classmethod
    def of(cls, module: Any) -> Module:
        """Read one of XLA's modules."""
        computations: dict[int, Computation] = {}
        name, entry = "", 0
        for number, value in protobuf.fields(module.as_serialized_hlo_module_proto()):
            if number == _MODULE_COMPUTATIONS and isinstance(value, bytes):
                one = _computation(value)
                computations[one.id] = one
            elif number == _MODULE_ENTRY and isinstance(value, int):
                entry = value
            elif number == _NAME and isinstance(value, bytes):
                name = value.decode()
        return cls(name, computations, computations[entry])

    def instructions(self) -> Iterator[Instruction]:
        """Yield every instruction of every computation."""
        for computation in self.computations.values():
            yield from computation.instructions.values()

    def called_by(self, instruction: Instruction) -> list[Computation]:
        """Return the computations that an instruction calls, and those that they call."""
        found: dict[int, Computation] = {}
        pending = list(instruction.called)
        while pending:
            number = pending.pop()
            if number not in found:
                found[number] = self.computations[number]
                for one in found[number].instructions.values():
                    pending += one.called
        return list(found.values())


@dataclass
class Pricing:
    """Has XLA count single instructions of a module, each kind once.

    Parameters
    ----------
    module : Module
        The module that they stand in.
    """

    module: Module
    _known: dict[Any, Count] = field(default_factory=dict)

    def cost(self, computation: Computation, instruction: Instruction) -> Count:
        """Return what XLA counts for an instruction, with the computations that it calls."""
        if instruction.opcode == "parameter":
            return Count()
        operands = [computation.instructions[number] for number in instruction.operands]
        body = b"".join(
            protobuf.encoded(number, value)
            for number, value in protobuf.fields(instruction.raw)
            if number not in _OWN
        )
        key = (body, tuple(one.shape for one in operands), _alike(instruction.operands))
        if key not in self._known:
            self._known[key] = cost_of(self._alone(instruction, operands, body))
        return self._known[key]

    def _alone(self, instruction: Instruction, operands: Sequence[Instruction], body: bytes) -> Any:
        """Make a module of one instruction, whose operands are the module's parameters."""
        called = self.module.called_by(instruction)
        given = {one.id: one for one in operands}
        parameters = [
            protobuf.encoded(_NAME, f"p{n}".encode())
            + protobuf.encoded(_OPCODE, b"parameter")
            + protobuf.encoded(_SHAPE, one.shape)
            + protobuf.encoded(_PARAMETER, n)
            + protobuf.encoded(_ID, one.id)
            for n, one in enumerate(given.values())
        ]
        packed = b"".join(map(protobuf.varint, instruction.operands))
        root = (
            protobuf.encoded(_NAME, b"root")
            + body
            + protobuf.encoded(_ID, instruction.id)
            + (protobuf.encoded(_OPERANDS, packed) if packed else b"")
        )
        signature = b"".join(protobuf.encoded(1, one.shape) for one in given.values())
        signature += protobuf.encoded(2, instruction.shape)
        signature += b"".join(protobuf.encoded(3, f"p{n}".encode()) for n in range(len(given)))
        number = max(self.module.computations) + 1
        entry = (
            protobuf.encoded(_COMPUTATION_NAME, b"main")
            + b"".join(
                protobuf.encoded(_COMPUTATION_INSTRUCTIONS, one) for one in [*parameters, root]
            )
            + protobuf.encoded(4, signature)
            + protobuf.encoded(_COMPUTATION_ID, number)
            + protobuf.encoded(_COMPUTATION_ROOT, instruction.id)
        )
        whole = protobuf.encoded(1, b"alone") + protobuf.encoded(2, b"main")
        whole += b"".join(protobuf.encoded(_MODULE_COMPUTATIONS, one.raw) for one in called)
        whole += protobuf.encoded(_MODULE_COMPUTATIONS, entry) + protobuf.encoded(4, signature)
        whole += protobuf.encoded(_MODULE_ENTRY, number)
        return bindings.hlo_from_proto(whole)


def cost_of(module: Any) -> Count:
    """Return what XLA counts for one of its modules, a loop's body once."""
    found = execution.cost_analysis(module)
    accessed = found.get("bytes accessed", 0.0)
    # "bytes accessed output {}" on 0.4.13
    written = found.get("bytes accessedout{}", found.get("bytes accessed output {}", 0.0))
    return Count(
        flops=found.get("flops", 0.0),
        transcendentals=found.get("transcendentals", 0.0),
        read=accessed - written,
        written=written,
    )


# Bytes of XLA's element types by their numbers (PrimitiveType in xla_data.proto).
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 2, 11: 4, 12: 8}
_BYTES |= {15: 8, 16: 2, 18: 16}


def shape_bytes(shape: bytes) -> int:
    """Return the size of an array, or of a tuple's arrays, given its ShapeProto."""
    kind, elements, parts = 0, 1, 0
    for number, value in protobuf.fields(shape):
        if number == 2:  # element_type
            kind = value if isinstance(value, int) else 0
        elif number == 3:  # dimensions, packed or one at a time
            for size in protobuf.varints(value) if isinstance(value, bytes) else [value]:
                elements *= size
        elif number == 4 and isinstance(value, bytes):  # tuple_shapes
            parts += shape_bytes(value)
    return parts or elements * _BYTES.get(kind, 1 if kind > 18 else 0)


def _alike(operands: Sequence[int]) -> tuple[int, ...]:
    """Say which operands are the same instruction, whatever their numbers."""
    return tuple(operands.index(one) for one in operands)


def _computation(content: bytes) -> Computation:
    name, number, root = "", 0, 0
    instructions: dict[int, Instruction] = {}
    for field_number, value in protobuf.fields(content):
        if field_number == _COMPUTATION_INSTRUCTIONS and isinstance(value, bytes):
            one = _instruction(value)
            instructions[one.id] = one
        elif field_number == _COMPUTATION_NAME and isinstance(value, bytes):
            name = value.decode()
        elif field_number == _COMPUTATION_ID and isinstance(value, int):
            number = value
        elif field_number == _COMPUTATION_ROOT and isinstance(value, int):
            root = value
    return Computation(number, name, instructions, root, content)


def _instruction(content: bytes) -> Instruction:
    texts: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    lists: dict[int, tuple[int, ...]] = {_OPERANDS: (), _CALLED: ()}
    for number, value in protobuf.fields(content):
        if number in lists:  # packed, or one at a time
            lists[number] += (
                tuple(protobuf.varints(value)) if isinstance(value, bytes) else (value,)
            )
        elif isinstance(value, bytes):
            texts[number] = value
        else:
            numbers[number] = value
    metadata = dict(protobuf.fields(texts.get(_METADATA, b"")))
    location = metadata.get(_OP_NAME, b"")
    return Instruction(
        name=texts.get(_NAME, b"").decode(),
        opcode=texts.get(_OPCODE, b"").decode(),
        location=location.decode() if isinstance(location, bytes) else "",
        id=numbers.get(_ID, 0),
        operands=lists[_OPERANDS],
        called=lists[_CALLED],
        target=texts.get(_TARGET, b"").decode(),
        parameter=numbers.get(_PARAMETER, 0),
        tuple_index=numbers.get(_TUPLE_INDEX, 0),
        shape=texts.get(_SHAPE, b""),
        raw=content,
    )


# LiteralProto: s32s = 4, s64s = 5, u32s = 6, u64s = 7, all packed.
_WHOLE_NUMBERS = (4, 5, 6, 7)


def _whole(literal: bytes) -> int | None:
    for number, value in protobuf.fields(literal):
        if number in _WHOLE_NUMBERS:
            values = list(protobuf.varints(value)) if isinstance(value, bytes) else [value]
            return values[0] if len(values) == 1 else None
    return None
