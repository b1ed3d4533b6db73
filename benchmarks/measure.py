"""Measures cases round by round, and appends the figures of each process to a file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.cases import Case, Figures, Work

__all__ = ["Measurement", "MeasurementFailed", "figures_of", "measure", "read"]

ROOT = Path(__file__).parent.parent
_NOT_INHERITED = ("XLA_", "JAX_", "BRAINPY_PROBE", "LOGURU_", "PYTHON")
_XLA_DUMPS = " ".join(f"--xla_dump_hlo_as_{kind}" for kind in ("text", "dot", "html", "proto"))


class MeasurementFailed(RuntimeError):
    """A measured process failed; the message is the end of its stderr."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one process: one line of the file."""

    case: str
    way: str
    round: int
    figures: Figures


def measure(
    cases: list[Case], file: Path, progress: Callable[[str], object]
) -> Iterator[Measurement]:
    """Measure cases, and yield the figures of each process after appending them to a file.

    Parameters
    ----------
    cases : list of Case
        The cases to measure.
    file : Path
        A file of JSON lines; existing lines are kept.
    progress : callable
        Called with a description of each process before it starts.
    """
    for case in cases:
        ways = list(case.ways)
        for number in range(case.rounds):
            first = number % len(ways)
            for way in ways[first:] + ways[:first]:
                progress(f"{case.name}: {way}, round {number + 1} of {case.rounds}")
                with tempfile.TemporaryDirectory() as folder:
                    figures = figures_of(case.work_of(way, folder))
                found = Measurement(case=case.name, way=way, round=number, figures=figures)
                with file.open("ab") as lines:
                    lines.write(msgspec.json.encode(found) + b"\n")
                yield found


def read(file: Path) -> list[Measurement]:
    """Return the measurements of a file."""
    lines = file.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Measurement) for line in lines]


def figures_of(work: Work) -> Figures:
    """Run work in a new process, and return its figures.

    Raises
    ------
    MeasurementFailed
        If the exit code of the process is not 0.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    if work.kind == "jax-dump":
        environment["JAX_DUMP_IR_TO"] = work.folder
    if work.kind == "xla-flags":
        environment["XLA_FLAGS"] = f"--xla_dump_to={work.folder} {_XLA_DUMPS}"
    words = [sys.executable, "-m", "benchmarks.child", msgspec.json.encode(work).decode()]
    done = subprocess.run(  # noqa: S603 - this interpreter, on our own code
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise MeasurementFailed(f"{work}\n{done.stderr[-4000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Figures)
