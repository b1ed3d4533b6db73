"""Counts what each component of a program costs; knows no folder and measures nothing.

XLA itself counts: for the whole program, and for each instruction as a program of its own. So the
counts of the components add up to that of the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from brainpy_probe.compat import bindings
from brainpy_probe.format import component_names
from brainpy_probe.format.cost_records import ComponentCost, Costs, Count
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.ir import hlo

__all__ = ["Owners", "count", "hlo_module", "time_loop"]

# Instructions that compute nothing.
_NO_OPS = {"parameter", "constant", "tuple", "get-tuple-element"}
# Instructions that stand for the computations which they call.
_CONTAINERS = {"call", "while", "conditional"}


def hlo_module(kind: str, content: bytes) -> Any:
    """Return a program as an XLA module.

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


def count(record: ProgramRecord, module: Any) -> Costs:
    """Count what each component costs.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    module : HloModule
        XLA's module of it, not optimised: see :func:`hlo_module`.
    """
    read = hlo.Module.of(module)
    loop = time_loop(read, record)
    steps = 1 if loop is None else trips(read, loop) or _given_steps(record)
    ledger = _Ledger(read, Owners(record.components), loop)
    ledger.enter(read.entry, "", "", outside=loop is not None)
    whole = hlo.cost_of(module)
    rows = _rows(record, ledger)
    return Costs(
        program=record.name,
        steps=steps,
        components=rows,
        once=sum((row.once for row in rows), Count()),
        step=sum((row.step for row in rows), Count()),
        xla=whole + ledger.marks,
        notes=_notes(record, ledger),
    )


@dataclass(frozen=True)
class Owners:
    """Tells whose an op is: of a component by its location, or of what calls it."""

    components: Mapping[str, str]

    def of(self, location: str, caller: str) -> str:
        """Return the component of an op, given whose the caller is of what it stands in.

        A function that JAX up to 0.4.30 lowers once for several callers has the first one's name
        in its locations: a component that is no part of the caller is not believed.
        """
        own = component_names.owner(component_names.location(location))
        if not own:
            return caller
        if not caller or own == caller or own.startswith(f"{caller}."):
            return own
        return own if caller == next(iter(self.components), "") else caller


@dataclass
class _Ledger:
    """What was counted so far, by component, within the loop over time and outside of it."""

    module: hlo.Module
    owners: Owners
    loop: hlo.Instruction | None
    once: dict[str, Count] = field(default_factory=dict)
    step: dict[str, Count] = field(default_factory=dict)
    targets: dict[str, set[str]] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    inner: dict[str, int] = field(default_factory=lambda: {"while": 0, "conditional": 0})

    def __post_init__(self) -> None:
        self.pricing = hlo.InstructionCosts(self.module)
        # What XLA puts down for custom calls, of which it knows nothing: -1, taken out here.
        self.marks = Count()

    def enter(
        self, computation: hlo.Computation, caller: str, place: str, *, outside: bool
    ) -> None:
        """Count a computation's instructions, and what they call.

        Parameters
        ----------
        computation : Computation
            The computation.
        caller : str
            The component that calls it, or nothing.
        place : str
            Where the call is, to which a function's own locations are relative.
        outside : bool
            Whether this is before or after the loop over time.
        """
        owners = self._owners(computation, caller, place)
        for one in computation.instructions.values():
            owner = owners[one.id]
            if one.opcode in _CONTAINERS:
                self._call(one, owner, outside=outside)
                continue
            counted = replace(
                self.pricing.cost(computation, one), ops=int(one.opcode not in _NO_OPS)
            )
            if one.target:
                mark = Count(flops=-counted.flops, read=-counted.read, written=-counted.written)
                self.marks += mark
                counted = Count(ops=1)
                self.targets.setdefault(owner, set()).add(one.target)
                self.unseen[owner] = self.unseen.get(owner, 0) + _moved(computation, one)
            self._add(owner, counted, outside=outside)

    def _owners(self, computation: hlo.Computation, caller: str, place: str) -> dict[int, str]:
        """Return whose each instruction is; what has no location is its users'."""
        found: dict[int, str] = {}
        users: dict[int, set[str]] = {}
        for one in reversed(computation.instructions.values()):
            location = f"{place}/{one.location}" if place else one.location
            owner = self.owners.of(location, caller)
            if not one.location and one.opcode not in _NO_OPS and not owner:
                whose = users.get(one.id, set()) - {""}
                owner = component_names.SHARED if len(whose) > 1 else "".join(whose)
            found[one.id] = owner
            for operand in one.operands:
                users.setdefault(operand, set()).add(owner)
        return found

    def _call(self, one: hlo.Instruction, owner: str, *, outside: bool) -> None:
        called = [self.module.computations[number] for number in one.called]
        within = outside and one is not self.loop
        if one is not self.loop and one.opcode in self.inner:
            self.inner[one.opcode] += 1
        if one.opcode == "conditional":
            self._costliest(called, owner, outside=within)
            return
        place = one.location if one.opcode == "call" else ""
        for computation in called:
            self.enter(computation, owner, place, outside=within)

    def _costliest(self, branches: list[hlo.Computation], owner: str, *, outside: bool) -> None:
        """Count a choice as XLA does: of each kind of cost that of the branch with most of it."""
        ledgers = []
        for branch in branches:
            ledger = _Ledger(self.module, self.owners, self.loop, inner=self.inner)
            ledger.pricing = self.pricing
            ledger.enter(branch, owner, "", outside=outside)
            ledgers.append(ledger)
            for component, targets in ledger.targets.items():
                self.targets.setdefault(component, set()).update(targets)
            for component, size in ledger.unseen.items():
                self.unseen[component] = self.unseen.get(component, 0) + size
            self.marks += ledger.marks
        parts = [ledger.once if outside else ledger.step for ledger in ledgers]
        chosen: dict[str, dict[str, float]] = {}
        for kind in Count.__struct_fields__:
            most = max(parts, key=lambda part: sum(getattr(one, kind) for one in part.values()))
            for component, counted in most.items():
                chosen.setdefault(component, {})[kind] = getattr(counted, kind)
        for component, counts in chosen.items():
            whole = {**counts, "ops": int(counts["ops"])} if "ops" in counts else counts
            self._add(component, msgspec.convert(whole, Count), outside=outside)

    def _add(self, owner: str, counted: Count, *, outside: bool) -> None:
        kept = self.once if outside else self.step
        kept[owner] = kept.get(owner, Count()) + counted


