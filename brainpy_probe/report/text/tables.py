"""Tables of costs and of replays, which fit the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group
from rich.table import Column
from rich.text import Text

from brainpy_probe.analysis.replaying.replay import Compared, Replay
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.cost_records import (
    ComponentCost,
    ComponentTime,
    Costs,
    Count,
    Measured,
)
from brainpy_probe.output import FittingTable, plain_table

__all__ = ["costs_table", "measured_table", "replay_table"]


Links = Mapping[str, tuple[str, str]]

_ITSELF = "(itself)"


def costs_table(
    costs: Costs, measured: Measured | None = None, links: Links | None = None
) -> Group:
    """Return tables of costs and times, with a line for each component and its parts below it.

    ``links`` has the names of the two components that each projection connects.
    """
    links = {} if links is None else links
    parts: list[object] = [_counts(costs, links)]
    if measured is not None:
        known = [row for row in costs.components if not row.component.startswith("(")]
        parts += ["", _times(known, measured, links)]
    parts += [Text(note, style="yellow") for note in costs.notes]
    if measured is not None:
        parts += [Text(note, style="yellow") for note in measured.notes]
    return Group(*parts)  # type: ignore[arg-type]


def _counts(costs: Costs, links: Links) -> Group:
    """Return the table of XLA's counts."""
    # Few models have transcendental functions (exp, log, tanh), and the word is long.
    transcendental = costs.total.transcendentals > 0
    heads = ["ops", "flops", *["transcendental"] * transcendental]
    table = FittingTable(
        "per step", *heads, "B read", "B written", "B state", "B const",
        spare=("ops", "B const", "B state", "transcendental"),
    )  # fmt: skip

    def add(name: str, count: Count, state: float | None, constants: float | None) -> None:
        figures = [f"{count.ops:,}", _si(count.flops)]
        figures += [_si(count.transcendentals)] * transcendental
        figures += [_si(count.read), _si(count.written)]
        table.add_row(name, *figures, _si(state or 0), _si(constants or 0))

    parents = {row.parent for row in costs.components}
    for depth, row, total in _tree(costs.components):
        label = component_names.label(row.component, links) + ("*" if row.custom_calls else "")
        add("  " * depth + label, total.step, total.state, total.constants)
        if row.component in parents and (row.step.ops or row.state or row.constants):
            add("  " * (depth + 1) + _ITSELF, row.step, row.state, row.constants)
    state = sum(row.state for row in costs.components)
    constants = sum(row.constants for row in costs.components)
    add("total per step", costs.step, state, constants)
    add("outside the loop", costs.once, None, None)
    add(f"x {costs.steps:,} steps", costs.total, None, None)
    notes = [
        "XLA's counts before optimisation; B: bytes. A component's line includes its parts; "
        f"{_ITSELF} is the component without them."
    ]
    custom_bytes = sum(row.custom_bytes for row in costs.components)
    if custom_bytes:
        notes.append(
            f"* without the code of custom calls; their operands and results have "
            f"{_si(custom_bytes)} bytes per step."
        )
    return Group(table, Text(" ".join(notes), style="dim"))


def measured_table(measured: Measured) -> Group:
    """Return a table of times, with a line for each component and its parts below it."""
    names = {time.component for time in measured.components}

    def parent(name: str) -> str:
        while "." in name:
            name = name.rpartition(".")[0]
            if name in names:
                return name
        return ""

    rows = [ComponentCost(component=name, parent=parent(name)) for name in sorted(names)]
    notes = [Text(note, style="yellow") for note in measured.notes]
    return Group(_times(rows, measured, {}), *notes)


def _times(known: Sequence[ComponentCost], measured: Measured, links: Links) -> Group:
    """Return the table of measured times."""
    table = FittingTable("measured", "seconds", "share", "us/step", "calls", spare=("calls",))
    times = {time.component: time for time in measured.components}
    extra = set(times) - {row.component for row in known}
    rows = [*known, *(ComponentCost(component=name) for name in sorted(extra))]
    sums = _sums(rows, times)
    ordered = _tree(rows, lambda row: -sums[row.component].seconds)
    parents = {row.parent for row in rows}

    def add(name: str, time: ComponentTime) -> None:
        if time.calls or time.seconds:
            table.add_row(
                name,
                f"{time.seconds:.4f}",
                f"{100 * time.seconds / measured.loop:.1f} %" if measured.loop else "",
                f"{1e6 * time.seconds / max(measured.steps, 1):.2f}",
                f"{time.calls:,}",
            )

    for depth, row, _ in ordered:
        add("  " * depth + component_names.label(row.component, links), sums[row.component])
        if row.component in parents and row.component in times:
            add("  " * (depth + 1) + _ITSELF, times[row.component])
    table.add_row(
        f"{measured.steps:,} steps",
        f"{measured.loop:.4f}",
        f"{100 * measured.mapped:.1f} %",
        f"{1e6 * measured.loop / max(measured.steps, 1):.2f}",
        "",
    )
    note = (
        "Measured with XLA's profiler: the captured program was compiled again and run on the "
        f"captured arrays, in {measured.seconds:.3f} s without the profiler and in "
        f"{measured.profiled:.3f} s with it. A share is the part of the loop's time in which a "
        "component's ops ran; the last line's share is assigned to components."
    )
    parts = [Text(note, style="dim")]
    if measured.profiled > 2 * measured.seconds:
        parts.append(
            Text(
                "The profiler took longer than the run itself: the shares are estimates, in which "
                "components of many small ops have too much.",
                style="yellow",
            )
        )
    return Group(table, *parts)


