"""The measured process: does the work that its argument describes, and prints its figures."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import site
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.cases import Figures, Work

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
_COMPILED = "/jax/core/compile/backend_compile_duration"
# The growth of memory is measured after the first calls, which fill caches.
_SETTLED = 10


def run(work: Work) -> Figures:
    """Build a network and run it."""
    import brainpy as bp
    import jax

    import brainpy_probe as probe
    from benchmarks.networks import runner_of

    folder = Path(work.folder)
    runner = runner_of(work.network, work.size)
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event == _COMPILED else None
    )
    old = _OldWay(folder / "old.txt", work.options.get("dialect", "hlo"))
    if work.kind == "old":
        old.edit(bp.DSRunner)
    scope: Any = contextlib.nullcontext()
    if work.kind == "probe":
        scope = probe.capture(folder, strict=True, **work.options)
    walls, added, resident = [], [], []
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak of memory on Linux
    with scope as cap:
        for _ in range(work.runs):
            begin = time.perf_counter()
            runner.run(work.steps * runner.dt)
            walls.append(time.perf_counter() - begin)
            added.append(old.added if cap is None else cap.manifest.calls[-1].probe.wall)
            resident.append(_memory("VmRSS"))
    figures = {
        "first": walls[0],
        "added first": added[0],
        "compilations": float(len(compiled)),
        "peak": _memory("VmHWM"),
        "text": float(len(cap.text.encode())) if cap is not None else old.size(),
        "folder": float(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())),
    }
    if len(walls) > 1:
        figures |= {"again": statistics.median(walls[1:]), "all": sum(walls) / len(walls)}
        figures["added again"] = statistics.median(added[1:])
    if len(walls) > 2 * _SETTLED:
        growth = resident[-1] - resident[_SETTLED]
        figures["left"] = growth / (len(walls) - 1 - _SETTLED)
    return figures


class _OldWay:
    """Traces each ``_predict`` a second time and writes its text, as an edited BrainPy does."""

    def __init__(self, file: Path, dialect: str) -> None:
        self.file, self.dialect, self.added = file, dialect, 0.0

    def size(self) -> float:
        return float(self.file.stat().st_size) if self.file.exists() else 0.0

    def edit(self, runner: type[Any]) -> None:
        import jax

        native, way = runner._predict, self

        def _predict(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = jax.block_until_ready(native(self, *args, **kwargs))
            begin = time.perf_counter()
            again = jax.jit(lambda *args: native(self, *args, **kwargs)).lower(*args)
            way.file.write_text(again.as_text(dialect=way.dialect))
            way.added += time.perf_counter() - begin
            return result

        runner._predict = _predict


def _memory(name: str) -> float:
    """Return a memory figure of Linux in bytes, by its name; on other systems, the peak."""
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else found[1]
    return float(kilobytes) * 1024


def start(_: Work) -> Figures:
    """Time the processing of brainpy_probe.pth, minus that of a comment of the same length."""
    line = (ROOT / "brainpy_probe.pth").read_text()
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for name, text in (("warm-up", "#"), ("with", line), ("without", "#" * len(line))):
            (Path(folder) / f"{name}.pth").write_text(text)
            begin = time.perf_counter()
            site.addpackage(folder, f"{name}.pth", set())
            seconds[name] = time.perf_counter() - begin
    return {"seconds": seconds["with"] - seconds["without"]}


def import_package(_: Work) -> Figures:
    """Import the package; an earlier process has filled the disk cache."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "brainpy_probe"]:
        raise RuntimeError(f"{name} is already imported")
    begin = time.perf_counter()
    import brainpy_probe  # noqa: F401

    return {"seconds": time.perf_counter() - begin}


