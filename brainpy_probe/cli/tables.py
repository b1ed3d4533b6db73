"""Costs as a tree in a table of 80 columns; knows no folder."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from brainpy_probe.analysis.replay import Compared, Replay
from brainpy_probe.format import component_names
from brainpy_probe.format.cost_records import ComponentCost, ComponentTime, Costs, Count, Measured
from brainpy_probe.output import plain_table

__all__ = ["costs_table", "replay_table"]


Links = Mapping[str, tuple[str, str]]


def costs_table(
    costs: Costs, measured: Measured | None = None, links: Links | None = None
) -> Group:
    """Return costs as rich prints them: a line for each component, its parts below it.

    ``links`` has of each projection the names of the components that it connects.
    """
    links = {} if links is None else links
    parts: list[object] = [_static(costs, links)]
    if measured is not None:
        parts += ["", _measured(costs, measured, links)]
    parts += [Text(note, style="yellow") for note in costs.notes]
    if measured is not None:
        parts += [Text(note, style="yellow") for note in measured.notes]
    return Group(*parts)  # type: ignore[arg-type]


def _static(costs: Costs, links: Links) -> Group:
    table = _table("a step", "ops", "flops", "transc", "read", "written", "state", "const")
    for depth, row, whole in _tree(costs.components):
        table.add_row(
            "  " * depth
            + component_names.label(row.component, links)
            + ("*" if row.custom_calls else ""),
            *_counted(whole.step),
            _si(whole.state),
            _si(whole.constants),
        )
    table.add_section()
    state = sum(row.state for row in costs.components)
    constants = sum(row.constants for row in costs.components)
    table.add_row("a step in all", *_counted(costs.step), _si(state), _si(constants))
    table.add_row("outside the loop", *_counted(costs.once), "", "")
    table.add_row(f"x {costs.steps:,} steps", *_counted(costs.total), "", "")
    said = [
        "Counted by XLA before it optimises; read, written, state, const in bytes. A line has what "
        "stands below it in it."
    ]
    unseen = sum(row.custom_bytes for row in costs.components)
    if unseen:
        said.append(
            f"* custom calls: XLA counts nothing inside; operands and results have {_si(unseen)} "
            "bytes a step."
        )
    return Group(table, Text(" ".join(said), style="dim"))


def _counted(count: Count) -> list[str]:
    figures = count.flops, count.transcendentals, count.read, count.written
    return [f"{count.ops:,}", *map(_si, figures)]


def _measured(costs: Costs, measured: Measured, links: Links) -> Group:
    table = _table("measured", "seconds", "share", "us a step", "calls")
    times = {one.component: one for one in measured.components}
    known = [row for row in costs.components if not row.component.startswith("(")]
    extra = set(times) - {row.component for row in known}
    rows = [*known, *(ComponentCost(component=name) for name in sorted(extra))]
    sums = _sums(rows, times)
    ordered = _tree(rows, lambda row: -sums[row.component].seconds)
    for depth, row, _ in ordered:
        one = sums[row.component]
        if not one.calls and not one.seconds:
            continue
        table.add_row(
            "  " * depth + component_names.label(row.component, links),
            f"{one.seconds:.4f}",
            f"{100 * one.seconds / measured.loop:.1f} %" if measured.loop else "",
            f"{1e6 * one.seconds / max(measured.steps, 1):.2f}",
            f"{one.calls:,}",
        )
    table.add_section()
    table.add_row(
        f"{measured.steps:,} steps",
        f"{measured.loop:.4f}",
        f"{100 * measured.mapped:.1f} %",
        f"{1e6 * measured.loop / max(measured.steps, 1):.2f}",
        "",
    )
    said = (
        "Of XLA's profiler on the captured program, compiled anew and run on the captured arrays: "
        f"all of it in {measured.seconds:.3f} s, in {measured.profiled:.3f} s with the profiler. "
        "The last line's share is what is a component's."
    )
    return Group(table, Text(said, style="dim"))


class _Whole:
    """A component with all its parts."""

    def __init__(self, rows: Sequence[ComponentCost]) -> None:
        self.step = sum((row.step for row in rows), Count())
        self.state = sum(row.state for row in rows)
        self.constants = sum(row.constants for row in rows)


def _tree(
    rows: Sequence[ComponentCost], order: object = None
) -> Iterator[tuple[int, ComponentCost, _Whole]]:
    """Yield each component after the one that it is a part of, with its depth and its sum."""
    key = order if callable(order) else lambda _: 0
    below: dict[str, list[ComponentCost]] = {}
    names = {row.component for row in rows}
    for row in rows:
        below.setdefault(row.parent if row.parent in names else "", []).append(row)

    def whole(row: ComponentCost) -> list[ComponentCost]:
        return [row, *(one for part in below.get(row.component, ()) for one in whole(part))]

    def visit(parent: str, depth: int) -> Iterator[tuple[int, ComponentCost, _Whole]]:
        for row in sorted(below.get(parent, ()), key=key):
            yield depth, row, _Whole(whole(row))
            yield from visit(row.component, depth + 1)

    yield from visit("", 0)


def _sums(
    rows: Sequence[ComponentCost], times: dict[str, ComponentTime]
) -> dict[str, ComponentTime]:
    parents = {row.component: row.parent for row in rows}
    sums = {name: ComponentTime(component=name, seconds=0.0) for name in parents}
    for name, one in times.items():
        above = name
        while above:
            so_far = sums[above]
            sums[above] = ComponentTime(
                component=above,
                seconds=so_far.seconds + one.seconds,
                shared=so_far.shared + one.shared,
                calls=so_far.calls + one.calls,
            )
            above = parents.get(above, "")
    return sums


def _table(*titles: str) -> Table:
    figures = (Column(title, justify="right", no_wrap=True) for title in titles[1:])
    return plain_table(Column(titles[0], overflow="fold"), *figures)


def _si(value: float) -> str:
    """Write a number in four characters or so: 12.3k."""
    if not value:
        return ""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5:
            return f"{value:.{0 if not unit or abs(value) >= 99.95 else 1}f}{unit}"
        value /= 1000
    return f"{value:.1f}P"


def replay_table(replay: Replay) -> Group:
    """Return a replay as rich prints it: a line for each result, a verdict, the seconds."""
    titles = ("result", "shape", "dtype", "compared with the simulation")
    table = plain_table(*(Column(title, overflow="fold") for title in titles))
    for one in replay.compared:
        array = replay.results[one.name]
        shape = "x".join(map(str, array.shape)) or "scalar"
        table.add_row(one.name, shape, str(array.dtype), _beside(one))
    return Group(table, _verdict(replay), Text(_seconds(replay)))


def _beside(one: Compared) -> Text:
    if one.equal:
        return Text("equal")
    if one.equal is None:
        return Text("not compared", style="dim")
    apart = one.difference
    if apart is None:
        return Text("differs: another digest", style="red")
    elements = "1 element" if apart.elements == 1 else f"{apart.elements} elements"
    said = f"differs in {elements}, by at most {apart.largest:.3g}"
    if apart.ulps is not None:
        said += f" ({apart.ulps} ulp)" if apart.ulps == 1 else f" ({apart.ulps} ulps)"
    if apart.nans:
        said += f", {apart.nans} times NaN in one alone"
    return Text(said, style="red")


def _verdict(replay: Replay) -> Text:
    compared, verdict = replay.compared, replay.verdict
    equal, unlike = (sum(one.equal is known for one in compared) for known in (True, False))
    said = f"{equal} of {len(compared)} results are the simulation's, bit for bit"
    if unlike:
        said = f"{said}; {unlike} differ. {verdict.outcome.capitalize()}: {verdict.reason}"
    elif equal < len(compared):
        said = f"{said}; for {len(compared) - equal} there is nothing to compare"
    return Text(f"{said}.", style=_STYLES[verdict.outcome])


_STYLES = {"bit for bit": "bold green", "undecided": "yellow", "failed": "bold red"}


def _seconds(replay: Replay) -> str:
    runs = replay.run_seconds
    said = f"seconds: {replay.compile_seconds:.3f} to compile, {runs[0]:.4f} to run"
    if len(runs) > 1:
        again = runs[1:]
        said += f", then {statistics.median(again):.4f} (median of {len(again)})"
    if replay.direct:
        said += "; BrainPy's kernels called without Python, which the simulation's were not"
    return said
