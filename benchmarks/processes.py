"""Starts a measured process, in an environment of its own, and reads what it tells."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.work import Measured, Work

__all__ = ["ChildFailed", "measure", "measure_bare"]

ROOT = Path(__file__).parent.parent
# What would reach a process from the environment of whoever measures.
_NOT_INHERITED = ("XLA_", "JAX_", "BRAINPY_PROBE", "LOGURU_", "PYTHON")
_XLA_DUMPS = " ".join(f"--xla_dump_hlo_as_{kind}" for kind in ("text", "dot", "html", "proto"))


class ChildFailed(RuntimeError):
    """A measured process failed; its own words are the message."""


def measure(work: Work) -> Measured:
    """Have a fresh process do some work.

    Raises
    ------
    ChildFailed
        If it ends with another exit code than 0.
    """
    words = ["-m", "benchmarks.child", msgspec.json.encode(work).decode()]
    seconds, printed = _started(words, _environment(work))
    measured = msgspec.json.decode(printed, type=Measured)
    return msgspec.structs.replace(measured, process=seconds)


def measure_bare(source: str) -> Measured:
    """Have a fresh interpreter, which has imported nothing, print the seconds that it took."""
    seconds, printed = _started(["-c", source], _environment(Work()))
    return Measured(process=seconds, seconds={"own": float(printed)})


def _environment(work: Work) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    if work.way == "jax-dump":
        environment["JAX_DUMP_IR_TO"] = work.folder
    if work.way == "xla-flags":
        environment["XLA_FLAGS"] = f"--xla_dump_to={work.folder} {_XLA_DUMPS}"
    return environment


def _started(words: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run an interpreter to its end; return the seconds, and the last line that it printed."""
    begun = time.perf_counter()
    child = subprocess.run(  # noqa: S603  this interpreter, on code of ours
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if child.returncode != 0:
        raise ChildFailed(f"{' '.join(words)}\n{child.stderr[-4000:]}")
    return seconds, child.stdout.splitlines()[-1]
