"""Writes the report: one HTML file, which loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from brainpy_probe.analysis.ranks import Ranks
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.output import visible_json
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Limits
from brainpy_probe.report.page import sections
from brainpy_probe.report.page.html import Html, join, tag
from brainpy_probe.report.page.program import ProgramPart, parts_html, program_part

__all__ = ["page_of", "report_page", "resource"]

# The first programs are described; a page of many programs would be large.
_MOST_PROGRAMS = 8
# In the script element, "<" could end the element.
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def report_page(
    capture: Capture,
    *,
    limits: Limits,
    compile_seconds: float,
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
    step : callable
        Called with what is done next, and with the number of programs that are done, and of all.
    """
    manifest = capture.manifest
    programs = capture.programs[:_MOST_PROGRAMS]
    compiling = Limits(compile_seconds, limits.memory)
    parts = [
        program_part(
            program.within(limits),
            program.within(compiling),
            _module_of(capture, program),
            lambda what, done=number: step(what, done, len(programs)),  # type: ignore[misc]
        )
        for number, program in enumerate(programs)
    ]
    left = len(capture.programs) - len(programs)
    return _page(capture.path.name, manifest, capture.ranks, parts, left)


def _module_of(capture: Capture, program: Program) -> CompiledModule | None:
    """Return the module that ran a program: the only one of its first call with optimised HLO."""
    calls = (call for call in capture.calls if call.record.program == program.record.index)
    first = next(calls, None)
    modules = () if first is None else first.modules
    found = [module for module in modules if "hlo" in module.paths]
    return found[0] if len(found) == 1 else None


def _page(
    name: str, manifest: Manifest, ranks: Ranks | None, parts: Sequence[ProgramPart], left: int
) -> str:
    body = join(
        [
            _contents(),
            sections.head(name, manifest),
            sections.calls(manifest),
            sections.compilations(manifest),
            *([] if ranks is None else [sections.ranks(ranks)]),
            tag("div", parts_html(parts), id="programs"),
            *(
                [tag("p", f"{left} more programs are not described.", class_="warn")]
                if left
                else []
            ),
            sections.files(manifest),
            sections.environment(manifest),
        ]
    )
    script = resource("page.js") + resource("sortable.js")
    data = [part.data for part in parts]
    return page_of(name, body, data, resource("page.css"), script)


def page_of(
    name: str, body: Html, content: Any, style: str, script: str, *, images: str = "'none'"
) -> str:
    """Return a page that loads nothing and runs only its own script.

    Parameters
    ----------
    name : str
        The capture's name, for the title.
    body : Html
        The page.
    content : Any
        What the script reads, as JSON, from the element ``data``.
    style, script : str
        The style and the script.
    images : str
        Where images may come from, in the words of a Content-Security-Policy.
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
