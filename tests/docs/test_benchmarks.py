"""The benchmarks: measurement of a small network, ratios within rounds, and bars."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks.__main__ import main
from benchmarks.cases import PLAIN, Case, Way, Work
from benchmarks.measure import Measurement, MeasurementFailed, figures_of, measure, read
from benchmarks.report import BARS, ratios, rounds_of, show
from tests.eras import SINCE_2_4


def _measurements(*rounds: dict[str, float], name: str = "einet-1") -> list[Measurement]:
    """Return measurements of a plain run of one second, and of a run that adds these figures."""
    plain = {"first": 1.0, "again": 0.5, "peak": 0.0, "compilations": 3.0, "text": 0.0}
    plain["folder"] = 0.0
    return [
        Measurement(case=name, way=way, round=number, figures={**plain, **figures})
        for number, added in enumerate(rounds)
        for way, figures in ((PLAIN, {}), ("none", added))
    ]


def test_ratios_are_within_a_round() -> None:
    measurements = _measurements({"first": 1.1}, {"first": 1.3})
    slow = [msgspec.structs.replace(m, round=2, figures={"first": 9.0}) for m in measurements[:2]]
    rounds = rounds_of([*measurements, *slow])["einet-1"]
    assert ratios(rounds, "none", "first") == pytest.approx([1.1, 1.3, 1.0])


def test_an_interrupted_round_is_left_out() -> None:
    measurements = _measurements({"first": 1.1}, {"first": 1.3})[:3]
    assert len(rounds_of(measurements)["einet-1"]) == 1


@pytest.mark.parametrize(
    ("added", "verdict"), [({"added first": 0.019}, "met"), ({"added first": 0.021}, "MISSED")]
)
def test_a_bar_is_met_or_missed(added: dict[str, float], verdict: str) -> None:
    row = BARS[0].row(rounds_of(_measurements(added)))
    assert row[-1] == verdict
    assert BARS[0].row({})[-1] == "not measured"


def test_a_call_can_take_one_percent_of_a_long_run() -> None:
    bar = next(bar for bar in BARS if bar.case == "known-batch-first")
    slow = _measurements({"added again": 0.004}, name=bar.case)
    assert bar.row(rounds_of(slow))[-1] == "met"
    slow = _measurements({"added again": 0.006}, name=bar.case)
    assert bar.row(rounds_of(slow))[-1] == "MISSED"


def test_an_interrupted_benchmark_keeps_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.jsonl"
    case = Case("start", Work(task="start"), {PLAIN: Way("plain")}, rounds=2)
    measuring = measure([case], file, lambda _: None)
    first = next(measuring)
    measuring.close()
    assert read(file) == [first]


def test_a_failed_process_is_an_error_with_its_stderr() -> None:
    with pytest.raises(MeasurementFailed, match="nonsense"):
        figures_of(Work(task="nonsense"))


@pytest.mark.skipif(not SINCE_2_4, reason="EINet is written for BrainPy 2.4 and later")
def test_a_captured_run_is_measured(tmp_path: Path) -> None:
    work = Work(size=0.02, steps=20, runs=2, kind="probe", folder=str(tmp_path))
    figures = figures_of(work)
    assert 0 < figures["added first"] < figures["first"]
    assert figures["text"] > 1000
    assert figures["folder"] > figures["text"]


def test_the_command_shows_the_figures_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.jsonl"
    lines = map(msgspec.json.encode, _measurements({"added first": 0.01}))
    file.write_bytes(b"\n".join(lines))
    main(["--report", "--file", str(file)])
    assert "einet-1, 1 rounds" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])
    assert json.loads(file.read_bytes().splitlines()[0])["case"] == "einet-1"
    show(read(file), Console(quiet=True))
