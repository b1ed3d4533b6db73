"""The summary of a capture: it fits 80 columns and reports errors."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import pytest

import brainpy_probe as probe
from brainpy_probe.quantities import duration, ranges, shortened, size
from brainpy_probe.report.text.summary import as_plain_text, summary
from tests.eras import DynamicalSystem
from tests.networks import by_name

MESSAGE = "no [red]such[/red] input " * 8 + "ends here"


class AModelWhoseNameIsMuchLongerThanTheColumnThatItStandsInSoThatItMustBeFoldedSomewhere(
    DynamicalSystem
):
    """A model that raises, or that JAX can't trace."""

    def __init__(self, *, raising: bool) -> None:
        super().__init__()
        self.v = bm.Variable(bm.zeros(2))
        self.raising = raising

    def update(self) -> Any:
        if self.raising:
            raise ValueError(MESSAGE)
        if self.v.value[0] > 0:
            self.v.value = self.v - 1.0
        else:
            self.v.value = self.v + 1.0
        return self.v.value


LongName = AModelWhoseNameIsMuchLongerThanTheColumnThatItStandsInSoThatItMustBeFoldedSomewhere


def _runner(*, raising: bool) -> bp.DSRunner:
    return bp.DSRunner(LongName(raising=raising), jit=False, progress_bar=False)


def _without_whitespace(text: str) -> str:
    return "".join(text.split())


def _assert_fits(cap: probe.Capture) -> str:
    text = str(cap)
    assert max(map(len, text.splitlines())) <= 80
    assert cap.path.name in text
    assert str(probe.load(cap.path)) == text
    return text


@pytest.fixture(scope="module")
def lif(tmp_path_factory: pytest.TempPathFactory) -> probe.Capture:
    """Return the capture of one run, in a folder with a long path."""
    case = by_name("lif")
    runner = case.build()
    out = tmp_path_factory.mktemp("x" * 60) / ("y" * 60)
    with probe.capture(out, dialect=["stablehlo", "mhlo", "hlo"], data="full") as cap:
        case.run(runner)
    return cap


def test_the_summary_of_a_run_is_complete(lif: probe.Capture) -> None:
    text = _assert_fits(lif)
    assert _without_whitespace(str(lif.path.parent)) in _without_whitespace(text)
    row, program = (line.split() for line in text.splitlines() if line.startswith("0 LIF"))
    timing = lif.calls[0].timing
    assert row[:4] == ["0", "LIF", "100", "0"]
    assert row[4:9] == [
        f"{getattr(timing, name):.3f}" for name in timing.__struct_fields__ if name != "numba"
    ]
    assert program[2:4] == ["whole", "run"]
    assert "proved" in text
    details = lif.details()
    for file in lif.programs[0].record.files:
        assert f"{file.path.rpartition('/')[2]} " in details
        assert size(file.size) in details
    assert "leads back to StableHLO" in details
    assert "killed" not in text


def test_an_open_capture_without_a_run_is_reported_as_such(out: Path) -> None:
    with probe.capture(out) as cap:
        assert "The capture did not end" in _assert_fits(cap)
    text = _assert_fits(cap)
    assert "The capture did not end" not in text
    assert "No model was run." in text


def test_the_summary_names_the_exception_of_a_run(out: Path) -> None:
    with probe.capture(out) as cap, pytest.raises(ValueError, match="ends here"):
        _runner(raising=True).run(0.2)
    text = _assert_fits(cap)
    assert "call 0 raised ValueError: no [red]such[/red] input" in text
    assert "ends here" in text
    expected = f"call0raisedValueError:{_without_whitespace(MESSAGE)}"
    assert expected not in _without_whitespace(text)
    assert expected in _without_whitespace(cap.details())
    assert "the probe failed" not in text


def test_the_summary_reports_a_failure_of_the_probe(out: Path) -> None:
    plain, probed = _runner(raising=False), _runner(raising=False)
    expected = plain.run(0.4)
    with probe.capture(out, trace_eager=True) as cap:
        returned = probed.run(0.4)
    assert returned.tolist() == expected.tolist() == [[1, 1], [0, 0]] * 2
    (call,) = cap.calls
    assert call.error is None
    assert call.failure is not None
    assert call.failure.kind == "CannotCapture"
    text = _assert_fits(cap)
    assert "call 0: the probe failed: CannotCapture: " in text.replace("\n", " ")
    assert "program 0" not in text


def test_a_strict_probe_raises_its_failure(out: Path) -> None:
    with (
        pytest.raises(probe.CannotCapture, match="jit=False"),
        probe.capture(out, trace_eager=True, strict=True),
    ):
        _runner(raising=False).run(0.4)


def test_a_notebook_gets_html_that_names_the_model(lif: probe.Capture, out: Path) -> None:
    assert "LIF" in lif._repr_html_()
    with probe.capture(out) as cap, pytest.raises(ValueError, match="ends here"):
        _runner(raising=True).run(0.2)
    assert "[red]such[/red]" in cap._repr_html_()


def test_the_summary_is_the_same_in_a_notebook(
    lif: probe.Capture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    text = str(lif)
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    assert str(lif) == text
    assert capsys.readouterr().out == ""


def test_the_summary_of_four_runs_fits_a_screen(out: Path) -> None:
    case = by_name("lif")
    runner = case.build()
    with probe.capture(out, strict=True) as cap:
        for _ in range(4):
            case.run(runner)
    lines = str(cap).splitlines()
    assert len(lines) <= 25
    rows = [line.split()[0] for line in lines if line.startswith(("0 LIF", "1-3 LIF"))]
    assert rows == ["0", "1-3", "0"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_summary_fits_the_terminal(lif: probe.Capture, width: int) -> None:
    text = as_plain_text(summary(lif.path, lif.manifest, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii()


def test_quantities_are_printed_with_units() -> None:
    assert [duration(n) for n in (2e-5, 0.045, 1.23, 200.0, None)] == [
        "20 us", "45 ms", "1.2 s", "3 min 20 s", "an unknown time",
    ]  # fmt: skip
    assert [size(n) for n in (0, 812, 45_300, 1_000_000)] == ["0 B", "812 B", "45.3 KB", "1 MB"]
    assert ranges([4, 0, 1, 2, 7, 8]) == "0-2, 4, 7-8"
    assert shortened("abcdefghijkl", 9) == "abc...jkl"
