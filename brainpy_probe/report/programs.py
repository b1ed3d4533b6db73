"""The parts of the report about one program: picture, costs, the three panes, arguments."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from brainpy_probe.analysis.explanation.page import derivative_line
from brainpy_probe.analysis.explanation.records import Equation, Explanation
from brainpy_probe.analysis.listing import Listing
from brainpy_probe.characters import in_one_line, visible
from brainpy_probe.errors import ProbeError
from brainpy_probe.format import component_names
from brainpy_probe.format.cost_records import Costs, Measured
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.quantities import amount, duration, size
from brainpy_probe.reader.program import Program
from brainpy_probe.report.colours import Colours
from brainpy_probe.report.html import Html, join, table, tag
from brainpy_probe.report.icicle import icicle
from brainpy_probe.report.model import Model, group_of, model
from brainpy_probe.report.svg import draw_model

__all__ = ["ProgramPart", "parts_html", "program_part"]

_T = TypeVar("_T")
_MOST_ROWS = 3000


@dataclass
class ProgramPart:
    """A program in the report.

    Attributes
    ----------
    html : Html
        Its sections.
    data : dict
        What the page's script needs: the components with their colours, and the texts.
    """

    html: Html
    data: dict[str, Any]


@dataclass
class _Read:
    """What was read of a program; None for what could not be read, and why."""

    record: ProgramRecord
    costs: Costs | None = None
    drawn: Model | None = None
    listing: Listing | None = None
    problems: list[str] = field(default_factory=list)

    def attempt(self, what: str, make: Callable[[], _T]) -> _T | None:
        """Return what a task gives; if it fails, note why."""
        try:
            return make()
        except ProbeError as error:
            self.problems.append(f"{what}: {error}")
            return None


def program_part(
    program: Program, compiles_within: Program, step: Callable[[str], None]
) -> ProgramPart:
    """Return a program's sections.

    Parameters
    ----------
    program : Program
        The program.
    compiles_within : Program
        The same program, with the limits for compiling it.
    step : callable
        Called with what is done next.
    """
    record = program.record
    read = _Read(record)
    step(f"{program.name}: costs")
    costs = read.costs = read.attempt("There are no costs", lambda: program.costs)
    if costs is not None:
        step(f"{program.name}: picture")
        read.drawn = read.attempt(
            "There is no picture",
            lambda: model(record, program.dataflow, costs, record.measured),
        )
    step(f"{program.name}: texts")
    read.listing = read.attempt("There is no optimised HLO", compiles_within.listing)
    if read.listing is None:
        read.listing = read.attempt("There are no texts", lambda: program.listing(compiles=False))
    if read.listing is not None:
        read.problems += read.listing.problems
    return _part(read)


def _part(read: _Read) -> ProgramPart:
    record = read.record
    components = list(record.components)
    known = dict.fromkeys(components)
    if read.costs is not None:
        known.update(dict.fromkeys(row.component for row in read.costs.components))
    if read.listing is not None:
        known.update(dict.fromkeys(filter(None, read.listing.components)))
    names = list(known)
    groups = [group_of(name, record.components) for name in names]
    colours = Colours(list(dict.fromkeys(g for g in groups if g in record.components)))
    fills = {name: colours.fill(group) for name, group in zip(names, groups, strict=True)}
    sections = [
        *(tag("p", problem, class_="warn") for problem in read.problems),
        _picture(read.drawn, colours),
        _costs(record, read.costs, fills),
        _panes(record),
        _arguments(record),
    ]
    kind = "the whole run" if record.kind == "loop" else "one step"
    html = tag(
        "div",
        tag("h2", f"Program {record.index}: {record.name}, {kind}"),
        *sections,
        class_="program",
        data_program=record.index,
    )
    data = {
        "number": record.index,
        "components": [in_one_line(name) for name in names],
        "colours": list(fills.values()),
        "texts": _texts(read.listing, names, record),
    }
    return ProgramPart(html, data)


def _picture(drawn: Model | None, colours: Colours) -> Html:
    if drawn is None:
        return Html()
    said = (
        "Arrows: the values that flow in one step, with dtype and shape. A larger box has a larger "
        f"share {drawn.unit}. Click a component to see it in the other parts."
    )
    svg = Html(draw_model(drawn, colours, standalone=False))
    return tag(
        "section",
        tag("h3", "Model"),
        tag("p", said, class_="note"),
        tag("div", svg, class_="model wide"),
    )


# --- Costs ----------------------------------------------------------------------------------------


def _costs(record: ProgramRecord, costs: Costs | None, fills: Mapping[str, str]) -> Html:
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
    for number, (kind, values, say) in enumerate(kinds):
        switch.append(
            tag(
                "button", kind, type="button", data_kind=kind,
                aria_pressed="true" if number == 0 else "false",
            )
        )  # fmt: skip
        drawn = icicle(costs.components, values, lambda name: fills.get(name, "#d9d9de"), say)
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
        _cost_table(costs, measured),
        *(tag("p", note, class_="note") for note in notes),
        class_="costs",
    )


def _cost_table(costs: Costs, measured: Measured | None) -> Html:
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

    say: list[Callable[[float], str]] = [
        *([duration] if measured is not None else []),
        lambda n: f"{n:,.0f}", amount, amount, size, size, size,
    ]  # fmt: skip

    def subtree(name: str) -> list[str]:
        return [name, *(inner for child in children.get(name, ()) for inner in subtree(child))]

    def line(label: str, name: str, kind: str, values: Sequence[float], depth: int) -> Html:
        cells = [
            tag("td", show(value) if value else "", class_="n", data_v=value)
            for show, value in zip(say, values, strict=True)
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
    return table(titles, list(visit("", 0))[:_MOST_ROWS], figures=len(titles) - 2)


# --- The panes ------------------------------------------------------------------------------------


def _panes(record: ProgramRecord) -> Html:
    titles = {
        "eq": ("Equations", "what each state becomes in a step"),
        "ir": ("StableHLO", "the program, one op on each line"),
        "hlo": ("Optimised HLO", "compiled for this page; a fusion has the lines of its ops"),
    }
    panes = [
        tag(
            "div",
            tag("h4", title, tag("small", f" {said}")),
            tag(
                "div", class_="scroll", tabindex=0, role="listbox", aria_label=title,
                data_pane=name,
            ),
            class_="pane",
        )
        for name, (title, said) in titles.items()
    ]  # fmt: skip
    label = f"search the texts of program {record.index}"
    return tag(
        "section",
        tag("h3", "From the equation to the code"),
        tag(
            "p",
            "Click a line to see its counterparts in the other texts; arrow keys move, Escape "
            "clears. The colour is the component's.",
            class_="note",
        ),
        tag(
            "p",
            tag("input", type="search", placeholder="search", aria_label=label),
            tag("output", aria_live="polite"),
            class_="search",
        ),
        tag("div", *panes, class_="panes"),
        class_="texts",
    )


def _texts(listing: Listing | None, names: Sequence[str], record: ProgramRecord) -> dict[str, Any]:
    if listing is None:
        return {}
    numbers = {name: number for number, name in enumerate(names)}

    def owners(components: Sequence[str]) -> list[int]:
        return [numbers.get(name, -1) for name in components]

    texts = {
        "ir": _packed(
            lines=[visible(line) for line in listing.lines],
            owners=owners(listing.components),
            starts=listing.starts,
        )
    }
    if listing.hlo is not None:
        texts["hlo"] = _packed(
            lines=[visible(line) for line in listing.hlo.lines],
            owners=owners(listing.hlo.components),
            links=listing.hlo.links,
        )
    if listing.explanation is not None:
        rows = list(_equations(listing.explanation))
        texts["eq"] = _packed(
            lines=[in_one_line(text) for text, _, _ in rows],
            owners=[numbers.get(component, -1) for _, component, _ in rows],
            links=[links for _, _, links in rows],
        )
    return texts


def _packed(**content: Any) -> str:
    """Return a text's lines, compressed: a page has megabytes of them, and shows some at a time."""
    return base64.b64encode(gzip.compress(msgspec.json.encode(content), mtime=0)).decode()


