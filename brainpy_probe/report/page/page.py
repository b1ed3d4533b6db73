"""Writes the report: one HTML file, which loads nothing else and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from brainpy_probe.analysis.ranks import Ranks
from brainpy_probe.format.manifest.program_records import KIND_NAMES
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.output import visible_json
from brainpy_probe.quantities import ranges, seconds
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Limits
from brainpy_probe.report.page import sections
from brainpy_probe.report.page.html import Html, join, table, tag
from brainpy_probe.report.page.program import ProgramPart, parts_html, program_part

__all__ = ["page_of", "report_page", "resource"]

# Without a choice of programs, the maximum number of programs that a page describes, each of which
# takes about a second to read and compile, and of their characters together: a larger page opens
# slowly, and is too large to send to others.
_MAX_PROGRAMS = 20
_MAX_CHARACTERS = 2_000_000
# Maximum number of rows in the table of the other programs.
_MAX_ROWS = 400
# In the script element, "<" could end the element.
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def report_page(
    capture: Capture,
    *,
    limits: Limits,
    compile_seconds: float,
    programs: Sequence[int] | None = None,
    step: Callable[[str, int, int], None] = lambda *_: None,
) -> str:
    """Return the report of a capture as HTML.

    Parameters
    ----------
    capture : Capture
        The capture.
    limits : Limits
        The limits of time and memory for reading a program.
    compile_seconds : float
        How long a program may be compiled for its optimised HLO.
    programs : sequence of int, optional
        The numbers of the programs to describe. By default, the programs whose calls took the most
        time, up to 20 programs and 2 MB.
    step : callable
        Called with the next task, the number of finished programs, and the number of all programs.
    """
    manifest = capture.manifest
    known = capture.programs
    spent = _seconds_of_programs(manifest)
    most = sorted(spent, key=lambda n: -spent[n])[:_MAX_PROGRAMS]
    chosen = dict.fromkeys(most if programs is None else programs)
    compiling = Limits(compile_seconds, limits.memory)
    parts: dict[int, ProgramPart] = {}
    for done, number in enumerate(chosen):
        part = program_part(
            known[number].within(limits),
            known[number].within(compiling),
            _module_of(capture, known[number]),
            lambda what, done=done: step(what, done, len(chosen)),  # type: ignore[misc]
        )
        size = part.size + sum(other.size for other in parts.values())
        if programs is None and parts and size > _MAX_CHARACTERS:
            break
        parts[number] = part
    left = [number for number in range(len(known)) if number not in parts]
    ordered = [parts[number] for number in sorted(parts)]
    return _page(capture.path.name, manifest, capture.ranks, ordered, left)


def _seconds_of_programs(manifest: Manifest) -> dict[int, float]:
    """Return the seconds of the calls of each program."""
    spent = dict.fromkeys(range(len(manifest.programs)), 0.0)
    for call in manifest.calls:
        if call.program in spent:
            wall = call.native.wall if call.repeats is None else call.repeats.seconds
            spent[call.program] += wall or 0.0
    return spent


def _module_of(capture: Capture, program: Program) -> CompiledModule | None:
    """Return the module that ran a program: its first call's only one with optimised HLO."""
    calls = (call for call in capture.calls if call.record.program == program.record.index)
    first = next(calls, None)
    modules = () if first is None else first.modules
    found = [module for module in modules if "hlo" in module.paths]
    return found[0] if len(found) == 1 else None


def _page(
    name: str,
    manifest: Manifest,
    ranks: Ranks | None,
    parts: Sequence[ProgramPart],
    left: Sequence[int],
) -> str:
    """Return the page with the sections of all described programs."""
    body = join(
        [
            _contents(),
            sections.head(name, manifest),
            sections.calls(manifest),
            sections.compilations(manifest),
            *([] if ranks is None else [sections.ranks(ranks)]),
            tag("div", parts_html(parts), id="programs"),
            *([_others(manifest, left)] if left else []),
            sections.files(manifest),
            sections.environment(manifest),
        ]
    )
    script = "".join(map(resource, ("pane.js", "page.js", "sortable.js")))
    data = [part.data for part in parts]
    return page_of(name, body, data, resource("page.css"), script)


def _others(manifest: Manifest, left: Sequence[int]) -> Html:
    """Return a table of the programs that the page does not describe, and how to show them."""
    calls: dict[int | None, list[int]] = {}
    for call in manifest.calls:
        calls.setdefault(call.program, []).append(call.index)
    spent = _seconds_of_programs(manifest)
    rows = [
        (
            record.index,
            record.name,
            KIND_NAMES[record.kind],
            ranges(calls.get(record.index, ())),
            seconds(spent[record.index]),
            len(record.arguments),
            len(record.results),
        )
        for record in (manifest.programs[number] for number in left[:_MAX_ROWS])
    ]
    are = "1 program is" if len(left) == 1 else f"{len(left)} programs are"
    first = left[:2]
    command = f"brainpy-probe report RUN{''.join(f' --program {number}' for number in first)}"
    return tag(
        "section",
        tag("h2", "Other programs"),
        tag(
            "p",
            f"{are} not described on this page. Describe them by ",
            tag("code", command),
            " or ",
            tag("code", f"cap.report(programs={list(first)})"),
            ".",
        ),
        table(
            ("program", "name", "is", "calls", "seconds", "arguments", "results"), rows, figures=3
        ),
        id="others",
    )


def page_of(
    name: str, body: Html, content: Any, style: str, script: str, *, images: str = "'none'"
) -> str:
    """Return a page that loads nothing else and runs only its own script.

    Parameters
    ----------
    name : str
        The capture's name, for the title.
    body : Html
        The page.
    content : Any
        The data for the script, as JSON in the element ``data``.
    style, script : str
        The style and the script.
    images : str
        The allowed sources of images, as in a Content-Security-Policy.
    """
    data = _data(content)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        f"img-src {images}; base-uri 'none'; form-action 'none'"
    )
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", f"{name}: brainpy-probe"),
            Html(f"<style>{style}</style>"),
        ]
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}\n'
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _contents() -> Html:
    places = ("calls", "compiles", "programs", "files", "environment")
    return tag("nav", *(tag("a", place, href=f"#{place}") for place in places))


def resource(name: str) -> str:
    """Return a file of this package: a style or a script."""
    return files("brainpy_probe.report.page").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return the hash by which a Content-Security-Policy allows an element."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _data(content: Any) -> str:
    """Return JSON that no HTML parser reads as markup."""
    return visible_json(msgspec.json.encode(content).decode()).translate(_ESCAPED)
