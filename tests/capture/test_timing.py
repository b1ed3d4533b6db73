"""Seconds by phase: time counts once, for the innermost phase, and the phases sum to the total."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numba
import numpy as np
import pytest
from jax._src import monitoring

import brainpy_probe as probe
from tests import eras
from tests.networks import by_name


@pytest.mark.parametrize("name", ["lif", "python-loop"])
def test_the_phases_of_a_run_sum_to_its_wall_time(name: str, out: Path) -> None:
    case = by_name(name)
    runner = case.build()
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        case.run(runner)
        case.run(runner)
    for call in cap.calls:
        for timing in (call.timing, call.probe_timing):
            phases = timing.trace + timing.lower + timing.compile + timing.execute
            assert phases == pytest.approx(timing.wall, abs=1e-3)
            assert min(timing.trace, timing.lower, timing.compile, timing.execute) >= 0
            assert timing.wall > 0
    first = cap.calls[0]
    if name == "lif":
        assert min(first.timing.trace, first.timing.lower, first.timing.compile) > 0
    assert first.probe_timing.compile == 0, "the probe compiled a module"


# --- Phases ---------------------------------------------------------------------------------------


class Step(eras.DynamicalSystem):
    """A model that calls a function while it is traced."""

    def __init__(self, on_trace: Any) -> None:
        super().__init__()
        self.v, self.on_trace = bm.Variable(bm.ones(3)), on_trace

    def update(self, *_: Any) -> Any:
        self.on_trace()
        self.v.value = self.v.value * 0.5
        return self.v.value


def _call(out: Path, model: Any, duration: float = 0.3, **options: Any) -> Any:
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False, **options)
    with probe.capture(out, strict=True) as cap:
        runner.run(duration)
    return cap.calls[0]


def test_numba_compilation_is_a_separate_phase(out: Path) -> None:
    def compile_with_numba() -> None:
        numba.njit(lambda x: x + 1)(3)

    call = _call(out, Step(compile_with_numba))
    assert call.timing.numba > 0.01
    assert any(name.endswith("compile_with_numba.<locals>.<lambda>") for name in call.record.numba)
    assert call.timing.trace < call.timing.wall - call.timing.numba
    assert _call(out, Step(lambda: None)).timing.numba == 0


def _clear_listeners() -> None:
    for name in ("clear_event_listeners", "_clear_event_listeners"):
        getattr(monitoring, name, lambda: None)()


@pytest.fixture
def listeners() -> Iterator[None]:
    """Restore the listeners of others."""
    before = list(monitoring._event_duration_secs_listeners)
    yield
    now = monitoring._event_duration_secs_listeners
    now += [listener for listener in before if listener not in now]


@pytest.mark.usefixtures("listeners")
def test_phases_without_an_event_of_jax_are_none(out: Path) -> None:
    cleared = _call(out, Step(_clear_listeners)).timing
    assert (cleared.trace, cleared.lower, cleared.compile, cleared.execute) == (None,) * 4
    assert cleared.wall > 0
    _clear_listeners()
    after = _call(out, Step(lambda: None))
    assert min(after.timing.trace, after.timing.lower, after.timing.compile) > 0
    assert after.record.notes == ()
    with probe.capture(out, strict=True) as cap:
        _clear_listeners()
        for n in range(2):
            jax.jit(lambda x, n=n: x * n)(np.ones(2, np.float32))
    first, second = (module.timing for module in cap.modules if "lambda" in module.name)
    assert (first.trace, first.lower, first.wall) == (None, None, None)
    assert first.compile > 0
    assert min(second.trace, second.lower) > 0


def test_a_trace_without_a_module_counts_for_no_module(out: Path) -> None:
    def sleeping(x: Any) -> Any:
        time.sleep(0.2)
        return x

    x = np.ones(2, np.float32)
    with probe.capture(out, strict=True) as cap:
        jax.eval_shape(sleeping, x)
        jax.jit(lambda x: x * 3)(x)
    seconds = [module.timing for module in cap.modules if "lambda" in module.name]
    assert len(seconds) == 1
    assert 0 < seconds[0].trace < 0.2


class Heavy(eras.DynamicalSystem):
    """A model that takes a while to run."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.w = bm.Variable(bm.ones(1000)), bm.ones((1000, 1000)) * 1e-3

    def update(self, *_: Any) -> None:
        self.v.value = bm.as_jax(self.w) @ self.v.value


def test_a_trace_belongs_to_one_module(out: Path) -> None:
    def traced(x: Any) -> Any:
        return x * 3.0

    with probe.capture(out / "earlier", strict=True):
        jax.jit(traced).lower(np.ones(4, np.float32))  # not compiled
    with probe.capture(out, strict=True) as cap:
        jax.jit(traced)(np.ones(2, np.float32))
        with ThreadPoolExecutor(1) as thread:
            lowered = thread.submit(lambda: jax.jit(traced).lower(np.ones(3, np.float32))).result()
        lowered.compile()
    first, second = cap.modules
    assert first.name == second.name
    # The seconds of other modules do not count for the second, which another thread lowered.
    assert second.timing.lower is None


def test_an_unfinished_run_is_not_the_probes_time(out: Path) -> None:
    call = _call(out, Heavy(), 150.0, numpy_mon_after_run=False)
    if call.timing.execute is None:
        assert "still running" in call.record.notes[0]
        assert call.probe_timing.wall < 0.2 * call.timing.wall + 0.5
    else:  # JAX waited for the run
        assert call.timing.execute > 0.05
    assert _call(out, Heavy(), 1.0).timing.execute is not None