class _Total:
    """The costs of a component including its parts."""

    def __init__(self, rows: Sequence[ComponentCost]) -> None:
        self.step = sum((row.step for row in rows), Count())
        self.state = sum(row.state for row in rows)
        self.constants = sum(row.constants for row in rows)


def _tree(
    rows: Sequence[ComponentCost], order: object = None
) -> Iterator[tuple[int, ComponentCost, _Total]]:
    """Yield each component after its parent, with its depth and its total."""
    key = order if callable(order) else lambda _: 0
    children: dict[str, list[ComponentCost]] = {}
    names = {row.component for row in rows}
    for row in rows:
        children.setdefault(row.parent if row.parent in names else "", []).append(row)

    def subtree(row: ComponentCost) -> list[ComponentCost]:
        parts = children.get(row.component, ())
        return [row, *(inner for part in parts for inner in subtree(part))]

    def visit(parent: str, depth: int) -> Iterator[tuple[int, ComponentCost, _Total]]:
        for row in sorted(children.get(parent, ()), key=key):
            yield depth, row, _Total(subtree(row))
            yield from visit(row.component, depth + 1)

    yield from visit("", 0)


def _sums(
    rows: Sequence[ComponentCost], times: dict[str, ComponentTime]
) -> dict[str, ComponentTime]:
    """Add up the times of each component and its parts."""
    parents = {row.component: row.parent for row in rows}
    sums = {name: ComponentTime(component=name, seconds=0.0) for name in parents}
    for name, time in times.items():
        component = name
        while component:
            so_far = sums[component]
            sums[component] = ComponentTime(
                component=component,
                seconds=so_far.seconds + time.seconds,
                shared=so_far.shared + time.shared,
                calls=so_far.calls + time.calls,
            )
            component = parents.get(component, "")
    return sums


def _si(value: float) -> str:
    """Format a number in about four characters: 12.3k."""
    if not value:
        return ""
    for unit in ("", "k", "M", "G", "T"):
        if abs(value) < 999.5:
            return f"{value:.{0 if not unit or abs(value) >= 99.95 else 1}f}{unit}"
        value /= 1000
    return f"{value:.1f}P"


def replay_table(replay: Replay) -> Group:
    """Return a replay as a table with a line for each result, the verdict, and the seconds."""
    titles = ("result", "shape", "dtype", "compared")
    table = plain_table(*(Column(title, overflow="fold") for title in titles))
    for result in replay.compared:
        array = replay.results[result.name]
        shape = "x".join(map(str, array.shape)) or "scalar"
        table.add_row(result.name, shape, str(array.dtype), _comparison(result))
    return Group(table, _verdict(replay), Text(_seconds(replay)))


def _comparison(result: Compared) -> Text:
    """Return the comparison of a result as text."""
    if result.equal:
        return Text("equal")
    if result.equal is None:
        return Text("not compared", style="dim")
    difference = result.difference
    if difference is None:
        return Text("differs: its digest differs", style="red")
    elements = "1 element" if difference.elements == 1 else f"{difference.elements} elements"
    text = f"differs in {elements}, by at most {difference.largest:.3g}"
    if difference.ulps is not None:
        text += (
            f" ({difference.ulps} ulp)" if difference.ulps == 1 else f" ({difference.ulps} ulps)"
        )
    if difference.nans:
        text += f", {difference.nans} times NaN in only one of the two"
    return Text(text, style="red")


def _verdict(replay: Replay) -> Text:
    compared, verdict = replay.compared, replay.verdict
    equal, unequal = (sum(result.equal is value for result in compared) for value in (True, False))
    text = f"{equal} of {len(compared)} results are the simulation's, bit for bit"
    if unequal:
        text = f"{text}; {unequal} differ. {verdict.outcome.capitalize()}: {verdict.reason}"
    elif equal < len(compared):
        text = f"{text}; {len(compared) - equal} were not compared"
    return Text(f"{text}.", style=_STYLES[verdict.outcome])


_STYLES = {
    "bit for bit": "bold green",
    "agrees": "green",
    "undecided": "yellow",
    "failed": "bold red",
}


def _seconds(replay: Replay) -> str:
    runs = replay.run_seconds
    text = f"seconds: {replay.compile_seconds:.3f} to compile, {runs[0]:.4f} to run"
    if len(runs) > 1:
        later = runs[1:]
        text += f", then {statistics.median(later):.4f} (median of {len(later)})"
    if replay.direct:
        text += "; XLA called BrainPy's kernels directly, unlike in the simulation"
    return text
