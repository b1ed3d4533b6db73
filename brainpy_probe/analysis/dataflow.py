"""Follows the values of a program's step from component to component.

A value belongs to the component whose op computed it, or that holds it as a state or a constant. It
flows to another component if an op of that component takes it. Ops without a component (a copy, a
broadcast constant, the loop itself) pass values on. A sum that is not a state passes on each of its
terms, such as the currents of several synapses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from brainpy_probe.analysis.costs import Owners, time_loop
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.ir import hlo

__all__ = ["OUTPUTS", "Dataflow", "Flow", "dataflow"]

# The program's outputs, as a pseudo-component.
OUTPUTS = "runner.outputs"


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A value that flows from one component to another in a step.

    Attributes
    ----------
    source, target : str
        The components.
    name : str
        The name of the state, if the value is one.
    shape : str
        Its dtype and shape, as ``float32[1000]``.
    nbytes : int
        Its size in bytes.
    delayed : bool
        Whether it is the state's value at the end of the previous step.
    """

    source: str
    target: str
    name: str
    shape: str
    nbytes: int
    delayed: bool


class Dataflow(msgspec.Struct, frozen=True, kw_only=True):
    """The values that flow between the components of a program in one step.

    Attributes
    ----------
    components : dict
        The class of each component that takes part, by name; empty for a pseudo-component.
    flows : tuple of Flow
        The values that flow, each once.
    """

    components: dict[str, str]
    flows: tuple[Flow, ...]

    def __repr__(self) -> str:
        return f"<Dataflow: {len(self.components)} components, {len(self.flows)} flows>"


@dataclass(frozen=True)
class _Origin:
    """Where a value comes from."""

    component: str
    name: str = ""
    shape: str = ""
    nbytes: int = 0
    delayed: bool = False


_Origins: TypeAlias = frozenset[_Origin]
# The origins of a value; for a tuple, the origins of each element.
_Value: TypeAlias = "_Origins | tuple[_Value, ...]"
_NOTHING: _Origins = frozenset()


def dataflow(record: ProgramRecord, module: hlo.Module) -> Dataflow:
    """Return the values that flow between the components of a program in one step.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    module : Module
        Its HLO module before optimisation.
    """
    walk = _Walk(module, record)
    walk.run()
    ordered = [*record.components, *sorted(walk.seen - record.components.keys())]
    components = {name: record.components.get(name, "") for name in ordered if name in walk.seen}
    return Dataflow(components=components, flows=tuple(walk.flows))


