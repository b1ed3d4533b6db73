"""The command ``python -m benchmarks``: measures, prints, writes."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import benchmarks
from benchmarks import apart
from benchmarks.bars import bars
from benchmarks.cases import Case, all_cases
from benchmarks.report import markdown, show, tables
from benchmarks.results import exponents, result_of
from benchmarks.rounds import Rounds, measure_case, warm_up


def main(words: list[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="small networks, one round each")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases; --list names all")
    parser.add_argument("--list", action="store_true", help="name the cases, and measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    options = parser.parse_args(words)
    cases = all_cases(quick=options.quick)
    names = [*(case.name for case in cases), *apart.NAMES]
    if options.list:
        print("\n".join(names))
        return
    unknown = set(options.only or ()) - set(names)
    if unknown:
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    wanted = options.only or names
    _measure([case for case in cases if case.name in wanted], wanted, options)


def _measure(cases: list[Case], wanted: list[str], options: argparse.Namespace) -> None:
    measured: dict[str, Rounds] = {}
    aside: dict[str, apart.Apart] = {}
    total = sum(case.rounds * len(case.variants) for case in cases)
    steps = [name for name in apart.NAMES if name in wanted]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("warm-up", total=total + len(steps))

        def begin(what: str) -> None:
            progress.update(task, description=what)

        if cases and not options.quick:
            warm_up(min(cases, key=lambda case: case.size * case.steps))
        for case in cases:
            started = progress.tasks[0].completed

            def counted(what: str) -> None:
                begin(what)
                progress.advance(task)

            measured[case.name] = measure_case(case, counted)
            progress.update(task, completed=started + case.rounds * len(case.variants))
        for name in steps:
            aside |= apart.measure_apart(name, begin, quick=options.quick)
            progress.advance(task)
    found = [result_of(case, measured[case.name]) for case in cases]
    grown, held = exponents(found), bars(found, aside)
    reports = tables(found, aside, grown, held)
    show(Console(width=None if sys.stdout.isatty() else 200), reports)
    if options.markdown:
        options.markdown.write_text(markdown(reports, ", ".join(_machine().values())))
    if options.json:
        everything: dict[str, Any] = {
            "machine": _machine(),
            "quick": options.quick,
            "cases": found,
            "apart": aside,
            "exponents": grown,
            "bars": held,
            "measured": measured,
        }
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=1))


def _machine() -> dict[str, str]:
    packages = ("brainpy-probe", "brainpy", "jax", "jaxlib")
    return {
        "system": platform.platform(terse=True),
        "processors": f"{os.cpu_count()} processors",
        "python": f"Python {platform.python_version()}",
        **{name: f"{name} {metadata.version(name)}" for name in packages},
    }


if __name__ == "__main__":
    main()
