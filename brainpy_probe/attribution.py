"""Tells of an optimised module which components each of its ops serves; measures nothing.

XLA fuses what it can, and a fusion may serve several components: then it is each one's by the share
of its ops, as XLA counts their floating-point operations and the bytes that they write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brainpy_probe import naming
from brainpy_probe.costs import Owners
from brainpy_probe.xla import hlo

__all__ = ["LoopOps", "Shares", "loop_ops"]

Shares = dict[str, float]  # components, their shares adding up to 1

_CONTAINERS = {"while", "call", "conditional"}
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


def loop_ops(module: hlo.Module, loop: hlo.Instruction, components: Mapping[str, str]) -> LoopOps:
    """Return whose each op of a loop of an optimised module is.

    Parameters
    ----------
    module : Module
        The module.
    loop : Instruction
        Its loop over time.
    components : mapping
        The components of the model by name.
    """
    owners, pricing = Owners(components), hlo.Pricing(module)
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
        shares |= _of_computation(module, computation, owners, pricing)
        for one in computation.instructions.values():
            if one.opcode in _CONTAINERS:
                within = module.called_by(one)
                containers[one.name] = frozenset(
                    inner.name for each in within for inner in each.instructions.values()
                )
                pending += [module.computations[number] for number in one.called]
    return LoopOps(shares, containers, frozenset(every_step))


def _of_computation(
    module: hlo.Module, computation: hlo.Computation, owners: Owners, pricing: hlo.Pricing
) -> dict[str, Shares]:
    instructions = computation.instructions
    known = {
        one.id: _shares(module, computation, one, owners, pricing) for one in instructions.values()
    }
    users: dict[int, list[int]] = {}
    for one in instructions.values():
        for operand in one.operands:
            users.setdefault(operand, []).append(one.id)
    root = instructions[computation.root]

    def of_users(number: int) -> Shares:
        found: Shares = {}
        for user in users.get(number, ()):
            if instructions[user].opcode != "tuple":
                found |= known[user] or of_users(user)
        return {name: 1 / len(found) for name in found}

    def of_carried(number: int) -> Shares:
        """Return whose the state is that an op copies before the step writes it."""
        made = instructions[number]
        if made.opcode == "get-tuple-element" and root.opcode == "tuple":
            if made.tuple_index < len(root.operands):
                return known[root.operands[made.tuple_index]]
            return {}
        if made.opcode in {"copy", "bitcast"}:
            return of_carried(made.operands[0])
        return known[number]

    return {
        one.name: known[one.id]
        or (of_carried(one.id) if one.opcode == "copy" else {})
        or of_users(one.id)
        or {naming.LOOP: 1.0}
        for one in instructions.values()
    }


def _shares(
    module: hlo.Module,
    computation: hlo.Computation,
    one: hlo.Instruction,
    owners: Owners,
    pricing: hlo.Pricing,
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
