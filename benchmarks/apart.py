"""What is measured apart from any run: start, import, replay, conversion, proof."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.figures import Spread, spread
from benchmarks.processes import ROOT, measure, measure_bare
from benchmarks.work import Work

__all__ = ["NAMES", "Apart", "measure_apart"]

NAMES = ("start", "import", "data", "index", "capture")

_IMPORT = """
import time
begun = time.perf_counter()
import brainpy_probe
print(time.perf_counter() - begun)
"""
# What site does with each .pth file, on two of one folder, one after the other; a first one is for
# what site itself imports.
_START = """
import site, time
def seconds(name):
    begun = time.perf_counter()
    site.addpackage({folder!r}, name, set())
    return time.perf_counter() - begun
seconds("without.pth")
found = {{name: seconds(name) for name in {names!r}}}
print(found["with.pth"] - found["without.pth"])
"""


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """One such figure: seconds, and what they are a ratio to, if they are."""

    seconds: Spread
    ratio: Spread | None = None
    to: str = ""


def measure_apart(name: str, begin: Callable[[str], object], *, quick: bool) -> dict[str, Apart]:
    """Measure one of :data:`NAMES`."""
    measures = {
        "start": _start,
        "import": _import,
        "data": _data,
        "index": _index,
        "capture": _of_a_capture,
    }
    return measures[name](begin, quick)


def _import(begin: Callable[[str], object], quick: bool) -> dict[str, Apart]:
    begin("import brainpy_probe")
    measure_bare(_IMPORT)
    found = [measure_bare(_IMPORT).seconds["own"] for _ in range(3 if quick else 25)]
    return {"import brainpy_probe": Apart(seconds=spread(found))}


def _start(begin: Callable[[str], object], quick: bool) -> dict[str, Apart]:
    """Compare brainpy_probe.pth with a file that has a comment in place of its line."""
    begin("interpreter start")
    over, of_start = [], []
    with tempfile.TemporaryDirectory() as folder:
        line = (ROOT / "brainpy_probe.pth").read_text()
        (Path(folder) / "with.pth").write_text(line)
        (Path(folder) / "without.pth").write_text("#" * len(line))
        for number in range(5 if quick else 50):
            names = ["with.pth", "without.pth"][:: 1 if number % 2 else -1]
            found = measure_bare(_START.format(folder=folder, names=names))
            over.append(found.seconds["own"])
            of_start.append(over[-1] / found.process)
    start = Apart(seconds=spread(over), ratio=spread(of_start), to="an interpreter's start and end")
    return {"brainpy_probe.pth, variable unset": start}


def _data(begin: Callable[[str], object], quick: bool) -> dict[str, Apart]:
    """Compare writing 33 MB of arrays, digests and all, with ``numpy.save``."""
    begin("data")
    seconds, ratios = [], []
    for _ in range(1 if quick else 9):
        with tempfile.TemporaryDirectory() as folder:
            took = measure(Work(task="data", size=32e6, folder=folder)).seconds
        seconds.append(took["own"])
        ratios.append(took["own"] / took["own, numpy.save"])
    return {"33 MB of data": Apart(seconds=spread(seconds), ratio=spread(ratios), to="numpy.save")}


def _index(begin: Callable[[str], object], quick: bool) -> dict[str, Apart]:
    """Compare 10,000 calls with a module each with a quarter of them: linear is 4 times."""
    begin("index")
    many = 1000 if quick else 10_000
    took: dict[str, list[float]] = {"add": [], "load": [], "calls": []}
    ratios: dict[str, list[float]] = {name: [] for name in took}
    for _ in range(1 if quick else 5):
        seconds = []
        for calls in (many // 4, many):
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(measure(Work(task="index", runs=calls, folder=folder)).seconds)
        for name in took:
            took[name].append(seconds[1][name])
            ratios[name].append(seconds[1][name] / seconds[0][name])
    what = {"add": "additions to the index", "load": "load()", "calls": "cap.calls"}
    return {
        f"{what[name]}, {many:,} calls": Apart(
            seconds=spread(took[name]), ratio=spread(ratios[name]), to="a quarter of them"
        )
        for name in took
    }


def _of_a_capture(begin: Callable[[str], object], quick: bool) -> dict[str, Apart]:
    replayed, converted, verified, to_script, to_run, to_lines = [], [], [], [], [], []
    size, steps = (0.02, 200) if quick else (1.0, 10_000)
    for number in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as folder:
            begin(f"a capture, to be replayed and verified, round {number + 1}")
            options = {"data": "full", "dialect": ["stablehlo", "mhlo", "hlo"]}
            script = Work(size=size, steps=steps, way="probe", options=options, folder=folder)
            plain = measure(msgspec.structs.replace(script, way="plain", options={}))
            captured = measure(script)
            begin("replay")
            again = measure(Work(task="replay", folder=folder))
            begin("conversion to MHLO")
            mhlo = measure(Work(task="mhlo", folder=folder))
            begin("verify")
            proof = measure(Work(task="verify", folder=folder))
        replayed.append(again.process)
        to_script.append(again.process / plain.process)
        converted.append(mhlo.seconds["again"])
        to_lines.append(mhlo.seconds["again"] / captured.runs[0].added)
        verified.append(proof.seconds["verify"])
        to_run.append(proof.seconds["verify"] / statistics.median(r.wall for r in plain.runs))
    return {
        f"replay, scale {size:g}, a process": Apart(
            seconds=spread(replayed), ratio=spread(to_script), to="running the script again"
        ),
        "conversion to MHLO": Apart(
            seconds=spread(converted), ratio=spread(to_lines), to="what the probe adds in all"
        ),
        "verify": Apart(seconds=spread(verified), ratio=spread(to_run), to="the plain first run"),
    }
