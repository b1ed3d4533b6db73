"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import benchmarks
from benchmarks.cases import all_cases
from benchmarks.measure import measure, read
from benchmarks.report import show


def main(words: list[str] | None = None) -> None:
    """Measure cases, or show the measurements of a file."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="one round of small networks")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases; see --list")
    parser.add_argument("--list", action="store_true", help="list the cases and measure nothing")
    parser.add_argument("--report", action="store_true", help="show the file, measure nothing")
    parser.add_argument(
        "--file", type=Path, default=Path("benchmarks.jsonl"), help="default: %(default)s"
    )
    options = parser.parse_args(words)
    cases = all_cases(quick=options.quick)
    names = [case.name for case in cases]
    if options.list:
        print("\n".join(names))
        return
    unknown = set(options.only or ()) - set(names)
    if unknown:
        parser.error(f"unknown cases {', '.join(sorted(unknown))}; known are {', '.join(names)}")
    console = Console(width=None if os.isatty(1) else 180)
    if not options.report:
        chosen = [case for case in cases if case.name in (options.only or names)]
        with Progress(console=Console(stderr=True)) as progress:
            total = sum(case.rounds * len(case.ways) for case in chosen)
            task = progress.add_task("", total=total)
            describe = lambda text: progress.update(task, description=text)  # noqa: E731
            for _ in measure(chosen, options.file, describe):
                progress.advance(task)
    console.print(_machine())
    show(read(options.file), console)


def _machine() -> str:
    packages = ("brainpy-probe", "brainpy", "jax", "jaxlib")
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    return ", ".join(
        (
            platform.platform(terse=True),
            f"{os.cpu_count()} processors",
            f"Python {platform.python_version()}",
            *versions,
        )
    )


if __name__ == "__main__":
    main()
