"""The report: its content, and that a hostile capture cannot inject code into it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import brainpy_probe as probe
from brainpy_probe.analysis.listing import ran_listing
from brainpy_probe.format.manifest.common_records import Failure
from brainpy_probe.reader.capture import Capture
from brainpy_probe.report.api import picture
from brainpy_probe.report.page.html import Html, table, tag
from tests.replaying import captured
from tests.sharing import made_once

HOSTILE = (
    '</script><script>fetch("http://x.invalid")</script><img src=x onerror=alert(1)>\u202e\x1b'
)


def einet_report() -> Path:
    """Return the report of EINet, written once per test run."""

    def write(folder: Path) -> Path:
        return captured("einet").capture.report(folder / "einet.html")

    return made_once("report-einet", write)


def hostile_report() -> Path:
    """Return the report of a capture whose names and messages are markup, written once per run."""
    cap = captured("lif").capture
    manifest = cap.manifest
    failure = Failure(kind=HOSTILE, message=HOSTILE, traceback=HOSTILE)
    calls = [
        replace(call, model=HOSTILE, runner=HOSTILE, error=failure, notes=(HOSTILE,))
        for call in manifest.calls
    ]
    modules = [
        replace(module, name=HOSTILE, why=HOSTILE, place=HOSTILE, function=HOSTILE)
        for module in manifest.modules
    ]
    programs = [
        replace(
            program,
            name=HOSTILE,
            components={HOSTILE: HOSTILE, **program.components},
            arguments=tuple(replace(a, name=a.name + HOSTILE) for a in program.arguments),
            step=replace(
                program.step,
                arguments=tuple(replace(a, name=a.name + HOSTILE) for a in program.step.arguments),
            ),
        )
        for program in manifest.programs
        if program.step is not None
    ]
    environment = replace(manifest.environment, host=HOSTILE, versions={HOSTILE: HOSTILE})
    altered = replace(
        manifest, calls=tuple(calls), modules=tuple(modules), programs=tuple(programs),
        environment=environment,
    )  # fmt: skip

    def write(folder: Path) -> Path:
        return Capture(cap.path, altered).report(folder / "hostile.html")

    return made_once("report-hostile", write)


class _Elements(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))


def _page_data(page: str) -> Any:
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(content)


def _unpack(packed: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(packed)))


@pytest.fixture(scope="module")
def page() -> str:
    """Return EINet's report."""
    return einet_report().read_text()


