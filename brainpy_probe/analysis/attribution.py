"""Tells of an optimised module which components each of its ops serves; measures nothing.

XLA fuses what it can, and a fusion may serve several components: then it is each one's by the share
of its ops, as XLA counts their floating-point operations and the bytes that they write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brainpy_probe.analysis.costs import Owners
from brainpy_probe.format import component_names
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.ir import hlo

__all__ = ["LoopOps", "Shares", "loop_ops"]

Shares = dict[str, float]  # components, their shares adding up to 1

_CONTAINERS = {"while", "call", "conditional"}
_COPIES = {"copy", "bitcast"}
_NAMES = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}


@dataclass(frozen=True)
class LoopOps:
    """The ops of the loop over time.

    Attributes
    ----------
    shares : dict
        Of each op that runs by itself, by its name.
    containers : dict
        Of each op that runs others, the names of these.
    every_step : frozenset of str
        Ops that run once in each step.
    """

    shares: dict[str, Shares]
    containers: dict[str, frozenset[str]]
    every_step: frozenset[str]


def loop_ops(module: hlo.Module, loop: hlo.Instruction, record: ProgramRecord) -> LoopOps:
    """Return whose each op of a loop of an optimised module is.

    Parameters
    ----------
    module : Module
        The module.
    loop : Instruction
        Its loop over time.
    record : ProgramRecord
        The program.
    """
    components = record.components
    holders = _holders(module, loop, record)
    owners, pricing = Owners(components), hlo.InstructionCosts(module)
    shares: dict[str, Shares] = {}
    containers: dict[str, frozenset[str]] = {}
    bodies = [module.computations[number] for number in loop.called]
    every_step = {one.name for body in bodies for one in body.instructions.values()}
    seen: set[int] = set()
    pending = list(bodies)
    while pending:
        computation = pending.pop()
        if computation.id in seen:
            continue
        seen.add(computation.id)
        carried = holders if computation in bodies else {}
        shares |= _of_computation(module, computation, owners, pricing, carried)
        for one in computation.instructions.values():
            if one.opcode in _CONTAINERS:
                within = module.called_by(one)
                containers[one.name] = frozenset(
                    inner.name for each in within for inner in each.instructions.values()
                )
                pending += [module.computations[number] for number in one.called]
    return LoopOps(shares, containers, frozenset(every_step))


def _holders(module: hlo.Module, loop: hlo.Instruction, record: ProgramRecord) -> dict[int, Shares]:
    """Return the component whose Variable a loop carries, by its place in what is carried."""
    holders: dict[int, Shares] = {}
    around = next(
        one for one in module.computations.values() if loop.id in one.instructions
    ).instructions
    start = around[loop.operands[0]]
    for place, number in enumerate(start.operands if start.opcode == "tuple" else ()):
        made = around[number]
        while made.opcode in _COPIES:
            made = around[made.operands[0]]
        if made.opcode == "parameter" and made.parameter < len(record.arguments):
            argument = record.arguments[made.parameter]
            if argument.role == "state":
                holders[place] = {
                    component_names.enclosing_component(argument.name, record.components): 1.0
                }
    return holders


def _of_computation(
    module: hlo.Module,
    computation: hlo.Computation,
    owners: Owners,
    pricing: hlo.InstructionCosts,
    holders: Mapping[int, Shares],
) -> dict[str, Shares]:
    instructions = computation.instructions
    known = {
        one.id: _shares(module, computation, one, owners, pricing) for one in instructions.values()
    }
    users: dict[int, list[int]] = {}
    for one in instructions.values():
        for operand in one.operands:
            users.setdefault(operand, []).append(one.id)
    of_variable = _variables(computation, holders)

    def of_users(number: int) -> Shares:
        found: Shares = {}
        for user in users.get(number, ()):
            if instructions[user].opcode != "tuple":
                found |= known[user] or of_variable(instructions[user]) or of_users(user)
        return {name: 1 / len(found) for name in found}

    return {
        one.name: known[one.id]
        or of_variable(one)
        or of_users(one.id)
        or {component_names.LOOP: 1.0}
        for one in instructions.values()
    }


def _variables(
    computation: hlo.Computation, holders: Mapping[int, Shares]
) -> Callable[[hlo.Instruction], Shares]:
    """Return what tells whose the Variable is that an op copies before or after it is written.

    Other copies of what a loop carries are the loop's.
    """
    instructions = computation.instructions
    root = instructions[computation.root]
    carried = {number: holders.get(place) for place, number in enumerate(root.operands)}

    def of_variable(one: hlo.Instruction) -> Shares:
        if one.opcode not in _COPIES:
            return {}
        while one.opcode in _COPIES:
            found = carried.get(one.id)
            if found:
                return found
            one = instructions[one.operands[0]]
        if one.opcode == "get-tuple-element" and holders:
            return holders.get(one.tuple_index, {component_names.LOOP: 1.0})
        return {}

    return of_variable


def _shares(
    module: hlo.Module,
    computation: hlo.Computation,
    one: hlo.Instruction,
    owners: Owners,
    pricing: hlo.InstructionCosts,
) -> Shares:
    own = owners.of(one.location, "")
    if one.opcode != "fusion":
        return {own: 1.0} if own else {}
    weights: Shares = {}
    for fused in module.called_by(one):
        for inner in fused.instructions.values():
            whose = owners.of(inner.location, "")
            if whose and inner.opcode not in _NAMES:
                cost = pricing.cost(fused, inner)
                weight = cost.flops + cost.transcendentals + cost.written
                weights[whose] = weights.get(whose, 0.0) + max(weight, 1.0)
    total = sum(weights.values())
    if not total:
        return {own: 1.0} if own else {}
    return {name: weight / total for name, weight in weights.items()}
