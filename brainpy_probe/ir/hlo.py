"""Reads the instructions of HLO modules, and counts the cost of each instruction with XLA.

A module is read from its protocol buffer, because jaxlib has objects for computations and
instructions only from 0.10 on, without metadata. The field numbers are those of XLA's
service/hlo.proto and xla_data.proto, the same on jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2 and 0.12.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brainpy_probe.compat import bindings
from brainpy_probe.format.manifest.cost_records import Count
from brainpy_probe.ir import protobuf
from brainpy_probe.ir.executables import execution
from brainpy_probe.ir.protobuf import encode_field

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule

__all__ = [
    "CONTAINERS",
    "Computation",
    "Instruction",
    "InstructionCosts",
    "Module",
    "cost_of",
    "shape_bytes",
    "shape_text",
]

# Opcodes of instructions that only run the computations that they call.
CONTAINERS = {"call", "conditional", "while"}

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
        XLA's name and opcode: ``fusion.3``, ``fusion``.
    location : str
        The name in its location (``op_name``).
    id : int
        Its number in the module.
    operands, called : tuple of int
        The numbers of its operands, and of the computations that it calls.
    target : str
        The target of a custom call.
    raw : bytes
        The serialised instruction.
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
        """Return the value of a scalar integer constant, or None."""
        for number, value in protobuf.fields(self.raw):
            if number == _LITERAL and isinstance(value, bytes):
                return _scalar_integer(value)
        return None


@dataclass(frozen=True)
class Computation:
    """A computation of an HLO module: its instructions by number, and its root."""

    id: int
    name: str
    instructions: dict[int, Instruction]
    root: int
    raw: bytes


@dataclass(frozen=True)
class Module:
    """An HLO module: its name, its computations by number, and its entry computation."""

    name: str
    computations: dict[int, Computation]
    entry: Computation

    @classmethod
    def of(cls, module: HloModule) -> Module:
        """Read XLA's module."""
        computations: dict[int, Computation] = {}
        name, entry = "", 0
        for number, value in protobuf.fields(module.as_serialized_hlo_module_proto()):
            if number == _MODULE_COMPUTATIONS and isinstance(value, bytes):
                computation = _computation(value)
                computations[computation.id] = computation
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
        """Return the computations that an instruction calls, directly and indirectly."""
        found: dict[int, Computation] = {}
        pending = list(instruction.called)
        while pending:
            number = pending.pop()
            if number not in found:
                found[number] = self.computations[number]
                for inner in found[number].instructions.values():
                    pending += inner.called
        return list(found.values())


@dataclass
class InstructionCosts:
    """XLA's costs of the instructions of a module, with a cache for equal instructions.

    Parameters
    ----------
    module : Module
        The module that contains the instructions.
    """

    module: Module
    _known: dict[Any, Count] = field(default_factory=dict)

    def cost(self, computation: Computation, instruction: Instruction) -> Count:
        """Return XLA's count for an instruction and the computations that it calls."""
        if instruction.opcode == "parameter":
            return Count()
        operands = [computation.instructions[number] for number in instruction.operands]
        body = b"".join(
            encode_field(number, value)
            for number, value in protobuf.fields(instruction.raw)
            if number not in _OWN
        )
        shapes = tuple(operand.shape for operand in operands)
        key = (body, shapes, _repetitions(instruction.operands))
        if key not in self._known:
            self._known[key] = cost_of(self._single_instruction(instruction, operands, body))
        return self._known[key]

    def _single_instruction(
        self, instruction: Instruction, operands: Sequence[Instruction], body: bytes
    ) -> HloModule:
        """Build a module of one instruction, whose operands are the module's parameters."""
        called = self.module.called_by(instruction)
        distinct = list({operand.id: operand for operand in operands}.values())
        parameters = [
            encode_field(_NAME, f"p{n}".encode())
            + encode_field(_OPCODE, b"parameter")
            + encode_field(_SHAPE, operand.shape)
            + encode_field(_PARAMETER, n)
            + encode_field(_ID, operand.id)
            for n, operand in enumerate(distinct)
        ]
        packed = b"".join(map(protobuf.varint, instruction.operands))
        root = (
            encode_field(_NAME, b"root")
            + body
            + encode_field(_ID, instruction.id)
            + (encode_field(_OPERANDS, packed) if packed else b"")
        )
        signature = b"".join(encode_field(1, operand.shape) for operand in distinct)
        signature += encode_field(2, instruction.shape)
        signature += b"".join(encode_field(3, f"p{n}".encode()) for n in range(len(distinct)))
        number = max(self.module.computations) + 1
        entry = (
            encode_field(_COMPUTATION_NAME, b"main")
            + b"".join(encode_field(_COMPUTATION_INSTRUCTIONS, raw) for raw in [*parameters, root])
            + encode_field(4, signature)
            + encode_field(_COMPUTATION_ID, number)
            + encode_field(_COMPUTATION_ROOT, instruction.id)
        )
        proto = encode_field(1, b"single") + encode_field(2, b"main")
        proto += b"".join(encode_field(_MODULE_COMPUTATIONS, inner.raw) for inner in called)
        proto += encode_field(_MODULE_COMPUTATIONS, entry) + encode_field(4, signature)
        proto += encode_field(_MODULE_ENTRY, number)
        return bindings.hlo_from_proto(proto)


