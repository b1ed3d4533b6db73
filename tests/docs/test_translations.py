"""A Chinese page has the code, outputs, tables, links, names and numbers of the English page."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.processes import ROOT

_BLOCK = re.compile(r"^(?:<!-- [^\n]* -->\n)?```\w+\n.*?^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)

# Each Chinese page, and the page that it translates.
TRANSLATED = {
    page: page.with_name(page.name.replace(".zh.md", ".md"))
    for page in sorted(ROOT.glob("docs/**/*.zh.md"))
} | {ROOT / "README.zh-CN.md": ROOT / "README.md"}

both = pytest.mark.parametrize(
    ("chinese", "english"),
    [(chinese.read_text(), english.read_text()) for chinese, english in TRANSLATED.items()],
    ids=[str(page.relative_to(ROOT)) for page in TRANSLATED],
)


@both
def test_the_blocks_are_the_same(chinese: str, english: str) -> None:
    assert _BLOCK.findall(chinese) == _BLOCK.findall(english)


@both
def test_the_tables_have_the_same_rows_and_columns(chinese: str, english: str) -> None:
    assert _tables(chinese) == _tables(english)


def _tables(page: str) -> list[list[int]]:
    tables = _TABLE.findall(_BLOCK.sub("", page))
    return [[row.count("|") for row in table.splitlines()] for table in tables]


@both
def test_the_links_are_the_same(chinese: str, english: str) -> None:
    assert _links(chinese) == _links(english)


def _links(page: str) -> Counter[str]:
    """Return the targets of links, without the language of a page."""
    targets = re.findall(r"\]\(([^)]+)\)", _BLOCK.sub("", page))
    same = [re.sub(r"\.zh-CN|\.zh\b|(?<=\.io/brainpy-probe/)zh/", "", target) for target in targets]
    return Counter(same)


@both
def test_names_and_numbers_are_the_same(chinese: str, english: str) -> None:
    assert _names(chinese) == _names(english)
    assert _numbers(chinese) == _numbers(english)


def _names(page: str) -> set[str]:
    """Return the text in code spans, which can contain line breaks."""
    return {" ".join(name.split()) for name in re.findall(r"`([^`]+)`", _BLOCK.sub("", page))}


def _numbers(page: str) -> set[str]:
    text = re.sub(r"`[^`]+`|\]\([^)]+\)|\{#.*\}", "", _BLOCK.sub("", page))
    return set(re.findall(r"\d[\d,.]*\d|\d", text))


@both
def test_the_headings_have_the_same_anchors(chinese: str, english: str) -> None:
    if "](README.md)" in chinese:
        return  # no page links to a heading of the README
    headings = re.findall(r"^##+ (.+)$", _BLOCK.sub("", english), re.MULTILINE)
    anchors = re.findall(r"^##+ .+ \{#([\w-]+)\}$", _BLOCK.sub("", chinese), re.MULTILINE)
    assert anchors == [_anchor(heading) for heading in headings]


def _anchor(heading: str) -> str:
    """Return the id that Python-Markdown gives to a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def test_the_readme_links_to_its_translation() -> None:
    assert "](README.zh-CN.md)" in (ROOT / "README.md").read_text()[:200]
