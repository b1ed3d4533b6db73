"""Writes a program for Model Explorer, with the components as nested layers.

The format is Model Explorer's JSON for graphs (ai-edge-model-explorer 0.1): a graph is a list of
nodes. Each node has a namespace, and the parts of the namespace between slashes are the layers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from brainpy_probe.analysis.op_graph import Op, OpGraph
from brainpy_probe.output import visible_json

__all__ = ["model_explorer_json"]


def model_explorer_json(graphs: list[OpGraph]) -> str:
    """Return the graphs of programs as Model Explorer's JSON.

    Parameters
    ----------
    graphs : list of OpGraph
        The programs.
    """
    found = [
        {"id": f"program {number}: {graph.program}", "nodes": list(map(_node, *_numbered(graph)))}
        for number, graph in enumerate(graphs)
    ]
    content = {"label": graphs[0].program if graphs else "", "graphs": found}
    return visible_json(msgspec.json.encode(content).decode())


def _numbered(graph: OpGraph) -> tuple[range, tuple[Op, ...]]:
    return range(len(graph.ops)), graph.ops


def _node(number: int, op: Op) -> dict[str, Any]:
    """Return an op as a node of Model Explorer."""
    facts = {
        "component": op.component,
        "constants": ", ".join(op.constants),
        "name": op.name,
    }
    return {
        "id": str(number),
        "label": op.label,
        "namespace": op.component.replace(".", "/"),
        "incomingEdges": [
            {"sourceNodeId": str(source), "sourceNodeOutputId": "0", "targetNodeInputId": str(n)}
            for n, source in enumerate(op.operands)
        ],
        "attrs": [{"key": key, "value": value} for key, value in facts.items() if value],
        "outputsMetadata": [{"id": "0", "attrs": [{"key": "tensor_shape", "value": op.shape}]}]
        if op.shape
        else [],
    }
