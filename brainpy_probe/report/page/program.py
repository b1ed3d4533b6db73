"""The sections of the report about one program: picture, costs, the three texts, arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from brainpy_probe.analysis.listing import HloListing, Listing, ran_listing
from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import ProbeError
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.cost_records import Costs
from brainpy_probe.format.manifest.program_records import KIND_NAMES, ProgramRecord
from brainpy_probe.quantities import shortened, size
from brainpy_probe.reader.derived_records import step_record
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.report.page.costs import cost_section
from brainpy_probe.report.page.html import Html, join, table, tag
from brainpy_probe.report.page.panes import Form, packed_texts, panes
from brainpy_probe.report.pictures.colours import Colours
from brainpy_probe.report.pictures.model import Model, groups_of, model
from brainpy_probe.report.pictures.svg import draw_model

__all__ = ["ProgramPart", "arguments_table", "parts_html", "program_part"]

_T = TypeVar("_T")
_MAX_ROWS = 3000


@dataclass
class ProgramPart:
    """The sections of the report about one program.

    Attributes
    ----------
    html : Html
        Its sections.
    data : dict
        The data for the page's script: the components with their colours, and the texts.
    """

    html: Html
    data: dict[str, Any]

    @property
    def size(self) -> int:
        """The number of characters that it adds to the page."""
        packed = (text for texts in self.data["forms"].values() for text in texts.values())
        return len(self.html) + sum(map(len, packed))


@dataclass
class _Texts:
    """The texts of a program, or of one step of it.

    Attributes
    ----------
    listing : Listing or None
        The texts; None if they could not be read.
    ran : HloListing or None
        The HLO of the module that ran, if the program could not be compiled.
    description : str
        A description of the optimised HLO.
    """

    listing: Listing | None
    ran: HloListing | None = None
    description: str = "compiled for this page; a fusion has the lines of its ops"

    def components(self) -> Iterator[str]:
        """Yield the components of the lines."""
        for lines in (self.listing, self.ran):
            if lines is not None:
                yield from filter(None, lines.components)


@dataclass
class _Read:
    """The parts of a program that could be read; None for the others, and the reasons."""

    record: ProgramRecord
    costs: Costs | None = None
    drawn: Model | None = None
    forms: dict[Form, _Texts] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def attempt(self, what: str, make: Callable[[], _T]) -> _T | None:
        """Return the result of a task; if the task fails, record why."""
        try:
            return make()
        except ProbeError as error:
            self.problems.append(f"{what}: {error}")
            return None


def program_part(
    program: Program,
    compiles_within: Program,
    ran: CompiledModule | None,
    step: Callable[[str], None],
) -> ProgramPart:
    """Return a program's sections.

    Parameters
    ----------
    program : Program
        The program.
    compiles_within : Program
        The same program, with the limits for compiling it.
    ran : CompiledModule or None
        The module that ran, if it is known. It is shown if the program can't be compiled.
    step : callable
        Called with the next task.
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
    texts = read.forms["run"] = _Texts(_listing(read, program, compiles_within))
    if texts.listing is not None and texts.listing.hlo is None and ran is not None:
        texts.ran = read.attempt("The module that ran", lambda: ran_listing(ran.text("hlo")))
        texts.description = (
            f"module {ran.record.index}, {ran.name}, as it ran, coloured by JAX's locations; "
            "not linked by lines"
        )
    one, compiles_one = program.step, compiles_within.step
    if one is not None and compiles_one is not None:
        if record.step is not None and not record.step.files:
            notes = " ".join(one.fidelity.notes)
            read.problems.append(f"There is no program of one step. {notes}".rstrip())
        else:
            step(f"{program.name}: one step")
            read.forms["step"] = _Texts(_listing(read, one, compiles_one, "One step: "))
    return _part(read)


def _listing(
    read: _Read, program: Program, compiles_within: Program, which: str = ""
) -> Listing | None:
    """Return the texts of a program, with its optimised HLO if it can be compiled."""
    found = read.attempt(f"{which}There is no optimised HLO", compiles_within.listing)
    if found is None:
        found = read.attempt(f"{which}There are no texts", lambda: program.listing(compiles=False))
    if found is not None:
        read.problems += [f"{which}{problem}" for problem in found.problems]
    return found


def _part(read: _Read) -> ProgramPart:
    """Return the sections of a program from the data that was read."""
    record = read.record
    components = list(record.components)
    known = dict.fromkeys(components)
    if read.costs is not None:
        known.update(dict.fromkeys(row.component for row in read.costs.components))
    for texts in read.forms.values():
        known.update(dict.fromkeys(texts.components()))
    names = list(known)
    colours = Colours(groups_of(record.components))
    fills = {name: colours.fill(name) for name in names}
    sections = [
        *([_step_note(record)] if "step" in read.forms else []),
        *(tag("p", problem, class_="warn") for problem in read.problems),
        _picture(read.drawn, colours),
        cost_section(record, read.costs, fills),
        panes(record.index, {form: texts.description for form, texts in read.forms.items()}),
        _arguments(record),
    ]
    kind = KIND_NAMES[record.kind]
    html = tag(
        "div",
        tag("h2", f"Program {record.index}: {record.name}, {kind}"),
        *sections,
        class_="program",
        data_program=record.index,
    )
    data = {
        "number": record.index,
        "name": in_one_line(shortened(record.name, 40)),
        "components": [in_one_line(name) for name in names],
        "colours": list(fills.values()),
        "forms": {
            form: packed_texts(texts.listing, texts.ran, names)
            for form, texts in read.forms.items()
        },
    }
    return ProgramPart(html, data)


def _step_note(record: ProgramRecord) -> Html:
    return tag(
        "p",
        "One step of its loop was captured as a program too, ",
        tag("code", f"cap.programs[{record.index}].step"),
        ": the texts below are shown for the whole run or for one step.",
        class_="note",
    )


def _picture(drawn: Model | None, colours: Colours) -> Html:
    if drawn is None:
        return Html()
    caption = (
        "Arrows: the values that flow in one step, with dtype and shape. A larger box has a larger "
        f"share {drawn.unit}. Click a component to see it in the other parts."
    )
    svg = Html(draw_model(drawn, colours, standalone=False))
    return tag(
        "section",
        tag("h3", "Model"),
        tag("p", caption, class_="note"),
        tag("div", svg, class_="model wide"),
    )


# --- Arguments ------------------------------------------------------------------------------------


def arguments_table(record: ProgramRecord) -> Html:
    """Return a table of a program's arguments and results."""
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
    titles = ("name", "role", "is", "type", "bytes")
    return table(titles, rows[:_MAX_ROWS], figures=1)


def _arguments(record: ProgramRecord) -> Html:
    tables = [_folded("", record)]
    if record.step is not None and record.step.files:
        tables.append(_folded("one step: ", step_record(record, record.step)))
    return tag("section", tag("h3", "Arguments and results"), *tables)


def _folded(which: str, record: ProgramRecord) -> Html:
    counted = f"{which}{len(record.arguments)} arguments, {len(record.results)} results"
    return tag("details", tag("summary", counted), arguments_table(record))


def parts_html(parts: Sequence[ProgramPart]) -> Html:
    """Return the sections of all programs, with a selector if there are several."""
    if len(parts) < 2:
        return join(part.html for part in parts)
    options = [
        tag("option", f"{part.data['number']}: {part.data['name']}", value=part.data["number"])
        for part in parts
    ]
    choice = tag(
        "p", tag("label", "Program ", tag("select", *options, id="program")), class_="choice"
    )
    return join([choice, *(part.html for part in parts)])
