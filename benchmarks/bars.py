"""The bars that the probe is held to; a figure that was not measured is neither met nor missed.

The seconds of an EINet's runs are the least of the rounds, on both sides of a ratio: what else a
machine does can only add to them, as timeit's documentation says of its own. Other figures are
medians.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from benchmarks.apart import Apart
from benchmarks.results import CaseResult, Result

__all__ = ["Bar", "bars"]

_MB = 1_000_000
# What the probe's calls may leave behind over plain ones, as a share of what those do: records of
# 4 kB, and JAX keeps the stack of each op that it traces, in which the probe's wrappers stand.
_LEFT = 0.03


class Bar(msgspec.Struct, frozen=True):
    """One bar: what is held to it, the bar, the figure, and whether it is met."""

    name: str
    bar: str
    figure: str
    met: bool | None


def bars(cases: Sequence[CaseResult], apart: Mapping[str, Apart]) -> list[Bar]:
    """Hold what was measured to the bars."""
    found = {case.name: case for case in cases}
    return [
        *_shares(found),
        *_old_way(found),
        *_growth(found),
        _components(found),
        *_calls(found),
        *_known(found),
        _peak(found),
        _ratio("replay, scale 1, a process", apart, "replay, scale 1,", "of the script again", 0.2),
        _ratio("33 MB of data written", apart, "33 MB", "of numpy.save's time", 1.25),
        *(
            _ratio(f"{name}, 10,000 calls", apart, name, "of a quarter's time (linear is 4)", 6.0)
            for name in ("additions to the index", "load()", "cap.calls")
        ),
        _seconds("interpreter start, variable unset", apart, "brainpy_probe.pth", 0.1),
        _seconds("`import brainpy_probe`", apart, "import brainpy_probe", 50.0),
        _compilations(cases),
    ]


def _shares(found: Mapping[str, CaseResult]) -> Iterator[Bar]:
    for name, variant, again, bar in (
        ('first run, scale 1, `data="none"`', "none", False, 0.02),
        ('first run, scale 1, `data="inputs"`', "inputs", False, 0.03),
        ('repeated run, scale 1, `data="none"`', "none", True, 0.01),
        ('repeated run, scale 1, `data="inputs"`', "inputs", True, 0.01),
    ):
        one, text = _result(found, "einet-1", variant), f"at most {bar:.0%} over plain"
        added = whole = plain = None
        if one is not None and again:
            added, whole, plain = one.added_again, one.again, found["einet-1"].plain_again
        elif one is not None:
            added, whole, plain = one.added_first, one.first, found["einet-1"].plain_first
        if added is None or whole is None or plain is None:
            yield Bar(name, text, "", None)
            continue
        share = added.least / plain.least
        figure = f"{share:.1%} (whole runs {whole.median - 1:+.1%})"
        yield Bar(name, text, figure, share <= bar)


def _old_way(found: Mapping[str, CaseResult]) -> Iterator[Bar]:
    """Hold the program alone, in the probe's own dialect, to the old way's HLO text.

    Beside that stands what the others come to: HLO text on both sides, and the inputs' arrays in a
    file of their own, which the old way has within its text.
    """
    times, bytes_ = "time added, scale 1, against the old way", "text, scale 1, against the old way"
    old = _result(found, "einet-1", "old way")
    faster, shorter = {}, {}
    for way in ("none", "hlo", "inputs"):
        one = _result(found, "einet-1", way)
        if old and old.added_first and one and one.added_first:
            faster[way] = old.added_first.least / one.added_first.least
            shorter[way] = old.text / one.text
    yield _less(times, faster, 10, {"hlo": "as HLO", "inputs": "with the inputs' arrays"})
    yield _less(bytes_, shorter, 1000, {"hlo": "as HLO"})


def _less(name: str, times: Mapping[str, float], least: float, beside: Mapping[str, str]) -> Bar:
    bar = f"at least {least:,} times less"
    if not times.keys() >= {"none", *beside}:
        return Bar(name, bar, "", None)
    others = "; ".join(f"{label} {times[way]:,.1f}" for way, label in beside.items())
    return Bar(name, bar, f"{times['none']:,.1f} times less ({others})", times["none"] >= least)


def _growth(found: Mapping[str, CaseResult]) -> Iterator[Bar]:
    small, large = (_result(found, f"einet-{scale}", "none") for scale in ("0.25", "2"))
    names = "time added, 64 times the synapses", "text, 64 times the synapses"
    if small is None or large is None or not small.added_first or not large.added_first:
        yield Bar(names[0], "at most 1.2 times", "", None)
        yield Bar(names[1], "at most 1.05 times", "", None)
        return
    times = large.added_first.least / small.added_first.least
    longer = large.text / small.text
    yield Bar(names[0], "at most 1.2 times", f"{times:.2f} times", times <= 1.2)
    yield Bar(names[1], "at most 1.05 times", f"{longer:.3f} times", longer <= 1.05)


def _calls(found: Mapping[str, CaseResult]) -> Iterator[Bar]:
    flat = f"flat: at most {_LEFT:.0%} over what plain calls leave"
    for variant in ("none", "inputs"):
        one = _result(found, "calls-1000", variant)
        names = f'1,000 calls, `data="{variant}"`', f'memory after ten, `data="{variant}"`'
        share = None if one is None else one.resident_share
        if one is None or one.added_again is None or share is None:
            yield Bar(names[0], "at most 2 ms a call", "", None)
            yield Bar(names[1], flat, "", None)
            continue
        own, block = one.added_again.median * 1e3, one.over_block.median * 1e3
        figure = f"{own:.2f} ms (whole block {block:+.2f} ms)"
        yield Bar(names[0], "at most 2 ms a call", figure, own <= 2)
        left = f"{share:+.1%} ({(one.resident or 0.0) / 1000:+.1f} kB a call)"
        yield Bar(names[1], flat, left, share <= _LEFT)


def _components(found: Mapping[str, CaseResult]) -> Bar:
    name, bar = "first run, 200 components", "at most 5% over plain"
    one = _result(found, "components-200", "none")
    if one is None or one.share_first is None:
        return Bar(name, bar, "", None)
    figure = f"{one.share_first.median:.1%} (whole runs {one.first.median - 1:+.1%})"
    return Bar(name, bar, figure, one.share_first.median <= 0.05)


def _known(found: Mapping[str, CaseResult]) -> Iterator[Bar]:
    """Hold known calls to 2 ms or 1 % of the run; 5 ms where each step runs op by op."""
    for name, case in found.items():
        if not name.startswith("known-"):
            continue
        one, most = case.results["none"], 5e-3 if name == "known-no-jit" else 2e-3
        bar = f"at most {most * 1e3:g} ms, or 1 % of the run"
        if one.added_again is None or case.plain_again is None:
            yield Bar(name, bar, "", None)
            continue
        added, run = one.added_again.median, case.plain_again.median
        yield Bar(
            name, bar, f"{added * 1e3:.2f} ms of {run * 1e3:.0f}", added <= max(most, run / 100)
        )


def _peak(found: Mapping[str, CaseResult]) -> Bar:
    name, bar = 'peak memory, scale 1, `data="inputs"`', "under 64 MB over plain"
    one = _result(found, "einet-1", "inputs")
    if one is None:
        return Bar(name, bar, "", None)
    return Bar(name, bar, f"{one.peak / _MB:+.0f} MB", one.peak < 64 * _MB)


def _seconds(name: str, apart: Mapping[str, Apart], begins: str, most: float) -> Bar:
    known = [one for key, one in apart.items() if key.startswith(begins)]
    bar = f"under {most:g} ms"
    if not known:
        return Bar(name, bar, "", None)
    median = known[0].seconds.median * 1e3
    return Bar(name, bar, f"{median:.3g} ms", median < most)


def _ratio(name: str, apart: Mapping[str, Apart], begins: str, to: str, most: float) -> Bar:
    known = [one.ratio for key, one in apart.items() if key.startswith(begins)]
    bar = f"under {most:.0%} {to}"
    if not known or known[0] is None:
        return Bar(name, bar, "", None)
    return Bar(name, bar, f"{known[0].median:.0%}", known[0].median < most)


def _compilations(cases: Sequence[CaseResult]) -> Bar:
    counts = [
        one.compilations
        for case in cases
        for name, one in case.results.items()
        if one.added_first is not None and name != "old way"
    ]
    met = None if not counts else not any(counts)
    return Bar("XLA compilations added", "none", str(sum(counts)) if counts else "", met)


def _result(found: Mapping[str, CaseResult], case: str, variant: str) -> Result | None:
    return found[case].results.get(variant) if case in found else None
