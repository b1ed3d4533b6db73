"""Objects of the API have a short repr, a readable print, and HTML in a notebook."""

from __future__ import annotations

import base64
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import brainpy_probe as probe
from brainpy_probe.report.page.html import tag
from brainpy_probe.report.page.notebook import visible_text
from brainpy_probe.report.text.summary import as_plain_text
from brainpy_probe.report.text.tables import costs_table
from tests.replaying import captured


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """Return an object of each kind."""
    cap = captured("einet").capture
    program = cap.programs[0]
    return {
        "capture": cap,
        "program": program,
        "call": cap.calls[0],
        "module": cap.calls[0].modules[0],
        "costs": program.costs,
        "finding": cap.findings[0],
        "programs": cap.programs,
        "calls": cap.calls,
        "modules": cap.modules,
        "findings": cap.findings,
        "portable": program.portable,
        "replay": captured("lif").program.replay(),
    }


KINDS = [
    "capture", "program", "call", "module", "costs", "finding", "programs", "calls", "modules",
    "findings", "portable", "replay",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_has_repr_text_and_html(kind: str, objects: dict[str, Any]) -> None:
    found = objects[kind]
    items = list(found) if isinstance(found, tuple) else [found]
    assert all(re.fullmatch(r"<[A-Z][^<>\n]{3,90}>", repr(item)) for item in items)
    text = str(found)
    assert text != repr(found)
    assert max(map(len, text.splitlines())) <= 80
    html = found._repr_html_()
    assert html.startswith('<div class="brainpy-probe"')
    # Only the fixed elements of the page run or load anything.
    assert html.count("<script>") == (1 if "<table" in html else 0)
    assert not re.search(r"<(iframe|link|object|svg)|<[^>]*\son\w+=", html)
    assert all(_picture(source) for source in re.findall(r'\ssrc="([^"]*)"', html))


def _picture(source: str) -> str:
    """Return the SVG of an image, after checking that it is complete and has no script."""
    head, _, content = source.partition(",")
    assert head == "data:image/svg+xml;base64"
    picture = base64.b64decode(content).decode()
    tree = ElementTree.fromstring(picture)  # noqa: S314 - the package wrote it
    elements = {element.tag.partition("}")[2] for element in tree.iter()}
    assert elements <= {"svg", "style", "title", "g", "rect", "text", "path", "polygon"}
    return picture


def test_the_html_of_a_program_has_its_picture(objects: dict[str, Any]) -> None:
    html = objects["program"]._repr_html_()
    (source,) = re.findall(r'\ssrc="([^"]*)"', html)
    assert 'data-component="E2I"' in _picture(source)
    assert "arguments and results" in html


def test_a_large_object_has_a_short_repr(objects: dict[str, Any]) -> None:
    program = objects["program"]
    found = [program.explain(), probe.diff(objects["capture"], objects["capture"])]
    for item in found:
        assert re.fullmatch(r"<[A-Z][^<>\n]{3,90}>", repr(item))
        assert str(tag("pre", visible_text(str(item)), class_="page")) in item._repr_html_()
    others = [program.dataflow, program.listing(compiles=False), program.op_graph()]
    assert all(len(repr(item)) < 80 for item in others)


@pytest.mark.parametrize("width", [60, 100])
def test_a_narrow_table_omits_columns_and_wraps_no_name(
    width: int, objects: dict[str, Any]
) -> None:
    lines = as_plain_text(costs_table(objects["costs"]), width).splitlines()
    assert max(map(len, lines)) <= width
    names = {row.component for row in objects["costs"].components}
    assert names <= {line.split("  ")[0].rstrip("*") for line in map(str.lstrip, lines)}
    assert ("A wider terminal shows ops, B const." in lines) == (width == 60)


def test_pictures_are_dark_in_a_dark_notebook(objects: dict[str, Any]) -> None:
    # An image inherits the colour scheme of its element.
    html = objects["program"]._repr_html_()
    (source,) = re.findall(r'\ssrc="([^"]*)"', html)
    assert "@media (prefers-color-scheme: dark)" in _picture(source)
    dark, *_ = re.findall(r"([^{}]*)\{\s*color-scheme: dark;", html)
    assert {".vscode-dark", "[data-jp-theme-light"} <= set(re.findall(r"[.\[][\w-]+", dark))


def test_calls_are_a_tuple(objects: dict[str, Any]) -> None:
    calls = objects["calls"]
    assert isinstance(calls, tuple)
    assert calls[:1] == (calls[0],)
    assert str(probe.load(objects["capture"].path).calls[0]) == str(calls[0])


@pytest.mark.browser
def test_a_cell_is_captured_by_the_magic(tmp_path: Path) -> None:
    nbformat, nbclient = import_module("nbformat"), import_module("nbclient")
    cells = [
        "%load_ext brainpy_probe\nimport brainpy as bp\n"
        "runner = bp.DSRunner(bp.neurons.LIF(3), inputs=('input', 20.), progress_bar=False)",
        f"%%probe --dialect mhlo --out {tmp_path}\nrunner.run(1.)",
        "print(cap.text[:7])",
        "%%probe --nothing\n1",
        "%%probe --out /proc/none\n1",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": "."}}).execute()
    _, ran, printed, refused, unwritable = (cell.outputs for cell in notebook.cells)
    html = ran[-1]["data"]["text/html"]
    assert "LIF" in html
    assert "In[2]:2" in html
    (page,) = tmp_path.glob("*.html")
    assert page.name in html
    assert printed[0]["text"].strip() == "module"
    assert "--nothing" in refused[0]["text"]
    (line,) = unwritable
    assert line["text"].startswith("%%probe: No capture can be written in /proc/none")