def write_arrays(work: Work) -> Figures:
    """Write four large arrays and 24 small ones as a capture does, and with ``numpy.save``."""
    import jax.numpy as jnp
    import numpy as np

    from brainpy_probe.format.folder import RunFolder
    from brainpy_probe.recording.program.tensors import ArrayFiles

    rng = np.random.default_rng(0)
    large = [rng.integers(0, 10_000, int(work.size) // 16, dtype=np.int32) for _ in range(4)]
    small = [rng.random(10_000, dtype=np.float32) for _ in range(24)]
    values = {f"constants/{n}": jnp.asarray(array) for n, array in enumerate([*large, *small])}
    figures = {}
    for name in ("warm-up", "seconds"):
        folder = RunFolder(Path(work.folder) / name)
        os.sync()
        begin = time.perf_counter()
        ArrayFiles(folder).write("data.safetensors", "data", values, share=True)
        figures[name] = time.perf_counter() - begin
        plain = Path(work.folder) / f"{name}-numpy"
        plain.mkdir()
        os.sync()
        begin = time.perf_counter()
        for number, value in enumerate(values.values()):
            np.save(plain / f"{number}.npy", np.asarray(value))
        figures["numpy.save"] = time.perf_counter() - begin
    return {**figures, "ratio": figures["seconds"] / figures["numpy.save"]}


def repeat_step(work: Work) -> Figures:
    """Call a jitted step many times, three times plain and three times in a capture."""
    import brainstate
    import jax
    import jax.numpy as jnp

    import brainpy_probe as probe

    state = brainstate.ShortTermState(jnp.zeros(4))

    @brainstate.transform.jit
    def step(factor: Any) -> None:
        state.value = state.value * 0.9 + factor

    def seconds() -> float:
        factor = jnp.float32(1.0)
        begin = time.perf_counter()
        for _ in range(work.runs):
            step(factor)
        jax.block_until_ready(state.value)
        return (time.perf_counter() - begin) / work.runs

    seconds()
    plain, captured, programs, growth = [], [], 0, 0.0
    for _ in range(3):
        plain.append(seconds())
        with probe.capture(work.folder, data="none", strict=True) as cap:
            step(jnp.float32(1.0))
            before = _memory("VmRSS")
            captured.append(seconds())
            growth = max(growth, _memory("VmRSS") - before)
        programs = max(programs, len(cap.programs))
    added = statistics.median(b - a for a, b in zip(plain, captured, strict=True))
    return {
        "plain": statistics.median(plain),
        "captured": statistics.median(captured),
        "added microseconds": added * 1e6,
        "programs": float(programs),
        "left": growth,
    }


def index_calls(work: Work) -> Figures:
    """Append calls with one module each to a manifest and read it, for a quarter and for all."""
    few = _indexed(work.runs // 4, Path(work.folder) / "few")
    many = _indexed(work.runs, Path(work.folder) / "many")
    return {**many, **{f"{name} ratio": many[name] / few[name] for name in many}}


def _indexed(count: int, parent: Path) -> Figures:
    import brainpy_probe as probe
    from brainpy_probe.format.folder import RunFolder
    from brainpy_probe.format.manifest.common_records import Timing
    from brainpy_probe.format.manifest.records import (
        Addition,
        CallRecord,
        Environment,
        Manifest,
        ModuleRecord,
    )
    from brainpy_probe.settings import Settings

    call = CallRecord(
        index=0, runner="DSRunner", model="EINet", thread="", started="", i0=0, dt=0.1,
        digests={f"in/state/E.{n}": f"{n:032x}" for n in range(10)},
    )  # fmt: skip
    module = ModuleRecord(
        index=0, name="jit_scan", fingerprint="", call=0, thread="", backend="cpu",
        origin="compiled", seconds=Timing(), arguments=(), reason="same", why="", files=(),
    )  # fmt: skip
    folder = RunFolder(parent)
    environment = Environment(host="", pid=0, python="", backend="cpu", versions={})
    folder.write_manifest(Manifest(created="", environment=environment, settings=Settings()))
    additions = [
        Addition(
            calls=(msgspec.structs.replace(call, index=n),),
            modules=(msgspec.structs.replace(module, index=n, call=n),),
        )
        for n in range(count)
    ]
    moments = [time.perf_counter()]
    for addition in additions:
        folder.append(addition)
    moments.append(time.perf_counter())
    loaded = probe.load(folder.path)
    moments.append(time.perf_counter())
    assert len(loaded.calls) == count
    moments.append(time.perf_counter())
    spans = zip(("append", "load", "calls"), moments, moments[1:], strict=False)
    return {name: after - before for name, before, after in spans}


def read_capture(work: Work) -> Figures:
    """Capture a run, replay it and verify it; compare the times with the first plain run."""
    import brainpy_probe as probe
    from benchmarks.networks import runner_of
    from brainpy_probe.verify.api import verify

    runner = runner_of(work.network, work.size)
    begin = time.perf_counter()
    runner.run(work.steps * runner.dt)
    plain = time.perf_counter() - begin
    with probe.capture(work.folder, data="full") as cap:
        runner.run(work.steps * runner.dt)
    begin = time.perf_counter()
    loaded = probe.load(cap.path)
    assert loaded.programs[-1].replay().equal
    replay = time.perf_counter() - begin
    begin = time.perf_counter()
    assert verify(cap.path).passed
    verification = time.perf_counter() - begin
    return {
        "replay": replay,
        "replay ratio": replay / plain,
        "verify": verification,
        "verify ratio": verification / plain,
    }


TASKS: dict[str, Callable[[Work], Figures]] = {
    task.__name__: task
    for task in (run, start, import_package, write_arrays, index_calls, read_capture, repeat_step)
}


def main() -> None:
    """Do the work that the first argument describes, and print its figures."""
    work = msgspec.json.decode(sys.argv[1], type=Work)
    print(msgspec.json.encode(TASKS[work.task](work)).decode())


if __name__ == "__main__":
    main()
