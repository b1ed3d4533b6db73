"""The JSON of a program for Model Explorer."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from brainpy_probe.cli import app
from tests.replaying import captured


def test_the_layers_of_model_explorer_are_the_components(tmp_path: Path) -> None:
    file = tmp_path / "einet.json"
    words = ["report", str(captured("einet").path), "--model-explorer", str(file)]
    assert CliRunner().invoke(app, words).stdout == f"{file}\n"
    nodes = json.loads(file.read_text())["graphs"][0]["nodes"]
    by_id = {node["id"]: node for node in nodes}
    assert list(by_id) == [str(number) for number in range(len(nodes))]
    assert {"E", "E2I/syn", "I2I/output", "runner/inputs"} <= {n["namespace"] for n in nodes}
    # An op comes after its operands, and a new state after all ops.
    assert all(
        int(edge["sourceNodeId"]) < int(node["id"])
        for node in nodes
        for edge in node["incomingEdges"]
    )
    (new,) = (node for node in nodes if node["label"] == "new state E2I.syn.g")
    (source,) = new["incomingEdges"]
    assert by_id[source["sourceNodeId"]]["namespace"] == "E2I/syn"
