"""Draws costs as an icicle: a component above its parts, each as wide as its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from brainpy_probe.format.manifest.cost_records import ComponentCost
from brainpy_probe.quantities import shortened
from brainpy_probe.report.page.html import Html, tag

__all__ = ["icicle"]

_WIDTH, _ROW = 1000.0, 30
# Narrower components are not drawn.
_MIN_WIDTH = 0.7
_CHARACTER = 7.2


def icicle(
    rows: Sequence[ComponentCost],
    values: Mapping[str, float],
    fill: Callable[[str], str],
    show_value: Callable[[float], str],
) -> Html:
    """Return the icicle of one kind of cost.

    Parameters
    ----------
    rows : sequence of ComponentCost
        The components.
    values : mapping
        The cost of each component without its parts.
    fill : callable
        Returns the colour of a component.
    show_value : callable
        Formats a cost as text.
    """
    names = {row.component for row in rows}
    children: dict[str, list[str]] = {}
    for row in rows:
        parent = row.parent if row.parent in names and row.parent != row.component else ""
        children.setdefault(parent, []).append(row.component)
    sums: dict[str, float] = {}

    def total(name: str) -> float:
        if name not in sums:
            sums[name] = values.get(name, 0.0)
            sums[name] += sum(total(child) for child in children.get(name, ()))
        return sums[name]

    whole = sum(total(name) for name in children.get("", ()))
    if not whole:
        return tag("p", "Nothing was counted.")
    boxes: list[Html] = []
    deepest = 0

    def draw(name: str, x: float, depth: int) -> None:
        nonlocal deepest
        width = _WIDTH * total(name) / whole
        if width < _MIN_WIDTH:
            return
        deepest = max(deepest, depth)
        share = 100 * total(name) / whole
        own = values.get(name, 0.0)
        itself = f", itself {show_value(own)}" if children.get(name) and own else ""
        label = shortened(name, int(width / _CHARACTER)) if width > 5 * _CHARACTER else ""
        y = depth * _ROW
        boxes.append(
            tag(
                "g",
                tag("title", f"{name}: {show_value(total(name))}, {share:.1f} %{itself}"),
                tag(
                    "rect", x=f"{x:.1f}", y=y, width=f"{width:.1f}", height=_ROW - 2,
                    fill=fill(name),
                ),
                *([tag("text", label, x=f"{x + 4:.1f}", y=y + 18)] if label else []),
                data_component=name, tabindex=0, role="button",
            )
        )  # fmt: skip
        for child in sorted(children.get(name, ()), key=lambda child: -total(child)):
            draw(child, x, depth + 1)
            x += _WIDTH * total(child) / whole

    x = 0.0
    for name in sorted(children.get("", ()), key=lambda child: -total(child)):
        draw(name, x, 0)
        x += _WIDTH * total(name) / whole
    return tag(
        "svg", *boxes, viewBox=f"0 0 {_WIDTH:.0f} {(deepest + 1) * _ROW}", role="img",
        class_="icicle", aria_label="costs by component",
    )  # fmt: skip
