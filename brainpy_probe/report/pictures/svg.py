"""Draws the nodes and arrows of a model as SVG, or writes them for Graphviz."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from brainpy_probe.characters import in_one_line
from brainpy_probe.quantities import shortened
from brainpy_probe.report.pictures.colours import Colours
from brainpy_probe.report.pictures.layout import Box, place
from brainpy_probe.report.pictures.model import Arrow, Model, Node

__all__ = ["draw_model", "model_dot"]

_MARGIN = 40.0
# If there are more arrows, a label is shown only while the pointer is over its arrow.
_MAX_LABELLED_ARROWS = 40
_MAX_LABELS = 3
_STEEP = 20.0
_STYLE = (
    "text{font:12px system-ui,sans-serif;text-anchor:middle;fill:#111}"
    ".start{text-anchor:start}.end{text-anchor:end}"
    ".kind{font-size:10px;fill:#333}.label{font-size:10px;fill:#444;paint-order:stroke;"
    "stroke:#fff;stroke-width:4px;stroke-linejoin:round}"
    ".arrow path{fill:none;stroke:#667;stroke-width:1.4}"
    ".arrow .head{fill:#667;stroke:none}.faint{opacity:.15}.faint:hover{opacity:1}"
    ".node rect{stroke:#556;stroke-width:1}"
)


def draw_model(model: Model, colours: Colours, *, standalone: bool = True) -> str:
    """Return the picture of a model.

    Parameters
    ----------
    model : Model
        The nodes and arrows.
    colours : Colours
        The colours of the nodes.
    standalone : bool
        Whether the picture is a file, which needs a style and a background. A page has its own
        style.
    """
    boxes = place(model)
    labelled = len(model.arrows) <= _MAX_LABELLED_ARROWS
    pairs = {(arrow.source, arrow.target) for arrow in model.arrows}
    runner = {node.name for node in model.nodes if node.is_runner}
    # In a large model the runner's arrows, one for each population, would cover the others.
    faint = set() if labelled else runner
    parts = [
        _arrow(
            arrow,
            boxes,
            is_pair=(arrow.target, arrow.source) in pairs,
            labelled=labelled,
            faint=not faint.isdisjoint((arrow.source, arrow.target)),
        )
        for arrow in model.arrows
    ]
    parts += [_node(node, boxes[node.name], model, colours) for node in model.nodes]
    x, y, width, height = _bounds([*boxes.values()])
    size = (
        f'viewBox="{x:.0f} {y:.0f} {width:.0f} {height:.0f}" role="img" '
        f'width="{width:.0f}" height="{height:.0f}"'
    )
    title = f"<title>{_text(model.title)}: what flows between its components</title>"
    if not standalone:
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{title}{"".join(parts)}</svg>'
    ground = (
        f'<rect class="ground" x="{x:.0f}" y="{y:.0f}" width="100%" height="100%" fill="#fff"/>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{title}<style>{_STYLE}</style>'
        f"{ground}{''.join(parts)}</svg>\n"
    )


def _bounds(found: Sequence[Box]) -> tuple[float, float, float, float]:
    if not found:
        return 0.0, 0.0, 200.0, 60.0
    left = min(box.x - box.width / 2 for box in found) - 2 * _MARGIN
    right = max(box.x + box.width / 2 for box in found) + 2 * _MARGIN
    top = min(box.y - box.height / 2 for box in found) - _MARGIN
    bottom = max(box.y + box.height / 2 for box in found) + _MARGIN
    return left, top, right - left, bottom - top


def _text(text: str) -> str:
    return escape(in_one_line(text))


def _node(node: Node, box: Box, model: Model, colours: Colours) -> str:
    """Return a node as SVG."""
    radius = 4 if node.is_runner else 8 if node.link else box.height / 2
    left, top = box.x - box.width / 2, box.y - box.height / 2
    share = f", {100 * node.share:.0f} % {model.unit}" if node.share else ""
    title = _text(f"{node.label}: {node.kind}{share}")
    same = node.kind == node.label
    kind = (
        ""
        if same
        else f'<text class="kind" x="{box.x:.1f}" y="{box.y + 11:.1f}">'
        f"{_text(shortened(node.kind, 22))}</text>"
    )
    return (
        f'<g class="node" tabindex="0" role="button" data-component="{_text(node.name)}">'
        f"<title>{title}</title>"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{radius:.0f}" fill="{colours.fill(node.name)}"/>'
        f'<text x="{box.x:.1f}" y="{box.y + (4 if same else -2):.1f}">'
        f"{_text(shortened(node.label, 24))}</text>{kind}</g>"
    )


def _arrow(
    arrow: Arrow, boxes: Mapping[str, Box], *, is_pair: bool, labelled: bool, faint: bool
) -> str:
    """Return an arrow with its label as SVG."""
    a, b = boxes[arrow.source], boxes[arrow.target]
    length = math.hypot(b.x - a.x, b.y - a.y) or 1.0
    # The two arrows of a pair bend to different sides.
    bend = max(0.16 * length, 44.0) if is_pair else 0.04 * length
    middle = (
        (a.x + b.x) / 2 + bend * (b.y - a.y) / length,
        (a.y + b.y) / 2 - bend * (b.x - a.x) / length,
    )
    start, end = _border(a, *middle), _border(b, *middle)
    head = _head(end, middle)
    values = ", ".join(arrow.values)
    title = _text(f"{arrow.source} to {arrow.target}: {values}")
    label = ""
    if labelled:
        # The point in the middle of the curve.
        x = (start[0] + 2 * middle[0] + end[0]) / 4
        y = (start[1] + 2 * middle[1] + end[1]) / 4
        shown = list(arrow.values[:_MAX_LABELS])
        if len(arrow.values) > _MAX_LABELS:
            shown[-1] = f"and {len(arrow.values) - _MAX_LABELS + 1} more"
        # The label of a steep arrow is on the arrow's own side.
        side = middle[0] - (a.x + b.x) / 2
        anchor = "middle" if abs(side) < _STEEP else "start" if side > 0 else "end"
        label = "".join(
            f'<text class="label {anchor}" x="{x:.1f}" '
            f'y="{y + 12 * (n - (len(shown) - 1) / 2) + 3:.1f}">'
            f"{_text(shortened(value, 28))}</text>"
            for n, value in enumerate(shown)
        )
    return (
        f'<g class="arrow{" faint" * faint}" data-source="{_text(arrow.source)}" '
        f'data-target="{_text(arrow.target)}"><title>{title}</title>'
        f'<path d="M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} '
        f'{end[0]:.1f} {end[1]:.1f}"/>{head}{label}</g>'
    )


def _border(box: Box, x: float, y: float) -> tuple[float, float]:
    """Return the point where the line from a box's centre to a point leaves the box."""
    dx, dy = x - box.x, y - box.y
    if not dx and not dy:
        return box.x, box.y
    scale = min(
        (box.width / 2 + 2) / abs(dx) if dx else math.inf,
        (box.height / 2 + 2) / abs(dy) if dy else math.inf,
    )
    return box.x + dx * min(scale, 1.0), box.y + dy * min(scale, 1.0)


