"""The README and the pages show the actual output of their commands."""

from __future__ import annotations

import re

import pytest

import brainpy_probe as probe
from brainpy_probe.compat.versions import TESTED
from docs import generated
from tests import eras
from tests.docs.pages import DOCS, PAGES, README, WITH_OTHER_COMMANDS, capture_all, run_page
from tests.processes import ROOT
from tests.sharing import made_once

_REPOSITORY_LINK = re.compile(
    r"https://github.com/brainpy-probe/brainpy-probe/(?:blob|tree)/main/([^)#\s]+)"
)

since_2_7 = pytest.mark.skipif(
    not eras.SINCE_2_7, reason="the outputs are those of BrainPy 2.7 and later"
)


@since_2_7
@pytest.mark.parametrize(
    "name", [name for name, page in PAGES.items() if page not in WITH_OTHER_COMMANDS]
)
def test_a_page_shows_the_actual_outputs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, printed = made_once("pages", capture_all)
    monkeypatch.chdir(folder)
    run_page(PAGES[name], printed)


@since_2_7
def test_the_captures_of_the_pages_are_complete_and_proved() -> None:
    folder, _ = made_once("pages", capture_all)
    captures = [probe.load(run) for run in folder.glob("*/run-*")]
    assert len(captures) > 8
    for cap in captures:
        assert cap.manifest.complete
        assert [call.failure for call in cap.calls] == [None] * len(cap.calls)
        assert all(program.fidelity.proved for program in cap.programs)


@since_2_7
def test_einets_connectivity_and_variables_are_named_arguments() -> None:
    program = _einet()
    assert {spec.name for spec in program.arguments if spec.role == "constant"} == {
        f"{group}.comm.{array}"
        for group in ("E2E", "E2I", "I2E", "I2I")
        for array in ("indices", "indptr")
    }
    states = {spec.name for spec in program.arguments if spec.role == "state"}
    assert {"E.V", "I.spike", "E2I.syn.g"} < states
    assert states == {spec.name for spec in program.results if spec.role == "state"}
    assert [spec.name for spec in program.results if spec.role == "monitor"] == ["E.spike"]


@since_2_7
def test_einets_texts_are_small_and_named() -> None:
    program = _einet()
    assert not program.fidelity.inlined_constants
    assert not program.fidelity.host_callbacks
    # As constants, the connectivity alone would take twice as many bytes.
    assert len(program.text("hlo").encode()) < 150_000
    assert program.text("hlo").startswith("HloModule EINet")
    assert "module @EINet" in program.text("mhlo")


def _einet() -> probe.Program:
    folder, _ = made_once("pages", capture_all)
    (run,) = (folder / "einet").glob("run-*")
    (program,) = probe.load(run).programs
    return program


def test_every_block_is_run_compared_or_marked_as_an_example() -> None:
    for name, page in PAGES.items():
        text = page.read_text()
        for marker, language in re.findall(r"^(.*)\n```(\w+)\n(?:.*\n)*?```$", text, re.MULTILINE):
            output = marker.startswith(("<!-- output", "<!-- layout -->"))
            code = marker.startswith(("<!-- file ", "<!-- run", "<!-- python", "<!-- test command"))
            shown = output if language in ("text", "ebnf") else code or marker == "<!-- example -->"
            assert shown, f"{name}: a block of {language} after {marker!r}"


def test_every_page_is_in_the_navigation() -> None:
    english = {page for page in DOCS.rglob("*.md") if not page.name.endswith(".zh.md")}
    assert english == set(PAGES.values()) - {README}


def test_links_to_files_of_the_repository_resolve() -> None:
    for page in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")):
        for path in _REPOSITORY_LINK.findall(page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
    for page in ROOT.glob("*.md"):  # the build of the site checks the links between its pages
        for path in re.findall(r"\]\(([\w./-]+)[)#]", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", generated.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    generated_text = generated.PAGES[name]()
    assert generated_text == (generated.REFERENCE / name).read_text(), "python -m docs.generated"
    assert "|  |\n" not in generated_text, "a field has no description"


def test_each_record_of_a_manifest_has_a_section() -> None:
    page = (generated.REFERENCE / "format-records.md").read_text()
    sections = set(re.findall(r"^## (\w+)$", page, re.MULTILINE))
    assert {"Manifest", "Addition", "CallRecord", "ProgramRecord", "TensorSpec"} <= sections
    # A type without a link is one of those in the first table.
    restricted = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", page, re.MULTILINE))
    named = re.findall(r"^\| `\w+` \| ([^|]*) \|", page, re.MULTILINE)
    assert {name for kind in named for name in re.findall(r"(?<!\[)`([A-Z]\w+)`", kind)} <= (
        restricted
    )


def test_the_list_of_findings_is_complete() -> None:
    source = "".join(file.read_text() for file in (ROOT / "brainpy_probe/analysis").glob("*.py"))
    listed = re.findall(
        r"^\| `([a-z-]+)` \|", (generated.REFERENCE / "findings.md").read_text(), re.M
    )
    assert sorted(listed) == sorted(set(re.findall(r'slug="([a-z-]+)"', source)))


def test_the_api_page_has_each_public_name() -> None:
    page = (generated.REFERENCE / "api.md").read_text()
    assert sorted(re.findall(r"^::: brainpy_probe\.(\w+)", page, re.M)) == sorted(probe.__all__)


def test_the_tables_of_versions_agree_with_the_package() -> None:
    expected = [(stack.name, stack.brainpy, stack.jax) for stack in TESTED]
    for page in (README, DOCS / "project" / "versions.md"):
        assert (
            re.findall(r"^\| `(\w+)` \| ([\d.\w]+) \| ([\d.]+) \|", page.read_text(), re.M)
            == expected
        )


def test_the_pictures_are_small() -> None:
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < 250_000, picture.name


def test_the_figures_of_the_readme_are_in_the_benchmarks() -> None:
    (sentence,) = re.findall(
        r"^For EINet on JAX 0.12, (.*?)\(\[benchmarks", README.read_text(), re.M | re.S
    )
    figures = re.findall(r"[\d,.]+(?: times| %)", sentence)
    assert len(figures) == 6
    measured = (DOCS / "project" / "benchmarks.md").read_text()
    assert [figure for figure in figures if figure not in measured] == []
