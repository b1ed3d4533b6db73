"""Counts the cost of each component of a program.

XLA counts the whole program, and each instruction as a separate program. Therefore the counts of
the components add up to the count of the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from brainpy_probe.analysis.finding import count_phrase
from brainpy_probe.compat import bindings
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.cost_records import ComponentCost, Costs, Count
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.ir import hlo, mlir
from brainpy_probe.ir.placement import computes_parts

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule

__all__ = ["Owners", "count", "hlo_module", "time_loop", "trip_count"]

# Instructions that compute nothing.
_NO_OPS = {"parameter", "constant", "tuple", "get-tuple-element"}


def hlo_module(kind: str, content: bytes) -> HloModule:
    """Return a program as an HLO module.

    Parameters
    ----------
    kind : str
        ``stablehlo``, ``mhlo``, ``hlo`` or ``vhlo``.
    content : bytes
        The program: a text, or the bytecode of VHLO.
    """
    if kind == "hlo":
        return bindings.parse_hlo(content.decode())
    return bindings.hlo_of(bindings.read_mlir(bindings.as_stablehlo(kind, content)))


def count(record: ProgramRecord, module: HloModule) -> Costs:
    """Count the cost of each component of a program.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    module : HloModule
        Its HLO module before optimisation: see :func:`hlo_module`.
    """
    read = hlo.Module.of(module)
    loop = time_loop(read, record)
    steps = 1 if loop is None else trip_count(read, loop) or _input_length(record)
    counts = _CostCounts(read, Owners(record.components), loop)
    counts.enter(read.entry, "", "", outside=loop is not None)
    total = hlo.cost_of(module)
    rows = _rows(record, counts)
    return Costs(
        program=record.name,
        steps=steps,
        components=rows,
        once=sum((row.once for row in rows), Count()),
        step=sum((row.step for row in rows), Count()),
        xla=total + counts.corrections,
        notes=_notes(record, counts),
    )


@dataclass(frozen=True)
class Owners:
    """Assigns an op to a component, by its location or by the component that calls it."""

    components: Mapping[str, str]

    def of(self, location: str, caller: str) -> str:
        """Return the component of an op.

        JAX up to 0.4.30 lowers a function with several callers once, with the locations of the
        first caller. Therefore a component that is not a part of the calling component is ignored.

        Parameters
        ----------
        location : str
            The name in the op's location.
        caller : str
            The component that calls the op's computation, or an empty string.
        """
        name = component_names.location(location)
        own = component_names.owner(name)
        found = component_names.owner_within(name, caller, self.components)
        if own and found == own and component_names.is_backward(location):
            return component_names.backward(own)
        return found

    def of_computation(
        self, computation: hlo.Computation, caller: str, prefix: str
    ) -> dict[int, str]:
        """Return the component of each instruction; without a location, the component of its users.

        Parameters
        ----------
        computation : Computation
            The computation.
        caller : str
            The component that calls it, or an empty string.
        prefix : str
            The location of the call, to which the locations of a function are relative.
        """
        owners: dict[int, str] = {}
        users: dict[int, set[str]] = {}
        for op in reversed(computation.instructions.values()):
            location = f"{prefix}/{op.location}" if prefix else op.location
            owner = self.of(location, caller)
            if not op.location and op.opcode not in _NO_OPS and not owner:
                user_owners = users.get(op.id, set()) - {""}
                owner = component_names.SHARED if len(user_owners) > 1 else "".join(user_owners)
            owners[op.id] = owner
            for operand in op.operands:
                users.setdefault(operand, set()).add(owner)
        return owners


@dataclass
class _CostCounts:
    """The counts so far, by component, within the loop over time and outside of it.

    Attributes
    ----------
    once, step : dict
        Counts outside of the loop, and of one step.
    targets : dict
        Targets of custom calls.
    custom_bytes : dict
        Bytes of the operands and results of custom calls.
    parts : bool
        Whether some ops compute a part of an array, on each of several devices.
    inner : dict
        Number of nested loops and of conditionals.
    corrections : Count
        XLA's counts of -1 for custom calls, which it can't analyse, with the opposite sign.
    """

    module: hlo.Module
    owners: Owners
    loop: hlo.Instruction | None
    once: dict[str, Count] = field(default_factory=dict)
    step: dict[str, Count] = field(default_factory=dict)
    targets: dict[str, set[str]] = field(default_factory=dict)
    custom_bytes: dict[str, int] = field(default_factory=dict)
    parts: bool = False
    inner: dict[str, int] = field(default_factory=lambda: {"while": 0, "conditional": 0})
    corrections: Count = field(default_factory=Count)

    def __post_init__(self) -> None:
        self.costs = hlo.InstructionCosts(self.module)

    def enter(
        self, computation: hlo.Computation, caller: str, prefix: str, *, outside: bool
    ) -> None:
        """Count the instructions of a computation, and the computations that they call.

        Parameters
        ----------
        computation : Computation
            The computation.
        caller : str
            The component that calls it, or an empty string.
        prefix : str
            The location of the call, to which the locations of a function are relative.
        outside : bool
            Whether the computation runs before or after the loop over time.
        """
        owners = self.owners.of_computation(computation, caller, prefix)
        for op in computation.instructions.values():
            owner = owners[op.id]
            if op.opcode in hlo.CONTAINERS:
                self._call(op, owner, outside=outside)
                continue
            counted = replace(self.costs.cost(computation, op), ops=int(op.opcode not in _NO_OPS))
            if op.target:
                self.corrections += Count(
                    flops=-counted.flops, read=-counted.read, written=-counted.written
                )
                counted = Count(ops=1)
                if mlir.is_of_xla(op.target):
                    self.parts = self.parts or computes_parts(op.target.encode())
                else:
                    self.targets.setdefault(owner, set()).add(op.target)
                    size = _operand_and_result_bytes(computation, op)
                    self.custom_bytes[owner] = self.custom_bytes.get(owner, 0) + size
            self._add(owner, counted, outside=outside)

    def _call(self, op: hlo.Instruction, owner: str, *, outside: bool) -> None:
        called = [self.module.computations[number] for number in op.called]
        outside = outside and op is not self.loop
        if op is not self.loop and op.opcode in self.inner:
            self.inner[op.opcode] += 1
        if op.opcode == "conditional":
            self._add_costliest(called, owner, outside=outside)
            return
        prefix = op.location if op.opcode == "call" else ""
        for computation in called:
            self.enter(computation, owner, prefix, outside=outside)

    def _add_costliest(self, branches: list[hlo.Computation], owner: str, *, outside: bool) -> None:
        """Count a conditional as XLA does: for each kind of cost, its costliest branch."""
        all_counts = []
        for branch in branches:
            branch_counts = _CostCounts(self.module, self.owners, self.loop, inner=self.inner)
            branch_counts.costs = self.costs
            branch_counts.enter(branch, owner, "", outside=outside)
            all_counts.append(branch_counts)
            for component, targets in branch_counts.targets.items():
                self.targets.setdefault(component, set()).update(targets)
            for component, size in branch_counts.custom_bytes.items():
                self.custom_bytes[component] = self.custom_bytes.get(component, 0) + size
            self.corrections += branch_counts.corrections
            self.parts = self.parts or branch_counts.parts
        parts = [
            branch_counts.once if outside else branch_counts.step for branch_counts in all_counts
        ]
        chosen: dict[str, dict[str, float]] = {}
        for kind in Count.__struct_fields__:
            most = max(parts, key=lambda part: sum(getattr(cost, kind) for cost in part.values()))
            for component, counted in most.items():
                chosen.setdefault(component, {})[kind] = getattr(counted, kind)
        for component, counts in chosen.items():
            fields = {**counts, "ops": int(counts["ops"])} if "ops" in counts else counts
            self._add(component, msgspec.convert(fields, Count), outside=outside)

    def _add(self, owner: str, counted: Count, *, outside: bool) -> None:
        counts = self.once if outside else self.step
        counts[owner] = counts.get(owner, Count()) + counted


def _operand_and_result_bytes(computation: hlo.Computation, op: hlo.Instruction) -> int:
    shapes = [computation.instructions[number].shape for number in op.operands]
    return sum(map(hlo.shape_bytes, [*shapes, op.shape]))


def time_loop(module: hlo.Module, record: ProgramRecord) -> hlo.Instruction | None:
    """Return the loop over time: the outermost loop whose trip count is the number of steps.

    If no trip count is known, it is the loop with the most instructions. None for a program of
    one step.
    """
    if record.kind == "step":
        return None
    loops = list(_outermost_loops(module, module.entry))
    steps = _input_length(record)
    matching = [loop for loop in loops if trip_count(module, loop) == steps]

    def size(loop: hlo.Instruction) -> int:
        return sum(len(computation.instructions) for computation in module.called_by(loop))

    return max(matching or loops, key=size, default=None)


def _outermost_loops(module: hlo.Module, computation: hlo.Computation) -> Iterator[hlo.Instruction]:
    for op in computation.instructions.values():
        if op.opcode == "while":
            yield op
        elif op.opcode == "call":
            yield from _outermost_loops(module, module.computations[op.called[0]])


def trip_count(module: hlo.Module, loop: hlo.Instruction) -> int | None:
    """Return how many times a loop runs, according to its condition: ``i < 10000``."""
    for number in loop.called:
        computation = module.computations[number]
        if computation.instructions[computation.root].opcode == "compare":
            bounds = [op.constant() for op in computation.instructions.values()]
            return max((bound for bound in bounds if bound is not None), default=None)
    return None


def _input_length(record: ProgramRecord) -> int:
    """Return the number of steps: the length of the inputs, of which each step takes one entry."""
    lengths = [spec.shape[0] for spec in record.arguments if spec.role == "input" and spec.shape]
    return max(lengths, default=1)


def _rows(record: ProgramRecord, counts: _CostCounts) -> tuple[ComponentCost, ...]:
    """Return the cost of each component, the model first, then of the ops without a component."""
    components = record.components
    without_component = component_names.LOOP if counts.loop is None else component_names.OUTSIDE
    once = {name or without_component: counted for name, counted in counts.once.items()}
    step = {name or component_names.LOOP: counted for name, counted in counts.step.items()}
    held: dict[str, dict[str, int]] = {"state": {}, "constant": {}}
    for spec in record.arguments:
        if spec.role in held:
            owner = component_names.enclosing_component(spec.name, components)
            held[spec.role][owner] = held[spec.role].get(owner, 0) + spec.nbytes
    names = {*once, *step, *held["state"], *held["constant"]} - {""}
    for name in list(names):
        while (name := _parent(name, components)) and name not in names:
            names.add(name)
    ordered = [name for name in components if name in names]
    ordered += sorted(names - set(ordered))
    return tuple(
        ComponentCost(
            component=name,
            parent=_parent(name, components),
            cls=components.get(name, ""),
            step=step.get(name, Count()),
            once=once.get(name, Count()),
            state=held["state"].get(name, 0),
            constants=held["constant"].get(name, 0),
            custom_calls=tuple(sorted(counts.targets.get(name, ()))),
            custom_bytes=counts.custom_bytes.get(name, 0),
        )
        for name in ordered
    )


def _parent(name: str, components: Mapping[str, str]) -> str:
    root = next(iter(components), "")
    return (
        component_names.enclosing_component(name, components)
        if name in components and name != root
        else ""
    )


def _notes(record: ProgramRecord, counts: _CostCounts) -> tuple[str, ...]:
    """Return the limitations of the counts."""
    notes = []
    if not record.components:
        notes.append(
            "The ops are not labelled with components: an earlier brainpy-probe wrote the capture, "
            "or the step was traced before the capture was opened."
        )
    if counts.inner["while"]:
        loops = count_phrase(counts.inner["while"], "inner loop is", "inner loops are")
        notes.append(f"The ops of {loops} counted once, because XLA does not count iterations.")
    if counts.inner["conditional"]:
        inner = count_phrase(counts.inner["conditional"], "conditional", "conditionals")
        notes.append(f"Of {inner} the costliest branch is counted.")
    if counts.parts:
        devices = record.fidelity.placement.devices
        notes.append(
            f"The ops of a shard_map are counted for the part of the arrays that one of {devices} "
            "devices has. The portable program has all parts."
        )
    targets = set().union(*counts.targets.values())
    if targets:
        notes.append(
            f"Not counted: the code of {', '.join(sorted(targets))}. XLA counts only the operands "
            "and results of custom calls."
        )
    return tuple(notes)