def cost_of(module: HloModule) -> Count:
    """Return XLA's count for a module, with the body of a loop counted once."""
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


# Bytes of XLA's element types by number (PrimitiveType in xla_data.proto).
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 2, 11: 4, 12: 8}
_BYTES |= {15: 8, 16: 2, 18: 16}


def shape_bytes(shape: bytes) -> int:
    """Return the size of an array, or of all arrays of a tuple, given its ShapeProto."""
    kind, elements, parts = 0, 1, 0
    for number, value in protobuf.fields(shape):
        if number == 2:  # element_type
            kind = value if isinstance(value, int) else 0
        elif number == 3:  # dimensions, packed or as single fields
            for size in protobuf.varints(value) if isinstance(value, bytes) else [value]:
                elements *= size
        elif number == 4 and isinstance(value, bytes):  # tuple_shapes
            parts += shape_bytes(value)
    return parts or elements * _BYTES.get(kind, 1 if kind > 18 else 0)


# NumPy's names of XLA's element types.
_TYPES = {
    1: "bool", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "uint8", 7: "uint16", 8: "uint32",
    9: "uint64", 10: "float16", 11: "float32", 12: "float64", 15: "complex64", 16: "bfloat16",
    18: "complex128",
}  # fmt: skip


def shape_text(shape: bytes) -> str:
    """Return an array's dtype and shape, as ``float32[1000]``; empty for a tuple or a token."""
    kind = 0
    sizes: list[int] = []
    for number, value in protobuf.fields(shape):
        if number == 2:
            kind = value if isinstance(value, int) else 0
        elif number == 3:
            sizes += protobuf.varints(value) if isinstance(value, bytes) else [value]
    return f"{_TYPES[kind]}[{','.join(map(str, sizes))}]" if kind in _TYPES else ""


def _repetitions(operands: Sequence[int]) -> tuple[int, ...]:
    """Return for each operand the position at which the same instruction first occurs."""
    return tuple(operands.index(operand) for operand in operands)


def _computation(content: bytes) -> Computation:
    """Read an HloComputationProto."""
    name, number, root = "", 0, 0
    instructions: dict[int, Instruction] = {}
    for field_number, value in protobuf.fields(content):
        if field_number == _COMPUTATION_INSTRUCTIONS and isinstance(value, bytes):
            instruction = _instruction(value)
            instructions[instruction.id] = instruction
        elif field_number == _COMPUTATION_NAME and isinstance(value, bytes):
            name = value.decode()
        elif field_number == _COMPUTATION_ID and isinstance(value, int):
            number = value
        elif field_number == _COMPUTATION_ROOT and isinstance(value, int):
            root = value
    return Computation(number, name, instructions, root, content)


def _instruction(content: bytes) -> Instruction:
    """Read an HloInstructionProto."""
    texts: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    lists: dict[int, tuple[int, ...]] = {_OPERANDS: (), _CALLED: ()}
    for number, value in protobuf.fields(content):
        if number in lists:  # packed, or as single fields
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
_INTEGER_FIELDS = (4, 5, 6, 7)


def _scalar_integer(literal: bytes) -> int | None:
    for number, value in protobuf.fields(literal):
        if number in _INTEGER_FIELDS:
            values = list(protobuf.varints(value)) if isinstance(value, bytes) else [value]
            return values[0] if len(values) == 1 else None
    return None
