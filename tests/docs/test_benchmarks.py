"""The benchmarks: one tiny case is measured for real; the fit, the medians, the bars by figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.apart import NAMES, Apart
from benchmarks.bars import bars
from benchmarks.cases import Case, Variant, all_cases
from benchmarks.figures import Spread, exponent, spread
from benchmarks.processes import ChildFailed, measure
from benchmarks.results import exponents, result_of
from benchmarks.rounds import in_turn, measure_case
from benchmarks.work import Measured, Run, Work
from tests.eras import SINCE_2_4

ROOT = Path(__file__).parents[2]

needs_einet = pytest.mark.skipif(not SINCE_2_4, reason="EINet as it is spelled from 2.4 on")


def _measured(*runs: tuple[float, float], peak: int = 0, text: int = 0) -> Measured:
    """Return what a process tells of runs, each with its wall seconds and those added."""
    return Measured(
        runs=[
            Run(wall=wall, cpu=wall / 2, added=added, compilations=1, resident=100 * n)
            for n, (wall, added) in enumerate(runs)
        ],
        peak=peak,
        text=text,
    )


def _case(**changes: Any) -> Case:
    ways = (Variant("plain", "plain"), Variant("none", options={"data": "none"}))
    return Case(**{"name": "einet-1", "variants": ways, "rounds": 3, **changes})


# --- Figures --------------------------------------------------------------------------------------


def test_a_spread_is_the_median_the_least_and_the_greatest() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0)


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 2.0])
def test_the_exponent_of_a_power_is_found(power: float) -> None:
    points = [(x, 7.0 * x**power) for x in (1.0, 3.0, 10.0, 50.0)]
    assert exponent(points) == pytest.approx(power)


def test_an_exponent_needs_two_sizes() -> None:
    with pytest.raises(ValueError, match="no exponent"):
        exponent([(2.0, 1.0), (2.0, 3.0), (0.0, 1.0)])


# --- Results --------------------------------------------------------------------------------------


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is twice as slow in the second round, and three times in the third.
    rounds = [
        {
            "plain": _measured((10.0 * slow, 0.0), (4.0 * slow, 0.0), peak=1000),
            "none": _measured((11.0 * slow, 0.5 * slow), (5.0 * slow, 0.1 * slow), peak=1500),
        }
        for slow in (1.0, 2.0, 3.0)
    ]
    found = result_of(_case(runs=2), rounds)
    one = found.results["none"]
    assert found.plain_first.median == 20.0
    assert one.first.least == one.first.greatest == pytest.approx(1.1)
    assert one.again is not None
    assert one.again.median == pytest.approx(1.25)
    assert one.share_first is not None
    assert one.share_first.median == pytest.approx(0.05)
    assert one.added_again == Spread(0.2, 0.1, pytest.approx(0.3))
    assert one.over_block.median == pytest.approx(2.0)
    assert (one.peak, one.compilations) == (500, 0)
    assert one.growth is None


def test_a_way_without_a_clock_of_its_own_has_no_added_seconds() -> None:
    ways = (Variant("plain", "plain"), Variant("dump", "jax-dump"))
    rounds = [{"plain": _measured((1.0, 0.0)), "dump": _measured((1.2, 0.0))}]
    found = result_of(_case(variants=ways, rounds=1, runs=1), rounds).results["dump"]
    assert found.added_first is found.share_first is found.again is None
    assert found.first.median == pytest.approx(1.2)


@pytest.mark.parametrize(("power", "seconds"), [(1.0, lambda _: 1.0), (2.0, float)])
def test_the_growth_with_calls_is_that_of_all_calls_together(power: float, seconds: Any) -> None:
    runs = [(1.0, seconds(n)) for n in range(400)]
    rounds = [{"plain": _measured(*runs), "none": _measured(*runs)}]
    found = result_of(_case(name="calls-1000", rounds=1), rounds).results["none"]
    assert found.growth == pytest.approx(power, abs=0.25)
    assert found.resident == 0


# --- Bars -----------------------------------------------------------------------------------------


def _held(added: float, *, text: int = 10, scale: float = 1.0) -> dict[str, bool | None]:
    rounds = [{"plain": _measured((1.0, 0.0)), "none": _measured((1.0, added), text=text)}]
    cases = [
        result_of(_case(name=f"einet-{size:g}", size=size, rounds=1, group="scale", runs=1), rounds)
        for size in (scale, 1.0)
    ]
    return {bar.name: bar.met for bar in bars(cases, {})}


def test_a_bar_is_met_or_missed_or_was_not_measured() -> None:
    name = 'first run, scale 1, `data="none"`'
    assert _held(0.02)[name] is True
    assert _held(0.04)[name] is False
    assert _held(0.02)['first run, scale 1, `data="inputs"`'] is None
    assert all(bar.met is None for bar in bars([], {}))


def test_what_is_measured_apart_is_held_to_its_bar() -> None:
    aside = {"import brainpy_probe": Apart(seconds=Spread(0.06, 0.05, 0.07))}
    held = {bar.name: bar for bar in bars([], aside)}
    assert held["`import brainpy_probe`"].met is False
    assert held["`import brainpy_probe`"].figure == "60 ms"


def test_the_old_way_is_held_against_the_program_alone_and_shown_beside_the_rest() -> None:
    def held(added: float) -> dict[str, tuple[bool | None, str]]:
        ways = {
            "none": (added, 40),
            "hlo": (0.2, 20),
            "inputs": (0.25, 40),
            "old way": (1.0, 60_000),
        }
        rounds = [
            {"plain": _measured((1.0, 0.0))}
            | {name: _measured((1.0, own), text=text) for name, (own, text) in ways.items()}
        ]
        case = _case(variants=tuple(map(Variant, rounds[0])), rounds=1, runs=1)
        found = bars([result_of(case, rounds)], {})
        return {one.name: (one.met, one.figure) for one in found if "old way" in one.name}

    assert list(held(0.1).values()) == [
        (True, "10.0 times less (as HLO 5.0; with the inputs' arrays 4.0)"),
        (True, "1,500.0 times less (as HLO 3,000.0)"),
    ]
    assert [met for met, _ in held(0.11).values()] == [False, True]


def test_growth_is_fitted_over_the_cases_of_a_group() -> None:
    def case(size: float) -> Any:
        probed = _measured((1.0, size**0.5), text=int(1000 * size))
        rounds = [{"plain": _measured((size**2, 0.0)), "none": probed}]
        return result_of(_case(size=size, group="scale", rounds=1, runs=1), rounds)

    (group, found), *rest = exponents([case(size) for size in (1.0, 4.0, 9.0)]).items()
    assert (group, rest) == ("scale", [])
    assert found["seconds added"] == pytest.approx(0.5)
    assert found["text"] == pytest.approx(1.0)
    assert found["the plain run"] == pytest.approx(2.0)


# --- Measured for real ----------------------------------------------------------------------------


def test_each_round_begins_with_another_way() -> None:
    ways = tuple(Variant(name) for name in "abc")
    orders = ["".join(way.name for way in in_turn(ways, number)) for number in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


@needs_einet
def test_a_tiny_case_is_measured_in_processes_of_its_own() -> None:
    ways = (
        Variant("plain", "plain"),
        Variant("none", options={"data": "none"}),
        Variant("old way", "old", {"dialect": "hlo"}, once=True),
    )
    begun: list[str] = []
    case = Case("tiny", ways, 1, size=0.01, steps=20, runs=2)
    rounds = measure_case(case, begun.append)
    assert [one.split(": ")[1].split(",")[0] for one in begun] == ["plain", "none", "old way"]
    found = result_of(case, rounds)
    one, old = found.results["none"], found.results["old way"]
    assert one.compilations == 0
    assert one.added_first is not None
    assert 0 < one.added_first.median < rounds[0]["none"].runs[0].wall
    assert one.text > 10_000, "the whole program"
    assert old.text > 10_000
    assert old.again is None, "a second run dies"
    counted = {name: [run.compilations for run in one.runs] for name, one in rounds[0].items()}
    assert counted["none"] == counted["plain"]
    assert all(number >= 1 for numbers in counted.values() for number in numbers)
    for measured in rounds[0].values():
        assert measured.process > sum(run.wall for run in measured.runs)


@needs_einet
def test_a_process_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    options = {"dialect": "nonsense"}
    work = Work(way="old", size=0.01, steps=10, folder=str(tmp_path), options=options)
    with pytest.raises(ChildFailed, match="nonsense"):
        measure(work)


def test_the_command_names_its_cases_and_refuses_others() -> None:
    def told(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *words],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    named = told("--list").stdout.split()
    assert named == [*(case.name for case in all_cases(quick=False)), *NAMES]
    refused = told("--only", "nonsense")
    assert refused.returncode == 2
    assert "einet-0.25" in refused.stderr


def test_the_command_writes_what_it_measured(tmp_path: Path) -> None:
    subprocess.run(
        [
            sys.executable, "-m", "benchmarks", "--quick", "--only", "import",
            "--json", tmp_path / "all.json", "--markdown", tmp_path / "table.md",
        ],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    written = json.loads((tmp_path / "all.json").read_text())
    seconds = msgspec.convert(written["apart"]["import brainpy_probe"], Apart).seconds
    assert 0 < seconds.least <= seconds.median <= seconds.greatest < 60
    assert "| import brainpy_probe |" in (tmp_path / "table.md").read_text()