def _moved(computation: hlo.Computation, one: hlo.Instruction) -> int:
    """Return the bytes of an instruction's operands and results."""
    shapes = [computation.instructions[number].shape for number in one.operands]
    return sum(map(hlo.shape_bytes, [*shapes, one.shape]))


def time_loop(module: hlo.Module, record: ProgramRecord) -> hlo.Instruction | None:
    """Return the loop over time: the outermost one that runs as many times as there are steps.

    If none tells how many times it runs, it is the one with most instructions. None for a program
    that is one step.
    """
    if record.kind == "step":
        return None
    loops = list(_outermost(module, module.entry))
    steps = _given_steps(record)
    fitting = [one for one in loops if trips(module, one) == steps]

    def size(one: hlo.Instruction) -> int:
        return sum(len(each.instructions) for each in module.called_by(one))

    return max(fitting or loops, key=size, default=None)


def _outermost(module: hlo.Module, computation: hlo.Computation) -> Iterator[hlo.Instruction]:
    for one in computation.instructions.values():
        if one.opcode == "while":
            yield one
        elif one.opcode == "call":
            yield from _outermost(module, module.computations[one.called[0]])


def trips(module: hlo.Module, loop: hlo.Instruction) -> int | None:
    """Return how many times a loop runs, as its condition says it: ``i < 10000``."""
    for number in loop.called:
        computation = module.computations[number]
        if computation.instructions[computation.root].opcode == "compare":
            bounds = [one.constant() for one in computation.instructions.values()]
            return max((bound for bound in bounds if bound is not None), default=None)
    return None


def _given_steps(record: ProgramRecord) -> int:
    """Return the number of steps: the length of the inputs, one entry of which goes to each."""
    lengths = [one.shape[0] for one in record.arguments if one.role == "input" and one.shape]
    return max(lengths, default=1)


def _rows(record: ProgramRecord, ledger: _Ledger) -> tuple[ComponentCost, ...]:
    components = record.components
    nobodys = (
        {"": component_names.OUTSIDE} if ledger.loop is not None else {"": component_names.LOOP}
    )
    once = {nobodys.get(name, name): counted for name, counted in ledger.once.items()}
    step = {name or component_names.LOOP: counted for name, counted in ledger.step.items()}
    held: dict[str, dict[str, int]] = {"state": {}, "constant": {}}
    for one in record.arguments:
        if one.role in held:
            owner = component_names.enclosing_component(one.name, components)
            held[one.role][owner] = held[one.role].get(owner, 0) + one.nbytes
    wanted = {*once, *step, *held["state"], *held["constant"]} - {""}
    for name in list(wanted):
        while (name := _parent(name, components)) and name not in wanted:
            wanted.add(name)
    ordered = [name for name in components if name in wanted]
    ordered += sorted(wanted - set(ordered))
    return tuple(
        ComponentCost(
            component=name,
            parent=_parent(name, components),
            cls=components.get(name, ""),
            step=step.get(name, Count()),
            once=once.get(name, Count()),
            state=held["state"].get(name, 0),
            constants=held["constant"].get(name, 0),
            custom_calls=tuple(sorted(ledger.targets.get(name, ()))),
            custom_bytes=ledger.unseen.get(name, 0),
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


def _notes(record: ProgramRecord, ledger: _Ledger) -> tuple[str, ...]:
    notes = []
    if not record.components:
        notes.append(
            "The ops do not say whose they are: the capture is of an earlier brainpy-probe, or the "
            "step was traced before it was opened."
        )
    if ledger.inner["while"]:
        notes.append(
            f"{ledger.inner['while']} loops within the program run a number of times that XLA does "
            "not count: their bodies are counted once."
        )
    if ledger.inner["conditional"]:
        notes.append(
            f"{ledger.inner['conditional']} choices are counted as their costliest branch."
        )
    targets = {target for one in ledger.targets.values() for target in one}
    if targets:
        notes.append(
            f"Not counted inside: {', '.join(sorted(targets))}. Of a custom call XLA knows "
            "operands and results alone."
        )
    return tuple(notes)
