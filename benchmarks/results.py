"""What the rounds of a case come to: ratios within each round, their medians; prints nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import msgspec

from benchmarks.cases import PLAIN, Case
from benchmarks.figures import Spread, exponent, spread
from benchmarks.rounds import Rounds
from benchmarks.work import Measured, Run

__all__ = ["CaseResult", "Result", "exponents", "result_of"]

_SETTLED = 10  # calls after which memory is to be flat


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One way of running a case, beside the plain one of the same round.

    Attributes
    ----------
    first, again : Spread or None
        Wall seconds of the first run, and of a repeated one, as ratios to the plain one.
    first_cpu, again_cpu : Spread or None
        The same for the seconds of the processor.
    added_first, added_again : Spread or None
        The seconds added to them, on the clock of what adds them; None where nothing has one.
    share_first, share_again : Spread or None
        These as shares of the plain run.
    over_block : Spread
        The wall seconds of all runs together over the plain ones, for each run.
    growth : float or None
        The exponent with which the added seconds of all calls grow with their number.
    resident : float or None
        Bytes that each run after the tenth leaves behind, over the plain one.
    resident_share : float or None
        The same as a share of what the plain one leaves behind.
    peak : float
        Bytes at the most, over the plain one.
    compilations : int
        How many more modules XLA compiled.
    text, folder : int
        Bytes.
    around : float
        Seconds of opening and closing the capture.
    """

    first: Spread
    first_cpu: Spread
    again: Spread | None
    again_cpu: Spread | None
    added_first: Spread | None
    share_first: Spread | None
    added_again: Spread | None
    share_again: Spread | None
    over_block: Spread
    growth: float | None
    resident: float | None
    resident_share: float | None
    peak: float
    compilations: int
    text: int
    folder: int
    around: float


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """A case: what was run, the seconds of the plain runs, and what each other way comes to."""

    name: str
    network: str
    group: str
    size: float
    steps: int
    runs: int
    rounds: int
    plain_first: Spread
    plain_again: Spread | None
    results: dict[str, Result]


def result_of(case: Case, rounds: Rounds) -> CaseResult:
    """Reckon what a case's rounds come to."""
    plain = [found[PLAIN] for found in rounds]
    again = _again(plain[0], _wall)
    return CaseResult(
        name=case.name,
        network=case.network,
        group=case.group,
        size=case.size,
        steps=case.steps,
        runs=case.runs,
        rounds=case.rounds,
        plain_first=spread([one.runs[0].wall for one in plain]),
        plain_again=None if again is None else spread([_again(one, _wall) or 0.0 for one in plain]),
        results={
            variant.name: _result(plain, [found[variant.name] for found in rounds])
            for variant in case.variants
            if variant.name != PLAIN
        },
    )


def _result(plain: list[Measured], probed: list[Measured]) -> Result:
    pairs = list(zip(probed, plain, strict=True))

    def first(what: Callable[[Run], float], of: Callable[[Run], float]) -> Spread:
        return spread([what(one.runs[0]) / of(other.runs[0]) for one, other in pairs])

    def again(what: Callable[[Run], float], of: Callable[[Run], float]) -> Spread | None:
        both = [(_again(one, what), _again(other, of)) for one, other in pairs]
        known = [a / b for a, b in both if a is not None and b]
        return spread(known) if known else None

    has_clock = any(run.added for one in probed for run in one.runs)
    later = [_again(one, _added) for one in probed]
    known = [one for one in later if one is not None]
    left = [(_left(one), _left(other)) for one, other in pairs]
    grown = [(a - b, b) for a, b in left if a is not None and b is not None]
    kept, shares = [a for a, _ in grown], [a / b for a, b in grown if b]
    return Result(
        first=first(_wall, _wall),
        first_cpu=first(_cpu, _cpu),
        again=again(_wall, _wall),
        again_cpu=again(_cpu, _cpu),
        added_first=spread([one.runs[0].added for one in probed]) if has_clock else None,
        share_first=first(_added, _wall) if has_clock else None,
        added_again=spread(known) if has_clock and known else None,
        share_again=again(_added, _wall) if has_clock else None,
        over_block=spread([_mean_over(one, other) for one, other in pairs]),
        growth=_growth(probed) if has_clock else None,
        resident=statistics.median(kept) if kept else None,
        resident_share=statistics.median(shares) if shares else None,
        peak=statistics.median(one.peak - other.peak for one, other in pairs),
        compilations=sum(_compiled(one, other) for one, other in pairs),
        text=max(one.text for one in probed),
        folder=max(one.folder for one in probed),
        around=statistics.median(one.around for one in probed),
    )


def _wall(run: Run) -> float:
    return run.wall


def _cpu(run: Run) -> float:
    return run.cpu


def _added(run: Run) -> float:
    return run.added


def _again(measured: Measured, what: Callable[[Run], float]) -> float | None:
    """Return the median of the repeated runs; None if there is none."""
    return statistics.median(map(what, measured.runs[1:])) if len(measured.runs) > 1 else None


def _mean_over(one: Measured, plain: Measured) -> float:
    runs = list(zip(one.runs, plain.runs, strict=False))
    return sum(a.wall - b.wall for a, b in runs) / len(runs)


def _compiled(one: Measured, plain: Measured) -> int:
    return sum(a.compilations - b.compilations for a, b in zip(one.runs, plain.runs, strict=False))


def _left(measured: Measured) -> float | None:
    """Return the bytes that each run after the tenth leaves behind."""
    runs = measured.runs
    if len(runs) <= 2 * _SETTLED:
        return None
    return (runs[-1].resident - runs[_SETTLED].resident) / (len(runs) - 1 - _SETTLED)


def _growth(probed: Sequence[Measured]) -> float | None:
    """Fit the exponent of the seconds added by all calls so far, the first ten left out."""
    if len(probed[0].runs) <= 2 * _SETTLED:
        return None
    points, total = [], 0.0
    for number, runs in enumerate(zip(*(one.runs[_SETTLED:] for one in probed), strict=True), 1):
        total += statistics.median(run.added for run in runs)
        points.append((float(number), total))
    return exponent(points[_SETTLED - 1 :])


def exponents(cases: Sequence[CaseResult]) -> dict[str, dict[str, float]]:
    """Fit how seconds and text grow over the cases of each group.

    Returns
    -------
    dict
        By group, ``seconds`` and ``text`` of data="none" with the scale, the number of components,
        or that of steps.
    """
    found: dict[str, dict[str, float]] = {}
    for group in ("scale", "components", "steps"):
        members = [case for case in cases if case.group == group and "none" in case.results]
        if len(members) < 2:
            continue
        sizes = [float(case.steps) if group == "steps" else case.size for case in members]
        results = [case.results["none"] for case in members]
        added = [one.added_first.median if one.added_first else 0.0 for one in results]
        plain = [case.plain_first.median for case in members]
        found[group] = {
            "seconds added": exponent(list(zip(sizes, added, strict=True))),
            "text": exponent([(x, float(one.text)) for x, one in zip(sizes, results, strict=True)]),
            "the plain run": exponent(list(zip(sizes, plain, strict=True))),
        }
    for case in cases:
        growth = case.results["none"].growth if "none" in case.results else None
        if growth is not None:
            found["calls"] = {"seconds added": growth}
    return found
