"""The costs of a program in the report: icicles and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from brainpy_probe.format.manifest.cost_records import Costs, Measured
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.quantities import amount, duration, size
from brainpy_probe.report.page.html import Html, table, tag
from brainpy_probe.report.page.icicle import icicle

__all__ = ["cost_section", "cost_table"]

_MAX_ROWS = 3000


def cost_section(record: ProgramRecord, costs: Costs | None, fills: Mapping[str, str]) -> Html:
    """Return the costs of a program; empty if they could not be counted."""
    if costs is None:
        return Html()
    measured = record.measured
    kinds: list[tuple[str, dict[str, float], Callable[[float], str]]] = [
        (
            "bytes",
            {
                row.component: row.step.read + row.step.written + row.custom_bytes
                for row in costs.components
            },
            size,
        ),
        (
            "flops",
            {row.component: row.step.flops + row.step.transcendentals for row in costs.components},
            amount,
        ),
    ]
    if measured is not None:
        times = {time.component: time.seconds for time in measured.components}
        kinds.insert(0, ("time", times, duration))
    switch, pictures = [], []
    for number, (kind, values, show_value) in enumerate(kinds):
        switch.append(
            tag(
                "button", kind, type="button", data_kind=kind,
                aria_pressed="true" if number == 0 else "false",
            )
        )  # fmt: skip
        drawn = icicle(
            costs.components, values, lambda name: fills.get(name, "#d9d9de"), show_value
        )
        pictures.append(tag("div", drawn, data_kind=kind, hidden=None if number == 0 else "hidden"))
    timed = "" if measured is None else f"Time: measured over {measured.steps:,} steps. "
    notes = [*costs.notes, *(measured.notes if measured is not None else ())]
    if measured is not None and measured.profiled > 2 * measured.seconds:
        notes.append("The profiler took longer than the run itself: times are estimates.")
    if record.unmeasured:
        notes.append(f"Not measured: {record.unmeasured}")
    return tag(
        "section",
        tag("h3", "Costs by component"),
        tag(
            "p",
            f"{timed}Bytes and flops: XLA's counts for one step before optimisation; the bytes of "
            "a custom call are those of its operands and results.",
            class_="note",
        ),
        tag("p", *switch, class_="switch"),
        *pictures,
        cost_table(costs, measured),
        *(tag("p", note, class_="note") for note in notes),
        class_="costs",
    )


def cost_table(costs: Costs, measured: Measured | None) -> Html:
    """Return a table of costs, with a row for each component and its parts below it."""
    times = {} if measured is None else {t.component: t.seconds for t in measured.components}
    rows = {row.component: row for row in costs.components}
    children: dict[str, list[str]] = {}
    for row in costs.components:
        parent = row.parent if row.parent in rows and row.parent != row.component else ""
        children.setdefault(parent, []).append(row.component)

    def figures(names: Sequence[str]) -> list[float]:
        found = [rows[name] for name in names]
        return [
            *([sum(times.get(name, 0.0) for name in names)] if measured is not None else []),
            sum(row.step.ops for row in found),
            sum(row.step.flops for row in found),
            sum(row.step.transcendentals for row in found),
            sum(row.step.read + row.step.written + row.custom_bytes for row in found),
            sum(row.state for row in found),
            sum(row.constants for row in found),
        ]

    shows: list[Callable[[float], str]] = [
        *([duration] if measured is not None else []),
        lambda n: f"{n:,.0f}", amount, amount, size, size, size,
    ]  # fmt: skip

    def subtree(name: str) -> list[str]:
        return [name, *(inner for child in children.get(name, ()) for inner in subtree(child))]

    def line(label: str, name: str, kind: str, values: Sequence[float], depth: int) -> Html:
        cells = [
            tag("td", show(value) if value else "", class_="n", data_v=value)
            for show, value in zip(shows, values, strict=True)
        ]
        return tag(
            "tr", tag("td", label, class_=f"d{min(depth, 6)}", data_v=label), tag("td", kind),
            *cells, data_component=name,
        )  # fmt: skip

    def visit(parent: str, depth: int) -> Iterator[Html]:
        for name in children.get(parent, ()):
            yield line(name, name, rows[name].cls, figures(subtree(name)), depth)
            own = figures([name])
            if children.get(name) and any(own):
                yield line("(itself)", name, rows[name].cls, own, depth + 1)
            yield from visit(name, depth + 1)

    titles = ["component", "class", *(["time"] if measured is not None else [])]
    titles += ["ops", "flops", "transcendental", "bytes moved", "state", "constants"]
    return table(titles, list(visit("", 0))[:_MAX_ROWS], figures=len(titles) - 2)