@dataclass
class _Walk:
    """A walk over the ops of a program, in the order in which they run."""

    module: hlo.Module
    record: ProgramRecord
    flows: dict[Flow, None] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.owners = Owners(self.record.components)
        self.loop = time_loop(self.module, self.record)

    def run(self) -> None:
        """Walk over the program."""
        arguments = tuple(map(self._argument, range(len(self.record.arguments))))
        results = self._enter(self.module.entry, arguments, "", "", self._new_states())
        if self.loop is None:
            self._results(results)

    def _argument(self, number: int) -> _Origins:
        spec = self.record.arguments[number]
        if spec.role == "input":
            return frozenset({_Origin(component_names.INPUTS, spec.name)})
        if spec.role not in ("state", "constant"):
            return _NOTHING
        owner = component_names.enclosing_component(spec.name, self.record.components)
        shape = f"{spec.dtype}[{','.join(map(str, spec.shape))}]"
        name = spec.name if spec.role == "state" else ""
        return frozenset({_Origin(owner, name, shape, spec.nbytes, spec.role == "state")})

    def _new_states(self) -> dict[int, str]:
        """Return the names of the states among main's results, by position."""
        results = enumerate(self.record.results)
        return {number: spec.name for number, spec in results if spec.role == "state"}

    def _results(self, value: _Value) -> None:
        for spec, origins in zip(self.record.results, _elements(value), strict=False):
            target = {"output": OUTPUTS, "monitor": component_names.MONITORS}.get(spec.role)
            if spec.role == "state":
                target = component_names.enclosing_component(spec.name, self.record.components)
            if target is not None:
                self._flow(_flat(origins), target)

    def _enter(
        self,
        computation: hlo.Computation,
        parameters: tuple[_Value, ...],
        caller: str,
        prefix: str,
        states: Mapping[int, str],
        *,
        counted: bool | None = None,
    ) -> _Value:
        """Walk over a computation; return the origins of its result.

        Parameters
        ----------
        computation : Computation
            The computation.
        parameters : tuple
            The origins of its parameters.
        caller, prefix : str
            The component that calls it, and the location of the call.
        states : mapping
            The names of the states that its results are, by their position in the root.
        counted : bool
            Whether it is a part of the step.
        """
        counted = self.loop is None if counted is None else counted
        owners = self.owners.of_computation(computation, caller, prefix)
        root = computation.instructions[computation.root]
        names, within = _state_ops(computation, states)
        values: dict[int, _Value] = {}
        for op in computation.instructions.values():
            operands = tuple(values[number] for number in op.operands)
            if op.opcode == "parameter":
                values[op.id] = parameters[op.parameter]
            elif op.opcode == "tuple":
                values[op.id] = operands
            elif op.opcode == "get-tuple-element":
                values[op.id] = _element(operands[0], op.tuple_index)
            elif op.opcode in hlo.CONTAINERS:
                inner = within.get(op.id, {})
                values[op.id] = self._call(op, operands, owners[op.id], inner, counted=counted)
            else:
                values[op.id] = self._compute(
                    op, operands, owners[op.id], names.get(op.id, ""), counted=counted
                )
        return values[root.id]

    def _compute(
        self,
        op: hlo.Instruction,
        operands: Iterable[_Value],
        owner: str,
        state: str,
        *,
        counted: bool,
    ) -> _Origins:
        """Return the origins of an op's value, and record the values that flow to its component."""
        given = _flat(tuple(operands))
        if not counted or not owner or owner == component_names.SHARED:
            return given
        # A synapse may add to a state of the neurons: then the sum is not the synapse's state.
        if state and component_names.enclosing_component(state, self.record.components) != owner:
            state = ""
        result = _Origin(owner, state, hlo.shape_text(op.shape), hlo.shape_bytes(op.shape))
        if op.opcode == "add" and not state:
            return frozenset({*(term for term in given if term.component != owner), result})
        self._flow(given, owner)
        return frozenset({result})

    def _call(
        self,
        op: hlo.Instruction,
        operands: tuple[_Value, ...],
        owner: str,
        states: Mapping[int, str],
        *,
        counted: bool,
    ) -> _Value:
        """Walk over the computations that an op calls; return the origins of its result."""
        called = [self.module.computations[number] for number in op.called]
        if op is self.loop:
            return self._time_loop(op, operands[0])
        if op.opcode == "while":
            # A loop within a step: a value that enters it may also come from its body.
            body = self._body(op)
            once = self._enter(body, operands, owner, "", {}, counted=counted)
            both = _union(operands[0], once)
            return self._enter(body, (both,), owner, "", {}, counted=counted)
        if op.opcode == "conditional":
            branches = [
                self._enter(branch, (operand,), owner, "", {}, counted=counted)
                for branch, operand in zip(called, operands[1:], strict=False)
            ]
            found: _Value = _flat(operands[0])
            for branch in branches:
                found = branch if found == _flat(operands[0]) else _union(found, branch)
            return found
        prefix = op.location
        return self._enter(called[0], operands, owner, prefix, states, counted=counted)

    def _time_loop(self, op: hlo.Instruction, start: _Value) -> _Value:
        """Walk over one step of the loop over time; return the origins of its result."""
        carried = _elements(start)
        states = {}
        for number, element in enumerate(carried):
            origins = _flat(element)
            # Only a state that entered the loop unchanged is known to be carried here.
            if len(origins) == 1 and (origin := next(iter(origins))).delayed:
                states[number] = origin.name
        result = self._enter(self._body(op), (start,), "", "", states, counted=True)
        for number, element in enumerate(_elements(result)):
            if number in states:
                name = states[number]
                target = component_names.enclosing_component(name, self.record.components)
                self._flow(_flat(element), target)
        return result

    def _body(self, op: hlo.Instruction) -> hlo.Computation:
        """Return the body of a loop."""
        # The condition's result is one truth value.
        bodies = [self.module.computations[number] for number in op.called]
        return next(
            body
            for body in bodies
            if hlo.shape_text(body.instructions[body.root].shape) != "bool[]"
        )

    def _flow(self, origins: Iterable[_Origin], target: str) -> None:
        """Record that values flow to a component."""
        self.seen.add(target)
        for origin in origins:
            if origin.component and origin.component != target:
                self.seen.add(origin.component)
                flow = Flow(
                    source=origin.component,
                    target=target,
                    name=origin.name,
                    shape=origin.shape,
                    nbytes=origin.nbytes,
                    delayed=origin.delayed,
                )
                self.flows[flow] = None


def _state_ops(
    computation: hlo.Computation, states: Mapping[int, str]
) -> tuple[dict[int, str], dict[int, dict[int, str]]]:
    """Return the ops that compute new states, and for each call the results that are states.

    Parameters
    ----------
    computation : Computation
        A computation.
    states : mapping
        The names of the states that its results are, by their position in the root.
    """
    instructions = computation.instructions
    root = instructions[computation.root]
    elements = root.operands if root.opcode == "tuple" else (root.id,)
    names: dict[int, str] = {}
    within: dict[int, dict[int, str]] = {}
    for number, element in enumerate(elements):
        if number not in states:
            continue
        op = instructions[element]
        names[op.id] = states[number]
        if op.opcode == "get-tuple-element":
            within.setdefault(op.operands[0], {})[op.tuple_index] = states[number]
        elif op.opcode == "call":
            within[op.id] = {0: states[number]}
    return names, within


def _flat(value: _Value) -> _Origins:
    if isinstance(value, frozenset):
        return value
    return frozenset(origin for element in value for origin in _flat(element))


def _elements(value: _Value) -> tuple[_Value, ...]:
    return value if isinstance(value, tuple) else (value,)


def _element(value: _Value, index: int) -> _Value:
    return value[index] if isinstance(value, tuple) else value


def _union(first: _Value, second: _Value) -> _Value:
    if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second):
        return tuple(_union(a, b) for a, b in zip(first, second, strict=True))
    return _flat(first) | _flat(second)
