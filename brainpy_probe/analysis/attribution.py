"""Attributes each op of an optimised module to the components that it serves.

XLA fuses ops, and a fusion may serve several components. A component's share of a fusion is the
share of its ops, weighted by XLA's counts of floating-point operations and bytes written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from brainpy_probe.analysis.costs import Owners
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.ir import hlo

__all__ = ["LoopOps", "Shares", "loop_ops"]

Shares = dict[str, float]  # component -> share; the shares sum to 1

_COPIES = {"copy", "bitcast"}
_RESHAPES = {"bitcast", "reshape"}
_NO_OPS = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}


@dataclass(frozen=True)
class LoopOps:
    """The ops of the loop over time.

    Attributes
    ----------
    shares : dict
        The components' shares of each op, by the name of the op.
    containers : dict
        For each op that runs other ops (a loop or a call), the names of those ops.
    every_step : frozenset of str
        The ops that run once in each step.
    """

    shares: dict[str, Shares]
    containers: dict[str, frozenset[str]]
    every_step: frozenset[str]


def loop_ops(module: hlo.Module, loop: hlo.Instruction, record: ProgramRecord) -> LoopOps:
    """Attribute each op of a loop of an optimised module to components.

    Parameters
    ----------
    module : Module
        The module.
    loop : Instruction
        Its loop over time.
    record : ProgramRecord
        The program.
    """
    variable_shares = _carried_variables(module, loop, record)
    owners, costs = Owners(record.components), hlo.InstructionCosts(module)
    shares: dict[str, Shares] = {}
    containers: dict[str, frozenset[str]] = {}
    bodies = [module.computations[number] for number in loop.called]
    every_step = {op.name for body in bodies for op in body.instructions.values()}
    seen: set[int] = set()
    pending = list(bodies)
    while pending:
        computation = pending.pop()
        if computation.id in seen:
            continue
        seen.add(computation.id)
        carried = variable_shares if computation in bodies else {}
        shares |= _computation_shares(module, computation, owners, costs, carried)
        for op in computation.instructions.values():
            if op.opcode in hlo.CONTAINERS:
                containers[op.name] = frozenset(
                    inner.name
                    for called in module.called_by(op)
                    for inner in called.instructions.values()
                )
                pending += [module.computations[number] for number in op.called]
    return LoopOps(shares, containers, frozenset(every_step))


def _carried_variables(
    module: hlo.Module, loop: hlo.Instruction, record: ProgramRecord
) -> dict[int, Shares]:
    """Return the component of each Variable that a loop carries, by its index in the carry."""
    components: dict[int, Shares] = {}
    surrounding = next(
        computation
        for computation in module.computations.values()
        if loop.id in computation.instructions
    ).instructions
    start = surrounding[loop.operands[0]]
    for index, number in enumerate(start.operands if start.opcode == "tuple" else ()):
        op = surrounding[number]
        while op.opcode in _COPIES:
            op = surrounding[op.operands[0]]
        if op.opcode == "parameter" and op.parameter < len(record.arguments):
            spec = record.arguments[op.parameter]
            if spec.role == "state":
                component = component_names.enclosing_component(spec.name, record.components)
                components[index] = {component: 1.0}
    return components


def _computation_shares(
    module: hlo.Module,
    computation: hlo.Computation,
    owners: Owners,
    costs: hlo.InstructionCosts,
    carried: Mapping[int, Shares],
) -> dict[str, Shares]:
    """Return the shares of each op of a computation.

    An op without its own component gets the component of the Variable that it copies, else that of
    its own reshape. Else it gets equal shares of the components that use it, or it belongs to the
    loop.
    """
    instructions = computation.instructions
    own = {
        op.id: _own_shares(module, computation, op, owners, costs) for op in instructions.values()
    }
    users: dict[int, list[int]] = {}
    for op in instructions.values():
        for operand in op.operands:
            users.setdefault(operand, []).append(op.id)
    of_variable = _variable_shares(computation, carried)

    def of_users(number: int) -> Shares:
        found: Shares = {}
        for user in users.get(number, ()):
            if instructions[user].opcode != "tuple":
                found |= own[user] or of_variable(instructions[user]) or of_users(user)
        return {name: 1 / len(found) for name in found}

    def of_reshape(op: hlo.Instruction) -> Shares:
        found = {
            owners.of(reshape.location, "")
            for user in users.get(op.id, ())
            for reshape in _reshapes(module, instructions[user], op)
        } - {""}
        return {found.pop(): 1.0} if len(found) == 1 else {}

    return {
        op.name: own[op.id]
        or of_variable(op)
        or of_reshape(op)
        or of_users(op.id)
        or {component_names.LOOP: 1.0}
        for op in instructions.values()
    }


def _reshapes(
    module: hlo.Module, user: hlo.Instruction, op: hlo.Instruction
) -> Iterator[hlo.Instruction]:
    """Yield the reshapes that a user applies to an op's value, also within a fusion.

    XLA replaces a matrix-vector product by a matrix-matrix product, and reshapes the result. The
    reshape has the location of the original product; the new product has none (jaxlib 0.12.0).
    """
    if user.opcode in _RESHAPES:
        yield user
    if user.opcode == "fusion":
        for fused in module.called_by(user):
            for reshape in fused.instructions.values():
                if reshape.opcode in _RESHAPES:
                    source = fused.instructions[reshape.operands[0]]
                    is_value = source.opcode == "parameter"
                    if is_value and user.operands[source.parameter] == op.id:
                        yield reshape


def _variable_shares(
    computation: hlo.Computation, carried: Mapping[int, Shares]
) -> Callable[[hlo.Instruction], Shares]:
    """Return a function that gives the shares of an op that copies a carried Variable.

    Copies of other carried values belong to the loop.
    """
    instructions = computation.instructions
    root = instructions[computation.root]
    results = {number: carried.get(index) for index, number in enumerate(root.operands)}

    def of_variable(op: hlo.Instruction) -> Shares:
        if op.opcode not in _COPIES:
            return {}
        while op.opcode in _COPIES:
            found = results.get(op.id)
            if found:
                return found
            op = instructions[op.operands[0]]
        if op.opcode == "get-tuple-element" and carried:
            return carried.get(op.tuple_index, {component_names.LOOP: 1.0})
        return {}

    return of_variable


def _own_shares(
    module: hlo.Module,
    computation: hlo.Computation,
    op: hlo.Instruction,
    owners: Owners,
    costs: hlo.InstructionCosts,
) -> Shares:
    """Return the shares of an op from its own location, or from those of its fused ops."""
    owner = owners.of(op.location, "")
    if op.opcode != "fusion":
        return {owner: 1.0} if owner else {}
    weights: Shares = {}
    for fused in module.called_by(op):
        for inner in fused.instructions.values():
            component = owners.of(inner.location, "")
            if component and inner.opcode not in _NO_OPS:
                cost = costs.cost(fused, inner)
                weight = cost.flops + cost.transcendentals + cost.written
                weights[component] = weights.get(component, 0.0) + max(weight, 1.0)
    total = sum(weights.values())
    if not total:
        return {owner: 1.0} if owner else {}
    return {name: weight / total for name, weight in weights.items()}
