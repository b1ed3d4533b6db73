"""A thread renders a program while XLA compiles it: the program is the same, the thread ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import pytest
from jax._src import monitoring

import brainpy_probe as probe
from tests.eras import SINCE_2_7
from tests.networks import by_name


@contextmanager
def _lowering_threads() -> Iterator[set[str]]:
    """Yield a set to which the names of the threads in which JAX lowers are added."""
    threads: set[str] = set()

    def listen(event: str, _: float, **__: Any) -> None:
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            threads.add(threading.current_thread().name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield threads
    finally:
        monitoring._event_duration_secs_listeners.remove(listen)


@pytest.mark.skipif(not SINCE_2_7, reason="before 2.7, a run is known when it has ended")
@pytest.mark.parametrize("name", ["einet", "lstm-batched", "memory-efficient"])
def test_rendering_ahead_gives_the_same_program(name: str, out: Path) -> None:
    programs = []
    for local_setting in (False, True):
        # A thread-local setting of JAX: the program is then rendered after the run.
        setting: Any = jax.numpy_rank_promotion("warn") if local_setting else nullcontext()
        runner, run = by_name(name).build(), by_name(name).run
        with probe.capture(out, strict=True) as cap, setting, _lowering_threads() as threads:
            run(runner)
        assert ("brainpy-probe" in threads) is not local_setting
        assert "brainpy-probe" not in {thread.name for thread in threading.enumerate()}
        programs.append(cap.programs[0])
    ahead, after = programs
    assert ahead.text() == after.text()
    assert ahead.fingerprint == after.fingerprint
    assert ahead.record.results == after.record.results