def _equations(explanation: Explanation) -> Iterator[tuple[str, str, list[int]]]:
    """Yield the lines of the explanation: text, component, and the lines of the ops, from 0."""

    def line(equation: Equation) -> tuple[str, str, list[int]]:
        found = sorted({operation.line - 1 for operation in equation.operations})
        text = f"  {equation.name} = {equation.text}"
        return text, equation.component, [number for number in found if number >= 0]

    if explanation.shared:
        yield "shared", "", []
        yield from map(line, explanation.shared)
    for component in explanation.components:
        if not component.equations and not component.derivatives:
            continue
        link = f", {' to '.join(component.links)}" if component.links else ""
        yield "", component.name, []
        yield f"{component.name}: {component.cls}{link}", component.name, []
        for derivative in component.derivatives:
            yield f"  # {derivative_line(derivative)}", component.name, []
        for equation in component.equations:
            text, _, links = line(equation)
            yield text, component.name, links
    if explanation.recorded:
        yield "", "", []
        yield "recorded in each step", component_names.MONITORS, []
        for equation in explanation.recorded:
            text, _, links = line(equation)
            yield text, component_names.MONITORS, links
    for name, meaning in explanation.functions.items():
        yield f"# {name} = {meaning}", "", []


# --- Arguments ------------------------------------------------------------------------------------


def _arguments(record: ProgramRecord) -> Html:
    entering = {(spec.role, spec.name) for spec in record.arguments}
    leaving = {(spec.role, spec.name): spec for spec in record.results}
    rows = []
    for spec in [*record.arguments, *(s for k, s in leaving.items() if k not in entering)]:
        ways = [
            *(["argument"] if (spec.role, spec.name) in entering else []),
            *(["result"] if (spec.role, spec.name) in leaving else []),
        ]
        owner = component_names.enclosing_component(spec.name, record.components)
        rows.append(
            tag(
                "tr",
                tag("td", spec.name),
                tag("td", spec.role),
                tag("td", " and ".join(ways)),
                tag("td", f"{spec.dtype}[{', '.join(map(str, spec.shape))}]"),
                tag("td", size(spec.nbytes), class_="n", data_v=spec.nbytes),
                data_component=owner,
            )
        )
    counted = f"{len(record.arguments)} arguments, {len(record.results)} results"
    titles = ("name", "role", "is", "type", "bytes")
    return tag(
        "section",
        tag("h3", "Arguments and results"),
        tag("details", tag("summary", counted), table(titles, rows[:_MOST_ROWS], figures=1)),
    )


def parts_html(parts: Sequence[ProgramPart]) -> Html:
    """Return the sections of all programs, with a choice among them if there are several."""
    if len(parts) < 2:
        return join(part.html for part in parts)
    options = [
        tag("option", f"program {part.data['number']}", value=part.data["number"]) for part in parts
    ]
    choice = tag(
        "p", tag("label", "Program ", tag("select", *options, id="program")), class_="choice"
    )
    return join([choice, *(part.html for part in parts)])