def test_the_report_is_one_small_file_that_loads_nothing(page: str) -> None:
    assert len(page) < 300_000
    policy = next(
        values["content"]
        for name, values in _Elements(page).found
        if name == "meta" and values.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for name, values in _Elements(page).found:
        assert name not in ("img", "iframe", "link", "object", "embed")
        assert not {"src", "style"} & values.keys()
        assert not [key for key in values if key.startswith("on")]
        assert (values.get("href") or "#").startswith("#")


def test_the_report_has_each_section(page: str) -> None:
    titles = re.findall(r"<h[123]>(.*?)</h[123]>", page)
    order = ["EINet", "Calls", "Compilations by cause", "Model", "Costs by component",
             "From the equation to the code", "Arguments and results", "Files",
             "Environment"]  # fmt: skip
    assert [title for title in titles if title in order] == order
    slugs = {finding.slug for finding in captured("einet").capture.findings}
    assert slugs
    assert all(f"<b>{slug}</b>" in page for slug in slugs)
    assert "tests/networks.py:" in page


@pytest.mark.parametrize("form", ["run", "step"])
def test_an_equation_is_connected_with_its_hlo(page: str, form: str) -> None:
    (program, *_) = _page_data(page)
    texts = {kind: _unpack(packed) for kind, packed in program["forms"][form].items()}
    eq, ir, hlo = texts["eq"], texts["ir"], texts["hlo"]
    (number,) = (n for n, line in enumerate(eq["lines"]) if "E2E.output =" in line)
    lines = set(eq["links"][number])
    assert {ir["lines"][line].split("stablehlo.")[1].split()[0] for line in lines} == {
        "subtract", "multiply",
    }  # fmt: skip
    fused = [n for n, links in enumerate(hlo["links"]) if lines & set(links)]
    assert any("multiply(" in hlo["lines"][n] for n in fused)
    assert any("fusion(" in hlo["lines"][n] for n in fused)
    components = program["components"]
    owners = {components[ir["owners"][line]] for line in lines}
    assert owners == {"E2E.output"}
    # The program of one step has no loop.
    assert any("stablehlo.while" in line for line in ir["lines"]) == (form == "run")


@pytest.mark.parametrize("name", ["numpy-weights", "reservoir"])
def test_each_product_of_the_hlo_is_connected(name: str) -> None:
    # XLA of jaxlib 0.12 replaces some products of matrices by products without a location.
    found = captured(name).program.listing()
    assert found.hlo is not None
    products = {n for n, line in enumerate(found.lines) if "stablehlo.dot_general " in line}
    pairs = zip(found.hlo.lines, found.hlo.links, strict=True)
    links = [links for line, links in pairs if " dot(" in line]
    assert sorted(links) == [(product,) for product in sorted(products)]


def test_a_component_has_one_colour_everywhere(page: str) -> None:
    drawn = re.compile(r'data-component="E2E" *[^>]*>.*?fill="(#\w+)"', re.DOTALL)
    own, *_ = drawn.findall(picture(captured("einet").program, "svg").decode())
    assert set(drawn.findall(page)) == {own}


def test_the_compiled_module_has_components() -> None:
    (module, *_) = captured("einet").call.modules
    found = ran_listing(module.text("hlo"))
    named = {c: line for c, line in zip(found.components, found.lines, strict=True) if c}
    assert {"E", "E2E.syn", "I2I.output"} <= set(named)
    assert any("fusion(" in line for line in named.values())
    assert not any("metadata=" in line for line in found.lines)


def test_a_hostile_capture_adds_no_element_to_its_report() -> None:
    page = hostile_report().read_text()
    names = [name for name, _ in _Elements(page).found]
    assert names.count("script") == 2
    assert "img" not in names
    assert not re.search("[\x1b\u202e]", page)
    assert "&lt;img src=x onerror" in page


def test_strings_are_escaped_and_elements_are_not() -> None:
    assert tag("p", "<b>", class_='"x') == '<p class="&quot;x">&lt;b&gt;</p>'
    assert tag("p", tag("b", 1)) == "<p><b>1</b></p>"
    assert "<td>&lt;td&gt;</td>" in table(["a"], [["<td>"]])
    assert isinstance(tag("br"), Html)


def test_a_report_describes_the_chosen_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cap = captured("lif").capture
    first, *others = cap.manifest.programs
    call = replace(cap.manifest.calls[0], program=1)
    call = replace(call, native=replace(call.native, wall=1e3))
    programs = (first, replace(first, index=1), *(replace(o, index=o.index + 1) for o in others))
    manifest = replace(cap.manifest, programs=programs, calls=(*cap.manifest.calls[1:], call))
    several = Capture(cap.path, manifest)

    def described(chosen: list[int] | None) -> tuple[list[int], str]:
        page = several.report(tmp_path / "x.html", programs=chosen).read_text()
        return [part["number"] for part in _page_data(page)], page

    numbers, page = described([0])
    assert numbers == [0]
    assert "brainpy-probe report RUN --program 1" in page
    # A page has the programs with the longest calls, at least one, within a size and a number.
    monkeypatch.setattr("brainpy_probe.report.page.page._MAX_CHARACTERS", 1)
    assert described(None)[0] == [1]
    monkeypatch.setattr("brainpy_probe.report.page.page._MAX_CHARACTERS", 1 << 30)
    monkeypatch.setattr("brainpy_probe.report.page.page._MAX_PROGRAMS", 1)
    assert described(None)[0] == [1]
    with pytest.raises(probe.BadSetting, match="no program 9"):
        several.report(tmp_path / "x.html", programs=[9])


def test_a_folder_is_refused_as_the_file_of_a_report(tmp_path: Path) -> None:
    with pytest.raises(probe.BadSetting, match="is a folder"):
        captured("lif").capture.report(tmp_path)
