"""Places the nodes of a model as a person would draw them.

Populations are placed in a row, on a circle, or in a grid. A projection is placed between the
populations that it connects, or above a population that it connects with itself. The runner's
inputs and monitors are at the bottom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from brainpy_probe.report.pictures.model import Model, Node

__all__ = ["Box", "place"]

_ROW, _CIRCLE = 3, 12
_GAP, _ABOVE, _BELOW = 400.0, 130.0, 150.0
_MARGIN = 16.0


@dataclass
class Box:
    """The place of a node: its centre, and its width and height."""

    x: float
    y: float
    width: float
    height: float


def place(model: Model) -> dict[str, Box]:
    """Return the place of each node.

    Parameters
    ----------
    model : Model
        The nodes and arrows.
    """
    bodies = [node for node in model.nodes if node.link is None and not node.is_runner]
    boxes = {node.name: _box(node) for node in model.nodes}
    _place_bodies(bodies, boxes)
    known = {node.name for node in bodies}
    projections = [node for node in model.nodes if node.link is not None]
    _place_projections([node for node in projections if _ends(node) <= known], boxes, bodies)
    left = [node for node in projections if not _ends(node) <= known]
    runner = [node for node in model.nodes if node.is_runner]
    bottom = max((boxes[name].y for name in known), default=0.0) + _BELOW
    _place_row([*left, *runner], boxes, bottom, model)
    _push_apart(boxes, {node.name for node in bodies})
    return boxes


def _box(node: Node) -> Box:
    """Return the size of a node: its area grows with its share of the cost."""
    scale = 1.0 + 0.9 * math.sqrt(node.share)
    least = 7.2 * max(len(node.label), min(len(node.kind), 22), 5) + 26
    return Box(0.0, 0.0, max(72.0 * scale, least), 44.0 * scale)


def _ends(node: Node) -> set[str]:
    return set(node.link or ())


def _place_bodies(bodies: Sequence[Node], boxes: dict[str, Box]) -> None:
    """Place the populations in a row, on a circle, or in a grid."""
    count = len(bodies)
    columns = math.ceil(math.sqrt(1.6 * count))
    radius = max(230.0, 70.0 * count)
    for number, node in enumerate(bodies):
        box = boxes[node.name]
        if count <= _ROW:
            box.x, box.y = number * _GAP, 0.0
        elif count <= _CIRCLE:
            angle = 2 * math.pi * number / count - math.pi / 2
            box.x, box.y = 1.4 * radius * math.cos(angle), radius * math.sin(angle)
        else:
            # Every other row runs backwards, so that neighbours in the model's order stay
            # neighbours.
            row, column = divmod(number, columns)
            column = columns - 1 - column if row % 2 else column
            box.x, box.y = column * 0.8 * _GAP, row * 0.6 * _GAP


def _place_projections(
    projections: Sequence[Node], boxes: dict[str, Box], bodies: Sequence[Node]
) -> None:
    """Place each projection between its populations, or next to its only population."""
    middle_x = sum(boxes[node.name].x for node in bodies) / max(len(bodies), 1)
    middle_y = sum(boxes[node.name].y for node in bodies) / max(len(bodies), 1)
    in_row = len(bodies) <= _ROW
    placed: dict[tuple[str, str], int] = {}
    for node in projections:
        before, after = node.link or ("", "")
        number = placed[before, after] = placed.get((before, after), -1) + 1
        box, a, b = boxes[node.name], boxes[before], boxes[after]
        if before == after:
            away_x, away_y = a.x - middle_x, a.y - middle_y
            length = math.hypot(away_x, away_y) or 1.0
            distance = _ABOVE + 80.0 * number
            # Above, if the populations are in a row; otherwise away from the middle.
            box.x = a.x + distance * away_x / length * (0.7 if in_row else 1.6)
            box.y = a.y + distance * (-1.0 if in_row else away_y / length)
            continue
        # The projections of both directions between two populations are on different sides.
        length = math.hypot(b.x - a.x, b.y - a.y) or 1.0
        side = 46.0 + 64.0 * number
        box.x = (a.x + b.x) / 2 + side * (b.y - a.y) / length
        box.y = (a.y + b.y) / 2 - side * (b.x - a.x) / length


def _place_row(nodes: Sequence[Node], boxes: dict[str, Box], y: float, model: Model) -> None:
    """Place nodes in a row, in the order of their connected nodes."""
    centres = []
    for node in nodes:
        ends = [arrow.target for arrow in model.arrows if arrow.source == node.name]
        ends += [arrow.source for arrow in model.arrows if arrow.target == node.name]
        xs = [boxes[end].x for end in ends if end not in {other.name for other in nodes}]
        centres.append(sum(xs) / len(xs) if xs else 0.0)
    right = -math.inf
    for centre, node in sorted(zip(centres, nodes, strict=True), key=lambda pair: pair[0]):
        box = boxes[node.name]
        box.x = max(centre, right + box.width / 2 + 2 * _MARGIN)
        box.y = y
        right = box.x + box.width / 2


def _push_apart(boxes: dict[str, Box], fixed: set[str]) -> None:
    """Move nodes that overlap, except the populations."""
    names = list(boxes)
    for _ in range(60):
        moved = False
        for n, first in enumerate(names):
            for second in names[n + 1 :]:
                moved |= _push(boxes[first], boxes[second], first in fixed, second in fixed)
        if not moved:
            return


def _push(a: Box, b: Box, a_fixed: bool, b_fixed: bool) -> bool:
    """Move two nodes apart if they overlap; return whether one was moved."""
    overlap_x = (a.width + b.width) / 2 + _MARGIN - abs(a.x - b.x)
    overlap_y = (a.height + b.height) / 2 + _MARGIN - abs(a.y - b.y)
    if overlap_x <= 0 or overlap_y <= 0 or (a_fixed and b_fixed):
        return False
    part = 1.0 if a_fixed or b_fixed else 0.5
    along_x = overlap_x < overlap_y
    step = (overlap_x if along_x else overlap_y) * part
    sign = 1.0 if (b.x >= a.x if along_x else b.y >= a.y) else -1.0
    for box, is_fixed, direction in ((a, a_fixed, -sign), (b, b_fixed, sign)):
        if not is_fixed:
            if along_x:
                box.x += direction * step
            else:
                box.y += direction * step
    return True
