"""The HTML of the package's objects in a notebook, with its own style."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Iterable
from functools import singledispatch
from typing import Any

from brainpy_probe.analysis.difference.records import Difference
from brainpy_probe.analysis.explanation.records import Explanation
from brainpy_probe.analysis.finding import Finding
from brainpy_probe.analysis.replaying.replay import Replay
from brainpy_probe.characters import visible
from brainpy_probe.errors import ProbeError
from brainpy_probe.format.manifest.cost_records import ComponentCost, Costs, Measured
from brainpy_probe.format.manifest.program_records import KIND_NAMES, ProgramRecord
from brainpy_probe.quantities import amount, duration, seconds, size
from brainpy_probe.reader.call import PredictCall
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.report.page import sections
from brainpy_probe.report.page.costs import cost_table
from brainpy_probe.report.page.html import Html, join, table, tag
from brainpy_probe.report.page.icicle import icicle
from brainpy_probe.report.page.page import resource
from brainpy_probe.report.page.program import arguments_table
from brainpy_probe.report.pictures.colours import Colours
from brainpy_probe.report.pictures.model import groups_of, model
from brainpy_probe.report.pictures.svg import draw_model
from brainpy_probe.report.text.objects import as_text
from brainpy_probe.report.text.summary import phases_of, what_ran
from brainpy_probe.showing import Listed

__all__ = ["as_html"]

# Maximum number of lines of a text: a browser is slow with all lines of a large text.
_MAX_LINES = 400


def as_html(shown: object) -> str:
    """Return the HTML of an object, for light and dark notebooks."""
    name = f"brainpy-probe-{secrets.token_hex(6)}"
    script = (
        f"(() => {{ {resource('sortable.js')} document.getElementById('{name}')"
        ".querySelectorAll('table.sortable').forEach(sortable); })();"
    )
    content = _with_images(_content(shown))
    return tag(
        "div",
        Html(f"<style>{resource('notebook.css')}</style>"),
        content,
        # Without it, in a notebook that is not trusted, the tables are not sortable.
        Html(f"<script>{script}</script>" if "<table" in content else ""),
        class_="brainpy-probe",
        id=name,
    )


def _with_images(content: Html) -> Html:
    """Return HTML with its pictures as images, which follow the notebook's theme.

    In a notebook that JupyterLab does not trust, such as another user's, it removes SVG elements,
    but not their text. It keeps images.
    """
    return Html(
        re.sub(r"<svg\b.*?</svg>", lambda found: _image(found[0]), content, flags=re.DOTALL)
    )


def _image(svg: str) -> Html:
    head, _, rest = svg.partition(">")
    if "<style>" not in svg:  # drawn for a page with its own style
        head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        rest = f"<style>{resource('picture.css')}</style>{rest}"
    # An image takes the colour scheme of its element, which the style of the notebook sets.
    rest = rest.replace("</style>", f"{resource('picture-dark.css')}</style>", 1)
    encoded = base64.b64encode(f"{head}>{rest}".encode()).decode()
    width = None if " width=" in head else "100%"
    return tag("img", src=f"data:image/svg+xml;base64,{encoded}", alt="picture", width=width)


@singledispatch
def _content(shown: object) -> Html:
    return tag("pre", visible_text(as_text(shown)))


def visible_text(text: str) -> Html:
    """Return a text of several lines."""
    return Html("\n".join(join([line]) for line in visible(text).split("\n")))


def _folded(title: str, *content: Html | str) -> Html:
    return tag("details", tag("summary", title), *content)


@_content.register
def _(shown: Capture) -> Html:
    manifest = shown.manifest
    return join(
        [
            sections.head(shown.path.name, manifest),
            sections.calls(manifest),
            *([tag("h4", "Programs"), _programs(manifest.programs)] if manifest.programs else []),
            _folded("compilations by cause", sections.compilations(manifest)),
        ]
    )


def _programs(records: Iterable[ProgramRecord]) -> Html:
    rows = [
        (
            record.index,
            f"{record.name}, {KIND_NAMES[record.kind]}",
            f"{len(record.arguments)}, {size(sum(spec.nbytes for spec in record.arguments))}",
            f"{len(record.results)}, {size(sum(spec.nbytes for spec in record.results))}",
            ", ".join(file.kind for file in record.files),
            "proved" if record.fidelity.proved else "NOT proved",
        )
        for record in records
    ]
    return table(("program", "name", "arguments", "results", "files", "texts"), rows)


@_content.register
def _(shown: Program) -> Html:
    record = shown.record
    kind = KIND_NAMES[record.kind]
    parts = [tag("h4", f"Program {record.index}: {record.name}, {kind}")]
    try:
        drawn = model(record, shown.dataflow, shown.costs, record.measured)
        colours = Colours(groups_of(record.components))
        parts.append(Html(draw_model(drawn, colours)))
    except ProbeError as error:
        parts.append(tag("p", str(error), class_="warn"))
    for dialect in shown.dialects:
        try:
            parts.append(_text(dialect, shown.text(dialect)))
        except ProbeError as error:
            parts.append(tag("p", str(error), class_="bad"))
    parts.append(_folded("arguments and results", arguments_table(record)))
    parts.append(_folded("proofs and remarks", tag("pre", visible_text(as_text(shown)))))
    return join(parts)


def _text(title: str, text: str) -> Html:
    lines = text.split("\n")
    cut = f", the first {_MAX_LINES} lines" if len(lines) > _MAX_LINES else ""
    shown = visible_text("\n".join(lines[:_MAX_LINES]))
    return _folded(f"{title}: {len(lines):,} lines{cut}", tag("pre", shown))


@_content.register
def _(shown: CompiledModule) -> Html:
    parts = [tag("pre", visible_text(as_text(shown)))]
    for kind in ("hlo", "stablehlo"):
        if kind in shown.paths:
            try:
                parts.append(_text(kind, shown.text(kind)))
            except ProbeError as error:
                parts.append(tag("p", str(error), class_="bad"))
    return join(parts)


@_content.register
def _(shown: Costs) -> Html:
    moved = {
        row.component: row.step.read + row.step.written + row.custom_bytes
        for row in shown.components
    }
    return join(
        [
            tag("h4", f"Bytes that {shown.program} moves in one step"),
            _icicle(shown.components, moved, size),
            cost_table(shown, None),
            *(tag("p", note, class_="note") for note in shown.notes),
        ]
    )


def _icicle(
    rows: Iterable[ComponentCost], values: dict[str, float], show_value: Callable[[float], str]
) -> Html:
    rows = list(rows)
    names = [row.component for row in rows if not row.component.startswith(("(", "runner"))]
    colours = Colours(groups_of(dict.fromkeys(names, "")))
    return icicle(rows, values, colours.fill, show_value)


@_content.register
def _(shown: Measured) -> Html:
    rows = [
        (
            time.component,
            tag("td", duration(time.seconds), class_="n", data_v=time.seconds),
            tag("td", _share(time.seconds, shown.loop), class_="n", data_v=time.seconds),
            tag("td", f"{time.calls:,}", class_="n", data_v=time.calls),
        )
        for time in shown.components
    ]
    return join(
        [
            tag("h4", f"Measured: {amount(shown.steps)} steps, {duration(shown.loop)}"),
            table(("component itself", "time", "share", "ops run"), rows, figures=3),
            *(tag("p", note, class_="note") for note in shown.notes),
        ]
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


@_content.register
def _(shown: Replay) -> Html:
    verdict = shown.verdict
    good = verdict.outcome in ("bit for bit", "agrees")
    style = None if good else "bad" if verdict.outcome == "failed" else "warn"
    return join(
        [
            tag("p", tag("b", verdict.outcome), f": {verdict.reason}", class_=style),
            tag("pre", visible_text(as_text(shown))),
        ]
    )


@_content.register
def _(shown: Finding) -> Html:
    return sections.finding_list([shown])


@_content.register(Explanation)
@_content.register(Difference)
def _(shown: Explanation | Difference) -> Html:
    return tag("pre", visible_text(str(shown)), class_="page")


@_content.register(Listed)
def _(shown: Listed[Any]) -> Html:
    if all(isinstance(item, Finding) for item in shown):
        return sections.finding_list(shown)
    if all(isinstance(item, Program) for item in shown):
        return _programs(program.record for program in shown)
    if all(isinstance(item, PredictCall) for item in shown):
        return _calls(shown)
    if all(isinstance(item, CompiledModule) for item in shown):
        return sections.module_table([module.record for module in shown])
    return tag("pre", visible_text(as_text(shown)))


def _calls(calls: Iterable[PredictCall]) -> Html:
    calls = list(calls)
    phases = phases_of([call.record for call in calls])
    rows = [
        (
            call.index,
            what_ran(call.record),
            "" if call.steps is None else call.steps,
            "" if call.record.program is None else call.record.program,
            *(seconds(getattr(call.record.native, name)) for name in phases),
            seconds(call.record.probe.wall),
        )
        for call in calls
    ]
    titles = ("call", "what ran", "steps", "program", *(f"{name} s" for name in phases), "probe s")
    return table(titles, rows, figures=len(titles) - 2)
