"""Makes XLA's graphs readable: components by colour and name, each fusion as one node.

XLA writes the location of each op as the tooltip of its node, whose first line names the component.
A fusion is a cluster with a label that begins with "Fused expression for" (jaxlib 0.4.13 to 0.12.0:
xla/service/hlo_graph_dumper.cc).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from brainpy_probe.characters import in_one_line
from brainpy_probe.format import component_names
from brainpy_probe.report.pictures.colours import Colours

__all__ = ["make_readable"]

_FUSION = re.compile(r"Fused expression for <b>([^<]*)</b>")


def make_readable(graph: Any, groups: Mapping[str, str], *, collapses: bool) -> None:
    """Change one of XLA's graphs, in place.

    Parameters
    ----------
    graph : pygraphviz.AGraph
        The graph.
    groups : mapping
        The group of each component, in the order of their colours.
    collapses : bool
        Whether each fusion becomes one node.
    """
    # This attribute would load a font from the network.
    graph.graph_attr["stylesheet"] = ""
    colours = Colours(groups)
    owners = {node: _owner(node) for node in graph.nodes()}
    if collapses:
        for cluster in list(_clusters(graph)):
            found = _FUSION.search(str(cluster.graph_attr["label"] or ""))
            if found:
                _collapse(graph, cluster, found[1], owners)
    for node in graph.nodes():
        owner = owners.get(node, "")
        node.attr["tooltip"] = in_one_line(owner) or " "
        if not owner:
            continue
        node.attr["style"], node.attr["fontcolor"] = "filled", "black"
        node.attr["fillcolor"] = colours.fill(owner)
        # XLA's labels are HTML, which pygraphviz returns without the brackets around it.
        name = f"<b>{escape(in_one_line(owner))}</b><br/>"
        node.attr["label"] = f"<{name}{node.attr['label'] or ''}>"


def _owner(node: Any) -> str:
    lines = str(node.attr["tooltip"] or "").splitlines()
    return component_names.owner(lines[0]) if lines else ""


def _clusters(graph: Any) -> Iterator[Any]:
    """Yield the clusters of a graph, those within a cluster first."""
    for inner in graph.subgraphs():
        yield from _clusters(inner)
        yield inner


def _collapse(graph: Any, cluster: Any, name: str, owners: dict[Any, str]) -> None:
    """Replace the ops of a fusion by one node."""
    members = set(cluster.nodes())
    if not members:
        return
    counts = Counter(owners[node] for node in members if owners.get(node))
    fused = f"fusion {cluster.name}"
    label = f"<b>{escape(in_one_line(name))}</b><br/>fusion of {len(members)} ops"
    others = [owner for owner, _ in counts.most_common()][1:]
    if others:
        label += f"<br/>also of {escape(in_one_line(', '.join(others)))}"
    around = [
        (fused if source in members else source, fused if target in members else target)
        for source, target in graph.edges()
        if (source in members) != (target in members)
    ]
    graph.delete_nodes_from(members)
    graph.add_node(fused, label=f"<{label}>", shape="rect")
    for source, target in dict.fromkeys(around):
        graph.add_edge(source, target)
    owners[fused] = counts.most_common(1)[0][0] if counts else ""
