"""A model as nodes and arrows: its components, and the values that flow between them in a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brainpy_probe.analysis.dataflow import OUTPUTS, Dataflow
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.cost_records import Costs, Measured
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = ["Arrow", "Model", "Node", "groups_of", "model"]

# Nodes for the runner's work.
_RUNNER = {
    component_names.INPUTS: "inputs",
    component_names.MONITORS: "monitors",
    OUTPUTS: "outputs",
}


@dataclass(frozen=True)
class Node:
    """A component together with its parts.

    Attributes
    ----------
    name, label : str
        Its name, and its text in the picture.
    kind : str
        The class; ``inputs``, ``monitors`` or ``outputs`` for the runner's work.
    link : tuple of str or None
        For a projection, the nodes that it connects.
    share : float
        Its share of the cost of a step.
    """

    name: str
    label: str
    kind: str
    link: tuple[str, str] | None = None
    share: float = 0.0

    @property
    def is_runner(self) -> bool:
        """Whether it belongs to the runner."""
        return self.name in _RUNNER


@dataclass(frozen=True)
class Arrow:
    """The values that flow from one node to another, each with its name and shape."""

    source: str
    target: str
    values: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class Model:
    """The nodes and arrows of a program's step."""

    title: str
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    unit: str = ""
    _names: Mapping[str, Node] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return self._names[name]


def model(
    record: ProgramRecord, flowing: Dataflow, costs: Costs, measured: Measured | None = None
) -> Model:
    """Return the nodes and arrows of a program.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    flowing : Dataflow
        The values that flow between its components.
    costs : Costs
        The costs of its components.
    measured : Measured, optional
        The time of each component, which is preferred to the bytes that XLA counts.
    """
    groups = {name: name for name in flowing.components} | groups_of(record.components)
    spent, unit = _spent(costs, measured)
    shares: dict[str, float] = {}
    for name, value in spent.items():
        group = groups.get(name, name)
        shares[group] = shares.get(group, 0.0) + value
    total = sum(shares.values()) or 1.0
    # The order in which the model has them.
    names = list(dict.fromkeys(groups[name] for name in flowing.components))
    nodes = tuple(
        Node(
            name=name,
            label=_RUNNER.get(name, name),
            kind=_RUNNER.get(name) or record.components.get(name, ""),
            link=_link(name, record, groups),
            share=shares.get(name, 0.0) / total,
        )
        for name in names
    )
    return Model(
        record.name, nodes, _arrows(flowing, groups), unit, {node.name: node for node in nodes}
    )


def groups_of(components: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each component: its ancestor on the first level with several components.

    A group is one node in the picture, and has one colour everywhere.
    """
    if not components:
        return {}
    for depth in range(1, 4):
        groups = {name: _group_of(name, components, depth) for name in components}
        if len({*groups.values()}) > 2:
            return groups
    return {name: _group_of(name, components, 1) for name in components}


def _group_of(name: str, components: Mapping[str, str], depth: int) -> str:
    """Return a component's ancestor on a level of the model's tree."""
    root = next(iter(components))
    above = [name]
    while above[-1] != root:
        above.append(component_names.enclosing_component(above[-1], components))
        if len(above) > 1 and above[-1] == above[-2]:
            break
    return above[max(len(above) - 1 - depth, 0)]


def _spent(costs: Costs, measured: Measured | None) -> tuple[dict[str, float], str]:
    if measured is not None:
        return {time.component: time.seconds for time in measured.components}, "of the time"
    moved = {
        row.component: row.step.read + row.step.written + row.custom_bytes
        for row in costs.components
    }
    return moved, "of the bytes"


def _link(name: str, record: ProgramRecord, groups: Mapping[str, str]) -> tuple[str, str] | None:
    if name not in record.links:
        return None
    before, after = record.links[name]
    return groups.get(before, before), groups.get(after, after)


def _arrows(flowing: Dataflow, groups: Mapping[str, str]) -> tuple[Arrow, ...]:
    values: dict[tuple[str, str], dict[str, int]] = {}
    for flow in flowing.flows:
        ends = groups[flow.source], groups[flow.target]
        if ends[0] != ends[1]:
            name = flow.name.rpartition(".")[2]
            value = f"{name} {flow.shape}".strip()
            values.setdefault(ends, {})[value] = flow.nbytes
    return tuple(
        Arrow(source, target, tuple(found), sum(found.values()))
        for (source, target), found in values.items()
    )
