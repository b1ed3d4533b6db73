"""The three texts of a program in the report: equations, StableHLO, optimised HLO."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from brainpy_probe.analysis.explanation.printing.page import derivative_line
from brainpy_probe.analysis.explanation.records import Equation, Explanation
from brainpy_probe.analysis.listing import HloListing, Listing
from brainpy_probe.characters import in_one_line, visible
from brainpy_probe.format import component_names
from brainpy_probe.report.page.html import Html, tag

__all__ = ["Form", "packed_texts", "panes"]

# The whole run, or one step of its loop.
Form: TypeAlias = Literal["run", "step"]
_FORMS: dict[Form, str] = {"run": "whole run", "step": "one step"}


def panes(number: int, hlo: Mapping[Form, str]) -> Html:
    """Return the panes of a program, which the page's script fills in.

    Parameters
    ----------
    number : int
        The program's number.
    hlo : mapping
        Descriptions of the optimised HLO of the whole run, and of one step if it is a program too.
    """
    titles = {
        "eq": ("Equations", [tag("small", " what each state becomes in a step")]),
        "ir": ("StableHLO", [tag("small", " the program, one op on each line")]),
        "hlo": (
            "Optimised HLO",
            [
                tag(
                    "small",
                    f" {description}",
                    data_of=form,
                    hidden=None if form == "run" else "hidden",
                )
                for form, description in hlo.items()
            ],
        ),
    }
    boxes = [
        tag(
            "div",
            tag("h4", title, *notes),
            tag(
                "div", class_="scroll", tabindex=0, role="listbox", aria_label=title,
                data_pane=name,
            ),
            class_="pane",
        )
        for name, (title, notes) in titles.items()
    ]  # fmt: skip
    label = f"search the texts of program {number}"
    return tag(
        "section",
        tag("h3", "From the equation to the code"),
        tag(
            "p",
            "Click a line to see its counterparts in the other texts; arrow keys move, Escape "
            "clears. The colour is the component's.",
            class_="note",
        ),
        *([_switch(hlo)] if len(hlo) > 1 else []),
        tag(
            "p",
            tag("input", type="search", placeholder="search", aria_label=label),
            tag("output", aria_live="polite"),
            class_="search",
        ),
        tag("div", *boxes, class_="panes"),
        class_="texts",
    )


def _switch(forms: Iterable[Form]) -> Html:
    buttons = [
        tag("button", _FORMS[form], data_form=form, aria_pressed=str(form == "run").lower())
        for form in forms
    ]
    return tag("p", *buttons, class_="switch")


def packed_texts(
    listing: Listing | None, ran: HloListing | None, names: Sequence[str]
) -> dict[str, str]:
    """Return the texts, compressed; components are positions in ``names``."""
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
    hlo = listing.hlo or ran
    if hlo is not None:
        texts["hlo"] = _packed(
            lines=[visible(line) for line in hlo.lines],
            owners=owners(hlo.components),
            links=hlo.links,
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
    """Return a text's lines, compressed: a page has megabytes of text, and shows little at once."""
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
