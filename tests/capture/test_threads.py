"""Captures with several threads: each gets its own settings, and no global state changes."""

from __future__ import annotations

import contextvars
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import brainpy as bp
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.format import reading
from tests import eras
from tests.networks import by_name


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Runner(bp.DSRunner):
    """A runner that calls a function before its run ends."""

    def __init__(self, at_end: Callable[[], object]) -> None:
        super().__init__(by_name("lif").build().target, progress_bar=False)
        self.at_end = at_end

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._predict(*args, **kwargs)
        self.at_end()
        return result


@pytest.mark.parametrize("removed", [False, True], ids=["closed", "removed"])
def test_a_run_that_ends_after_the_block_writes_nothing(out: Path, *, removed: bool) -> None:
    scope = probe.capture(out, strict=True)
    cap = scope.__enter__()
    before: dict[str, bytes] = {}

    def end() -> None:
        scope.__exit__(None, None, None)
        before.update(_files(cap.path))
        if removed:
            shutil.rmtree(cap.path)

    runner = Runner(end)
    runner.run(1.0)
    assert runner.i0 == 10
    assert not [name for name in before if "programs" in name or "predict" in name]
    assert cap.manifest.complete
    assert cap.calls == ()
    assert _files(cap.path) == ({} if removed else before)
    assert cap.path.exists() != removed


def test_a_module_compiled_after_a_call_has_no_call(out: Path) -> None:
    contexts: list[contextvars.Context] = []
    runner = Runner(lambda: contexts.append(contextvars.copy_context()))
    with probe.capture(out, strict=True) as cap:
        runner.run(1.0)
        compiling = jax.jit(lambda x: x * 7 + 1)
        contexts[0].run(compiling, np.ones(3, np.float32))
        (module,) = [module for module in cap.modules if "lambda" in module.name]
    assert module.record.call is None


def test_loading_while_a_capture_closes_finds_every_call(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = by_name("lif")
    runner = case.build()
    read = reading._read_journal
    with probe.capture(out, strict=True) as cap:
        case.run(runner)
        scope = probe.capture(out, strict=True)
        inner = scope.__enter__()
        case.run(runner)

        def close_then_read(folder: Path) -> Any:
            scope.__exit__(None, None, None)  # the manifest was read, the journal was not
            return read(folder)

        monkeypatch.setattr(reading, "_read_journal", close_then_read)
        loaded = probe.load(inner.path)
    assert len(loaded.calls) == 1
    assert loaded.manifest.complete
    assert len(cap.calls) == 2


def test_another_thread_reads_only_complete_calls(out: Path) -> None:
    case = by_name("lif")
    runner = case.build()
    counts: list[int] = []
    stop = threading.Event()

    def read(cap: probe.Capture) -> None:
        while not stop.is_set():
            calls = cap.calls
            assert all(call.program is not None for call in calls)
            # BrainPy 2.3 keeps the compiled loop: later calls compile nothing.
            assert all(call.modules for call in calls[: None if eras.COMPILES_EACH_RUN else 1])
            counts.append(len(calls))

    failures: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", failures.append)
        with probe.capture(out, strict=True, data="none") as cap:
            thread = threading.Thread(target=read, args=(cap,))
            thread.start()
            for _ in range(4):
                case.run(runner)
        stop.set()
        thread.join()
    assert not failures
    assert counts == sorted(counts)
    assert len(cap.calls) == 4


def test_nested_captures_have_their_own_kinds_of_dumps(out: Path) -> None:
    with (
        probe.capture(out, xla_dump="text", strict=True) as text,
        probe.capture(out, xla_dump=["dot", "proto"], strict=True) as dot_proto,
        probe.capture(out, strict=True) as none,
    ):
        jax.jit(lambda x: x * 11 + 3)(np.ones(3, np.float32))

    def suffixes(capture: probe.Capture) -> set[str]:
        snapshots = {path.suffix for path in capture.dump_paths if "optimizations" in path.name}
        return snapshots & {".txt", ".dot", ".html", ".pb"}

    assert suffixes(text) == {".txt"}
    assert suffixes(dot_proto) == {".dot", ".pb"}
    assert none.dump_paths == ()
    assert none.modules[-1].record.notes == ()


@contextmanager
def _snapshots_of_globals() -> Iterator[list[Any]]:
    """Read the global settings of the process in another thread throughout the block."""
    snapshots: list[Any] = []
    stop = threading.Event()
    try:
        config: Any = import_module("brainevent.config")
    except ImportError:
        config = None

    def read() -> None:
        while not stop.is_set():
            chosen = getattr(config, "_global_backends", None)
            snapshots.append((id(chosen), str(chosen), dict(os.environ)))
            time.sleep(0.0005)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield snapshots
    finally:
        stop.set()
        thread.join()


def test_lowering_a_program_changes_no_global_state(out: Path) -> None:
    case = by_name("einet")
    runner = case.build()
    case.run(runner)  # BrainPy and JAX do their one-time setup here
    with (
        _snapshots_of_globals() as snapshots,
        probe.capture(out, portable=True, strict=True) as cap,
    ):
        case.run(runner)
    assert cap.programs[0].portable is not None
    assert len(snapshots) > 10
    assert all(snapshot == snapshots[0] for snapshot in snapshots)
