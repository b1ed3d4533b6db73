"""The report in a real browser: it opens offline, selections work, injected code does not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Browser
from tests.report.test_report import einet_report, hostile_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser with the width of a laptop screen."""
    with Browser() as opened:
        yield opened


def _open(browser: Browser, file: Path, fragment: str = "") -> None:
    browser.open("about:blank")
    browser.console.clear()
    browser.requests.clear()
    browser.open(f"{file.as_uri()}{fragment}")
    browser.wait("parts.length > 0")
    browser.get("current.load()")


def _assert_quiet(browser: Browser, file: Path) -> None:
    assert browser.console == []
    assert [url.partition("#")[0] for url in browser.requests] == [file.as_uri()]


def test_the_report_opens_offline_without_errors(browser: Browser) -> None:
    file = einet_report()
    _open(browser, file)
    _assert_quiet(browser, file)
    for width in (1400, 900):
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        assert browser.get("document.documentElement.scrollWidth") <= width


def test_a_selected_equation_selects_its_ops_in_other_texts(browser: Browser) -> None:
    _open(browser, einet_report())
    line = "current.panes.eq.text.lines.findIndex((line) => line.includes('E2E.output ='))"
    browser.get(f"current.choose('eq', {line}, null)")
    for kind in ("ir", "hlo"):
        shown = f"[...current.panes.{kind}.root.querySelectorAll('.row.chosen')]"
        texts = browser.get(f"{shown}.map((row) => row.textContent)")
        assert any("multiply" in text for text in texts), kind
    fragment = browser.get("location.hash")
    assert fragment.startswith("#line=eq%3A")
    _open(browser, einet_report(), fragment)
    browser.wait("current.panes.hlo.chosen.size > 0")
    # The keyboard selects the next line.
    before = browser.get("current.panes.eq.cursor")
    browser.get("current.panes.eq.root.focus()")
    browser.press("ArrowDown")
    browser.wait(f"current.panes.eq.cursor === {before + 1}")
    browser.press("Escape")
    browser.wait("current.panes.eq.chosen.size === 0")


def test_a_selected_component_is_marked_everywhere(browser: Browser) -> None:
    _open(browser, einet_report())
    browser.get(
        "document.querySelector('.node[data-component=E2I]')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    browser.wait("current.component === 'E2I'")
    assert browser.get("document.querySelectorAll('tr.chosen').length") >= 1
    browser.wait("current.panes.ir.root.querySelectorAll('.row.part').length > 0")
    assert browser.get("location.hash") == "#component=E2I"


def test_search_counts_the_matches_in_all_texts(browser: Browser) -> None:
    _open(browser, einet_report(), "#search=E2E.syn.g")
    browser.wait("current.matches && current.matches.length > 0")
    browser.get("current.next(1)")
    assert "1 of" in browser.get("current.said.textContent")


def test_the_texts_switch_between_the_run_and_one_step(browser: Browser) -> None:
    _open(browser, einet_report())
    browser.get("current.choose('ir', 9, null)")
    shown = "current.panes.ir.text.lines.some((line) => line.includes('stablehlo.while'))"
    assert browser.get(shown)
    browser.get("document.querySelector('button[data-form=step]').click()")
    browser.wait(f"current.shown === 'step' && !{shown}")
    # A line of the run is not selected in the step.
    assert browser.get("[current.line, current.panes.ir.chosen.size]") == [None, 0]
    line = "current.panes.eq.text.lines.findIndex((line) => line.includes('E2E.output ='))"
    browser.get(f"current.choose('eq', {line}, null)")
    assert browser.get("current.panes.hlo.chosen.size") > 0
    fragment = browser.get("location.hash")
    assert fragment.startswith("#form=step&line=eq%3A")
    _open(browser, einet_report(), fragment)
    browser.wait("current.shown === 'step' && current.panes.hlo.chosen.size > 0")
    pressed = "document.querySelector('button[aria-pressed=true][data-form]').textContent"
    assert browser.get(pressed) == "one step"
    # A link to a section does not change the texts, a link to a component shows the run.
    browser.get("location.hash = '#calls'")
    browser.get("location.hash = '#component=E2I'")
    browser.wait("current.shown === 'run' && current.component === 'E2I'")


def test_a_hostile_report_runs_and_loads_nothing(browser: Browser) -> None:
    file = hostile_report()
    _open(browser, file)
    browser.get("current.load()")
    _assert_quiet(browser, file)
    assert browser.get("document.images.length") == 0
    assert browser.get("document.scripts.length") == 2
