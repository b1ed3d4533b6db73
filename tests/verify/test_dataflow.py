"""The dataflow between the components of a network, and its picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec

import pytest
from msgspec.structs import replace

from brainpy_probe.report.api import picture
from brainpy_probe.report.pictures.layout import Box, place
from brainpy_probe.report.pictures.model import Model, model
from tests.replaying import captured


@pytest.fixture(scope="module")
def einet() -> Model:
    """Return the picture of EINet."""
    program = captured("einet").program
    return model(program.record, program.dataflow, program.costs)


def test_spikes_and_currents_flow_along_the_synapses(einet: Model) -> None:
    arrows = {(arrow.source, arrow.target) for arrow in einet.arrows}
    for pre in "EI":
        for post in "EI":
            assert (pre, f"{pre}2{post}") in arrows
            assert (f"{pre}2{post}", post) in arrows
    # A sum of currents is not a flow between the synapses.
    synapses = {f"{pre}2{post}" for pre in "EI" for post in "EI"}
    assert not [pair for pair in arrows if set(pair) <= synapses]
    values = {(arrow.source, arrow.target): arrow.values for arrow in einet.arrows}
    assert re.fullmatch(r"spike bool\[\d+\]", values["I", "I2E"][0])
    assert values["E", "runner.monitors"][0].startswith("spike ")


def test_a_node_has_its_class_its_link_and_its_share(einet: Model) -> None:
    nodes = {node.name: node for node in einet.nodes}
    assert nodes["E2I"].link == ("E", "I")
    assert nodes["E"].kind == "LIF"
    assert nodes["runner.inputs"].kind == "inputs"
    assert 0.9 < sum(node.share for node in nodes.values()) <= 1.001


def _overlaps(boxes: Mapping[str, Box]) -> list[tuple[str, str]]:
    return [
        (first, second)
        for first, a in boxes.items()
        for second, b in boxes.items()
        if first < second
        and abs(a.x - b.x) < (a.width + b.width) / 2
        and abs(a.y - b.y) < (a.height + b.height) / 2
    ]


@pytest.mark.parametrize("name", ["einet", "reservoir", "delay"])
def test_nodes_do_not_overlap(name: str) -> None:
    program = captured(name).program
    drawn = model(program.record, program.dataflow, program.costs)
    assert drawn.nodes
    assert _overlaps(place(drawn)) == []


def test_a_picture_shows_a_hostile_name_as_text() -> None:
    program = captured("lif").program
    hostile = {f"{name}<script>": kind for name, kind in program.record.components.items()}
    record = replace(program.record, components={**hostile, "\x1b[2J": "\u202ex"}, name="<b>")
    shown = type(program)(program._folder, record, program.environment)
    content = picture(shown).decode()
    assert "<script" not in content
    assert "<b>" not in content
    assert not re.search("[\x1b\u202e]", content)


def test_a_png_is_drawn_by_graphviz() -> None:
    assert find_spec("pygraphviz")
    assert picture(captured("lif").program, "png").startswith(b"\x89PNG")
