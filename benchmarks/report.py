"""Shows measurements: a table for each case, and the limits that the figures must meet."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.cases import PLAIN, Figures
from benchmarks.measure import Measurement

__all__ = ["BARS", "Bar", "Rounds", "rounds_of", "show", "spread"]

# The figures of each way, in each round of a case.
Rounds = list[dict[str, Figures]]


def rounds_of(found: Iterable[Measurement]) -> dict[str, Rounds]:
    """Group measurements by case and round; leave out an interrupted round."""
    grouped: dict[str, dict[int, dict[str, Figures]]] = {}
    for measurement in found:
        rounds = grouped.setdefault(measurement.case, {})
        rounds.setdefault(measurement.round, {})[measurement.way] = measurement.figures
    complete: dict[str, Rounds] = {}
    for case, rounds in grouped.items():
        ways = max(rounds.values(), key=len).keys()
        complete[case] = [figures for figures in rounds.values() if figures.keys() == ways]
    return complete


def ratios(rounds: Rounds, way: str, name: str, to: str | None = None) -> list[float]:
    """Return the ratio of a figure of a way to one of the plain run, for each round with both."""
    return quotients(rounds, (way, name), (PLAIN, to or name))


def quotients(rounds: Rounds, over: tuple[str, str], under: tuple[str, str]) -> list[float]:
    """Return the ratio of two figures, each given by way and name, for each round."""
    return [
        figures[over[0]][over[1]] / figures[under[0]][under[1]]
        for figures in rounds
        if over[1] in figures.get(over[0], {}) and figures.get(under[0], {}).get(under[1])
    ]


def spread(values: list[float], form: str) -> str:
    """Return the median, and the smallest and largest in parentheses."""
    if not values:
        return ""
    low, high = min(values), max(values)
    median = format(statistics.median(values), form)
    return median if low == high else f"{median} ({low:{form}} to {high:{form}})"


@dataclass(frozen=True)
class Bar:
    """A limit for a figure.

    Attributes
    ----------
    figure : callable
        Returns the figure for each round of the case.
    limit : float
        The largest figure that meets the bar; with ``at_least``, the smallest.
    """

    name: str
    case: str
    limit: float
    figure: Callable[[Rounds], list[float]]
    form: str = ".1%"
    at_least: bool = False

    def row(self, cases: dict[str, Rounds]) -> tuple[str, str, str, str]:
        """Return the row of the bar: name, limit, figure, verdict."""
        limit = f"{'at least' if self.at_least else 'at most'} {self.limit:{self.form}}"
        values = self.figure(cases.get(self.case, []))
        if not values:
            return self.name, limit, "", "not measured"
        median = statistics.median(values)
        met = median >= self.limit if self.at_least else median <= self.limit
        return self.name, limit, spread(values, self.form), "met" if met else "MISSED"


def _share(way: str, name: str, to: str) -> Callable[[Rounds], list[float]]:
    return lambda rounds: ratios(rounds, way, name, to)


def _known_call(rounds: Rounds) -> list[float]:
    """Return the milliseconds that a known call adds, or 0 below 1 % of the run."""
    return [
        1e3 * figures["none"]["added again"]
        if figures["none"]["added again"] > figures[PLAIN]["again"] / 100
        else 0.0
        for figures in rounds
    ]


def _against_old_way(name: str) -> Callable[[Rounds], list[float]]:
    return lambda rounds: quotients(rounds, ("old way", name), ("none", name))


def _own(name: str, factor: float = 1.0) -> Callable[[Rounds], list[float]]:
    return lambda rounds: [factor * figures["probe"][name] for figures in rounds]


def _more(way: str, name: str, unit: float) -> Callable[[Rounds], list[float]]:
    return lambda rounds: [
        (figures[way][name] - figures[PLAIN][name]) / unit for figures in rounds if way in figures
    ]


_KNOWN = ("batch-first", "memory-efficient", "no-jit", "numpy-weights", "made-in-update",
          "loose-components")  # fmt: skip
BARS = (
    Bar('first run, data="none"', "einet-1", 0.02, _share("none", "added first", "first")),
    Bar('first run, data="inputs"', "einet-1", 0.03, _share("inputs", "added first", "first")),
    Bar('repeated run, data="none"', "einet-1", 0.01, _share("none", "added again", "again")),
    Bar('repeated run, data="inputs"', "einet-1", 0.01, _share("inputs", "added again", "again")),
    Bar("old way's time over the probe's", "einet-1", 10, _against_old_way("added first"), ",.1f",
        at_least=True),
    Bar("old way's text over the probe's", "einet-1", 1000, _against_old_way("text"), ",.0f",
        at_least=True),
    Bar("first run, 200 components", "components-200", 0.05,
        _share("none", "added first", "first")),
    Bar("known call, ms", "calls-1000", 2, _known_call, ".2f"),
    Bar("jitted step in a Python loop, microseconds added", "jitted-step", 30,
        _own("added microseconds"), ".1f"),
    Bar("memory that a call leaves", "calls-1000", 1.03, _share("none", "left", "left"), ".3f"),
    *(
        Bar(f"known call, {network}, ms (or 1 % of the run)", f"known-{network}",
            5 if network == "no-jit" else 2, _known_call, ".2f")
        for network in _KNOWN
    ),
    Bar('peak memory, data="inputs", MB', "einet-1", 64, _more("inputs", "peak", 1e6), ".0f"),
    Bar("compilations added", "einet-1", 0, _more("none", "compilations", 1), ".0f"),
    Bar("replay over the plain first run", "read", 1.0, _own("replay ratio"), ".2f"),
    Bar("33 MB of data over numpy.save", "data", 1.25, _own("ratio"), ".2f"),
    *(
        Bar(f"{name}: 10,000 calls over 2,500", "index", 6, _own(f"{name} ratio"), ".1f")
        for name in ("append", "load", "calls")
    ),
    Bar("interpreter start, variable unset, ms", "start", 0.1, _own("seconds", 1e3), ".3f"),
    Bar("import brainpy_probe, ms", "import", 50, _own("seconds", 1e3), ".1f"),
)  # fmt: skip


def show(found: Iterable[Measurement], console: Console) -> None:
    """Print a table for each case, and the bars."""
    cases = rounds_of(found)
    for name, rounds in cases.items():
        if rounds:
            console.print(_table_of(name, rounds))
    table = Table("", "bar", "measured", "", title="bars", title_justify="left")
    for bar in BARS:
        table.add_row(*bar.row(cases))
    console.print(table)


def _table_of(name: str, rounds: Rounds) -> Table:
    title = f"{name}, {len(rounds)} rounds"
    if PLAIN not in rounds[0]:
        table = Table("figure", "value", title=title, title_justify="left")
        for figure in rounds[0]["probe"]:
            values = [figures["probe"][figure] for figures in rounds]
            table.add_row(figure, spread(values, ".4g"))
        return table
    plain = spread([figures[PLAIN]["first"] for figures in rounds], ".2f")
    table = Table(
        "", "first run", "added to it", "repeated run", "added to it", "peak", "text", "folder",
        title=f"{title}; plain first run {plain} s", title_justify="left",
    )  # fmt: skip
    for way in rounds[0]:
        if way == PLAIN:
            continue
        last = rounds[-1][way]
        table.add_row(
            way,
            spread([ratio - 1 for ratio in ratios(rounds, way, "first")], "+.1%"),
            spread(ratios(rounds, way, "added first", "first"), ".1%"),
            spread([ratio - 1 for ratio in ratios(rounds, way, "again")], "+.1%"),
            spread(ratios(rounds, way, "added again", "again"), ".1%"),
            spread(_more(way, "peak", 1e6)(rounds), "+.0f") + " MB",
            f"{last['text'] / 1e3:,.1f} kB",
            f"{last['folder'] / 1e3:,.1f} kB",
        )
    return table