def _head(end: tuple[float, float], before: tuple[float, float]) -> str:
    angle = math.atan2(end[1] - before[1], end[0] - before[0])
    points = " ".join(
        f"{end[0] - 9 * math.cos(angle + turn):.1f},{end[1] - 9 * math.sin(angle + turn):.1f}"
        for turn in (0.4, -0.4)
    )
    return f'<polygon class="head" points="{end[0]:.1f},{end[1]:.1f} {points}"/>'


def model_dot(model: Model, colours: Colours) -> str:
    """Return the picture of a model in Graphviz's language, with a position for each node.

    Parameters
    ----------
    model : Model
        The nodes and arrows.
    colours : Colours
        The colours of the nodes.
    """
    boxes = place(model)
    numbers = {node.name: number for number, node in enumerate(model.nodes)}
    lines = [
        "digraph { splines=curved outputorder=edgesfirst pad=0.3 bgcolor=white node [shape=box "
        'style="rounded,filled" fontname="Helvetica" fontsize=12 color="#556677"] '
        'edge [fontname="Helvetica" fontsize=10 color="#666677" fontcolor="#444444"]'
    ]
    for node in model.nodes:
        box = boxes[node.name]
        kind = "" if node.kind == node.label else f"\\n{_quoted(shortened(node.kind, 22))}"
        lines.append(
            f'{numbers[node.name]} [label="{_quoted(shortened(node.label, 24))}{kind}" '
            f'pos="{box.x:.1f},{-box.y:.1f}" width={box.width / 72:.2f} '
            f'height={box.height / 72:.2f} fixedsize=true fillcolor="{colours.fill(node.name)}"]'
        )
    for arrow in model.arrows:
        label = "\\n".join(_quoted(shortened(value, 28)) for value in arrow.values[:_MAX_LABELS])
        text = f' [label="{label}"]' if len(model.arrows) <= _MAX_LABELLED_ARROWS else ""
        lines.append(f"{numbers[arrow.source]} -> {numbers[arrow.target]}{text}")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    """Escape a text for a quoted string of Graphviz, in which a backslash begins an escape."""
    return in_one_line(text).replace("\\", "\\\\").replace('"', '\\"')
