"""The text that ``print`` shows for the package's objects."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from brainpy_probe.analysis.finding import Finding, count_phrase
from brainpy_probe.analysis.replaying.replay import Replay
from brainpy_probe.format.manifest.cost_records import Costs, Measured
from brainpy_probe.output import plain_table
from brainpy_probe.quantities import duration, seconds, size
from brainpy_probe.reader.call import PredictCall
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.report.text.details import program_details
from brainpy_probe.report.text.summary import (
    as_plain_text,
    phases_of,
    problems_of,
    summary,
    terminal_width,
    what_ran,
    why,
)
from brainpy_probe.report.text.tables import costs_table, measured_table, replay_table
from brainpy_probe.showing import Listed

__all__ = ["as_text"]


def as_text(shown: object) -> str:
    """Return the text of an object, as wide as the terminal."""
    width = terminal_width()
    return as_plain_text(_content(shown, width), width)


@singledispatch
def _content(shown: object, width: int) -> RenderableType:
    return Text(repr(shown))


@_content.register
def _(shown: Capture, width: int) -> RenderableType:
    return summary(shown.path, shown.manifest, width)


@_content.register
def _(shown: Program, width: int) -> RenderableType:
    return program_details(shown.record)


@_content.register
def _(shown: PredictCall, width: int) -> RenderableType:
    record = shown.record
    lines = [
        f"call {shown.index}: {what_ran(record)}",
        *(f"! {problem}" for problem, _ in problems_of(record)),
    ]
    program = "no program" if shown.program is None else f"program {record.program}"
    steps = "" if shown.steps is None else f", {shown.steps:,} steps"
    lines.append(f"{program}, {count_phrase(len(shown.modules), 'module', 'modules')}{steps}")
    spent = [
        f"{name} {duration(getattr(record.native, name))}"
        for name in phases_of([record])
        if getattr(record.native, name) is not None
    ]
    lines.append(f"{', '.join(spent)}; the probe added {duration(record.probe.wall)}")
    return Group(*map(Text, lines))


@_content.register
def _(shown: CompiledModule, width: int) -> RenderableType:
    record = shown.record
    of = "outside of the calls" if record.call is None else f"in call {record.call}"
    where = f", by {record.place}" if record.place else ""
    files = [f"{file.kind} {size(file.size)}" for file in record.files if file.kind != "xla"]
    dumped = sum(file.kind == "xla" for file in record.files)
    files += [f"{dumped} that XLA dumped"] if dumped else []
    origin = "read from JAX's persistent cache" if shown.from_cache else "compiled"
    lines = [
        f"module {record.index}: {record.name}, {origin} {of}{where}",
        record.why,
        f"trace {duration(record.seconds.trace)}, lower {duration(record.seconds.lower)}, "
        f"compile {duration(record.seconds.compile)}",
        f"files: {', '.join(files) or 'none'}",
    ]
    return Group(*map(Text, lines))


@_content.register
def _(shown: Costs, width: int) -> RenderableType:
    return costs_table(shown)


@_content.register
def _(shown: Measured, width: int) -> RenderableType:
    return measured_table(shown)


@_content.register
def _(shown: Replay, width: int) -> RenderableType:
    return replay_table(shown)


@_content.register
def _(shown: Finding, width: int) -> RenderableType:
    return Text(f"{shown.slug}: {shown.sentence}\n-> {shown.remedy}")


@_content.register(Listed)
def _(shown: Listed[Any], width: int) -> RenderableType:
    if all(isinstance(item, CompiledModule) for item in shown):
        return _modules(shown)
    return Group(*_separated(_content(item, width) for item in shown))


def _separated(parts: Iterable[RenderableType]) -> Iterable[RenderableType]:
    for number, part in enumerate(parts):
        if number:
            yield ""
        yield part


def _modules(modules: Iterable[CompiledModule]) -> RenderableType:
    table = plain_table(
        Column("module", justify="right"),
        *(Column(name, overflow="fold") for name in ("name", "call", "line", "why")),
        Column("seconds", justify="right"),
    )
    for module in modules:
        record = module.record
        call = "-" if record.call is None else f"{record.call}"
        spent = seconds(record.seconds.wall)
        table.add_row(f"{record.index}", record.name, call, record.place, why(record), spent)
    return table
