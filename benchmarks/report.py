"""Results as tables, on the terminal and in Markdown; reckons nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.apart import Apart
from benchmarks.bars import Bar
from benchmarks.figures import Spread
from benchmarks.results import CaseResult

__all__ = ["Report", "markdown", "show", "tables"]

# A title, its columns, its rows.
Report = tuple[str, Sequence[str], list[Sequence[str]]]


def tables(
    cases: Sequence[CaseResult],
    apart: Mapping[str, Apart],
    exponents: Mapping[str, Mapping[str, float]],
    bars: Sequence[Bar],
) -> list[Report]:
    """Return all tables: each case's ways, what is measured apart, growth, the bars."""
    found: list[Report] = [
        (
            f"{case.name}: {case.network} {case.size:g}, {case.steps:,} steps, {case.runs} runs, "
            f"{case.rounds} rounds; plain: {_seconds(case.plain_first)} s, "
            f"again {_seconds(case.plain_again)} s",
            _COLUMNS,
            list(_rows(case)),
        )
        for case in cases
    ]
    if apart:
        aside = [(k, _unit(one.seconds), _times(one.ratio), one.to) for k, one in apart.items()]
        found.append(("apart", ("", "seconds", "ratio", "to"), [*aside]))
    if exponents:
        columns = ("with", "what", "exponent")
        grown = [(g, what, f"{p:+.2f}") for g, one in exponents.items() for what, p in one.items()]
        found.append(("growth: y ~ x^p", columns, [*grown]))
    said = {True: "met", False: "MISSED", None: "not measured"}
    held = [(bar.name, bar.bar, bar.figure, said[bar.met]) for bar in bars]
    found.append(("bars", ("", "bar", "measured", ""), [*held]))
    return found


_COLUMNS = (
    "", "first", "first, processor", "added", "again", "again, processor", "added again",
    "peak", "XLA", "text", "folder",
)  # fmt: skip


def _rows(case: CaseResult) -> Iterable[Sequence[str]]:
    for name, one in case.results.items():
        yield (
            name,
            _over(one.first),
            _over(one.first_cpu),
            _added(one.added_first, one.share_first),
            _over(one.again),
            _over(one.again_cpu),
            _added(one.added_again, one.share_again),
            f"{one.peak / 1e6:+.0f} MB",
            f"{one.compilations:+d}" if one.compilations else "0",
            _bytes(one.text) if one.text else "",
            _bytes(one.folder),
        )


def _seconds(one: Spread | None) -> str:
    return "-" if one is None else f"{one.median:.2f} ({one.least:.2f} to {one.greatest:.2f})"


def _unit(one: Spread) -> str:
    scale, unit = (1e3, "ms") if abs(one.median) < 1 else (1.0, "s")
    least, greatest = one.least * scale, one.greatest * scale
    return f"{one.median * scale:.3g} {unit} ({least:.3g} to {greatest:.3g})"


def _times(one: Spread | None) -> str:
    return "" if one is None else f"{one.median:.3f} ({one.least:.3f} to {one.greatest:.3f})"


def _over(one: Spread | None) -> str:
    if one is None:
        return ""
    return f"{one.median - 1:+.1%} ({one.least - 1:+.1%} to {one.greatest - 1:+.1%})"


def _added(seconds: Spread | None, share: Spread | None) -> str:
    if seconds is None or share is None:
        return ""
    return f"{seconds.median * 1e3:.1f} ms, {share.median:.1%}"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def show(console: Console, reports: Sequence[Report]) -> None:
    """Print tables on a terminal."""
    for title, columns, rows in reports:
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown(reports: Sequence[Report], machine: str) -> str:
    """Return tables as Markdown."""
    parts = [machine]
    for title, columns, rows in reports:
        lines = [f"**{title}**", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
