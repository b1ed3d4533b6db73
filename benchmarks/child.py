"""A process that is measured: does what its argument says, and prints what it took as JSON."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.work import Measured, Run, Work

__all__ = ["main"]

_COMPILED = "/jax/core/compile/backend_compile_duration"


def runs(work: Work) -> Measured:
    """Build a network and run it."""
    import brainpy as bp
    import jax

    import brainpy_probe as probe
    from benchmarks.networks import runner_of
    from benchmarks.oldway import OldWay

    folder = Path(work.folder)
    runner = runner_of(work.network, work.size)
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event == _COMPILED else None
    )
    old = OldWay(folder / "old.txt", work.options.get("dialect", "hlo"))
    if work.way == "old":
        old.edit(bp.DSRunner)
    scope: Any = contextlib.nullcontext()
    if work.way == "probe":
        scope = probe.capture(folder, strict=True, **work.options)
    made = []
    _forget_peak()
    begun = time.perf_counter()
    with scope as cap:
        opened = time.perf_counter()
        for _ in range(work.runs):
            compiled.clear()
            before, wall, cpu = old.added, time.perf_counter(), time.process_time()
            runner.run(work.steps * runner.dt)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            added = old.added - before
            if cap is not None:
                added = cap.manifest.calls[-1].probe.wall
            made.append(
                Run(
                    wall=wall,
                    cpu=cpu,
                    added=added,
                    compilations=len(compiled),
                    resident=_memory("VmRSS"),
                )
            )
        ended = time.perf_counter()
    around = opened - begun + time.perf_counter() - ended
    peak = _memory("VmHWM")
    text = old.file.stat().st_size if old.file.exists() else 0
    if cap is not None:
        text = len(cap.text.encode())
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return Measured(runs=made, peak=peak, around=around, text=text, folder=size)


def _forget_peak() -> None:
    """Have Linux forget the most that the process held: building may have held more than a run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int:
    """Return bytes of memory as Linux has them; elsewhere the greatest so far."""
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def replayed(work: Work) -> Measured:
    """Run the last program of a capture again, from its files."""
    import brainpy_probe as probe

    begun = time.perf_counter()
    made = probe.load(_capture(work)).programs[-1].replay()
    return Measured(
        seconds={
            "replay": time.perf_counter() - begun,
            "compile": made.compile_seconds,
            "run": made.run_seconds[0],
        }
    )


def verified(work: Work) -> Measured:
    """Prove a capture."""
    from brainpy_probe.verify.api import verify

    begun = time.perf_counter()
    found = verify(_capture(work))
    seconds = time.perf_counter() - begun
    assert found.passed, [check for check in found.checks if check.outcome == "failed"]
    return Measured(seconds={"verify": seconds})


def converted(work: Work) -> Measured:
    """Convert the last program of a capture to MHLO: the conversion alone, no proof."""
    import brainpy_probe as probe
    from brainpy_probe.compat import bindings
    from brainpy_probe.ir import identity

    text = probe.load(_capture(work)).programs[-1].text("stablehlo")
    seconds = []
    for _ in range(5):
        module = bindings.parse_mlir(text, bindings.mlir_context())
        begun = time.perf_counter()
        identity.to_mhlo(module)
        bindings.mlir_text(module)
        seconds.append(time.perf_counter() - begun)
    return Measured(seconds={"first": seconds[0], "again": min(seconds[1:])})


def written(work: Work) -> Measured:
    """Write arrays as a capture does, and beside that by ``numpy.save``: four large ones and 24."""
    import jax.numpy as jnp
    import numpy as np

    from brainpy_probe.format.folder import RunFolder
    from brainpy_probe.recording.program.tensors import ArrayFiles

    draw = np.random.default_rng(0)
    large = [draw.integers(0, 10_000, int(work.size) // 16, dtype=np.int32) for _ in range(4)]
    small = [draw.random(10_000, dtype=np.float32) for _ in range(24)]
    values = {f"constants/{n}": jnp.asarray(one) for n, one in enumerate([*large, *small])}
    seconds = {}
    for name in ("warm-up", "own"):
        folder = RunFolder(Path(work.folder) / name)
        os.sync()
        begun = time.perf_counter()
        ArrayFiles(folder).write("data.safetensors", "data", values, share=True)
        seconds[name] = time.perf_counter() - begun
        plain = Path(work.folder) / f"{name}-numpy"
        plain.mkdir()
        os.sync()
        begun = time.perf_counter()
        for number, value in enumerate(values.values()):
            np.save(plain / f"{number}.npy", np.asarray(value))
        seconds[f"{name}, numpy.save"] = time.perf_counter() - begun
    return Measured(seconds=seconds)


def indexed(work: Work) -> Measured:
    """Add calls with a module each to an index, read it back, and look at its calls."""
    import brainpy_probe as probe
    from brainpy_probe.format.common_records import Timing, WrittenFile
    from brainpy_probe.format.folder import RunFolder
    from brainpy_probe.format.records import (
        Addition,
        CallRecord,
        Environment,
        Manifest,
        ModuleRecord,
    )
    from brainpy_probe.settings import Settings

    digests = {f"in/state/E.{n}": f"{n:032x}" for n in range(10)}
    call = CallRecord(
        index=0, runner="DSRunner", model="EINet", thread="", started="", i0=0, dt=0.1,
        digests=digests,
    )  # fmt: skip
    files = tuple(
        WrittenFile(
            path=f"modules/0000-predict000-jit_scan/{kind}", kind=kind, size=1, digest="0" * 32
        )
        for kind in ("stablehlo", "mlirbc", "hlo")
    )
    module = ModuleRecord(
        index=0, name="jit_scan", fingerprint="", call=0, thread="", backend="cpu",
        origin="compiled", seconds=Timing(), arguments=(), reason="same", why="", files=files,
    )  # fmt: skip
    folder = RunFolder(work.folder)
    here = Environment(host="", pid=0, python="", backend="cpu", versions={})
    folder.write_manifest(Manifest(created="", environment=here, settings=Settings()))
    additions = [
        Addition(
            calls=(msgspec.structs.replace(call, index=n),),
            modules=(msgspec.structs.replace(module, index=n, call=n),),
        )
        for n in range(work.runs)
    ]
    seconds = {"add": time.perf_counter()}
    for addition in additions:
        folder.append(addition)
    seconds["load"] = time.perf_counter()
    loaded = probe.load(folder.path)
    seconds["calls"] = time.perf_counter()
    assert len(loaded.calls) == work.runs
    seconds["end"] = time.perf_counter()
    moments = list(seconds.values())
    spans = zip(seconds, moments, moments[1:], strict=False)
    return Measured(seconds={name: after - before for name, before, after in spans})


def _capture(work: Work) -> Path:
    (manifest,) = Path(work.folder).glob("run-*/manifest.json")
    return manifest.parent


TASKS: dict[str, Callable[[Work], Measured]] = {
    "runs": runs,
    "replay": replayed,
    "verify": verified,
    "mhlo": converted,
    "data": written,
    "index": indexed,
}


def main() -> None:
    """Do the work that the first argument has, and print what it took."""
    work = msgspec.json.decode(sys.argv[1], type=Work)
    print(msgspec.json.encode(TASKS[work.task](work)).decode())


if __name__ == "__main__":
    main()
