"""Seconds by phase: each moment counted once, for the innermost phase; they sum to the whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from brainpy_probe.recording.modules import timing
from brainpy_probe.recording.modules.timing import Phase, Stopwatch
from tests import eras
from tests.networks import by_name


@dataclass
class _Clock:
    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """Return a clock that stands until it is set."""
    clock = _Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def _timing(
    clock: _Clock, *phases: tuple[Phase, float, float], excluded: float = 0.0
) -> dict[str, float]:
    """Time a stretch of 10 seconds with phases that are reported as they end, as JAX does."""
    watch = Stopwatch(begun=0.0)
    for phase, begin, end in sorted(phases, key=lambda one: one[2]):
        clock.now = end
        watch.add(timing.span_until_now(phase, end - begin))
    watch.exclude(excluded)
    clock.now = 10.0
    watch.stop()
    clock.now = 99.0
    made = watch.timing()
    return {name: getattr(made, name) for name in made.__struct_fields__}


def test_a_phase_within_one_of_its_kind_is_counted_once(clock: _Clock) -> None:
    made = _timing(clock, ("trace", 1, 7), ("trace", 2, 3), ("trace", 2, 5))
    assert made == {"trace": 6, "lower": 0, "compile": 0, "numba": 0, "execute": 4, "wall": 10}


def test_phases_side_by_side_add_up(clock: _Clock) -> None:
    made = _timing(clock, ("trace", 1, 2), ("trace", 3, 5), ("lower", 5, 6), ("compile", 6, 9))
    assert made == {"trace": 3, "lower": 1, "compile": 3, "numba": 0, "execute": 3, "wall": 10}


def test_a_moment_goes_to_the_innermost_phase(clock: _Clock) -> None:
    made = _timing(clock, ("trace", 0, 9), ("lower", 2, 7), ("compile", 4, 6))
    assert made == {"trace": 4, "lower": 3, "compile": 2, "numba": 0, "execute": 1, "wall": 10}


def test_a_trace_within_a_lowering_is_a_trace(clock: _Clock) -> None:
    made = _timing(clock, ("lower", 1, 7), ("trace", 2, 4))
    assert made == {"trace": 2, "lower": 4, "compile": 0, "numba": 0, "execute": 4, "wall": 10}


def test_excluded_seconds_are_none_of_the_stretch(clock: _Clock) -> None:
    made = _timing(clock, ("lower", 1, 2), excluded=3.0)
    assert made == {"trace": 0, "lower": 1, "compile": 0, "numba": 0, "execute": 6, "wall": 7}


def test_a_stretch_without_phases_is_all_execution(clock: _Clock) -> None:
    made = _timing(clock)
    assert made == {"trace": 0, "lower": 0, "compile": 0, "numba": 0, "execute": 10, "wall": 10}


def test_a_stretch_that_goes_on_lasts_until_now(clock: _Clock) -> None:
    watch = Stopwatch(begun=1.0)
    clock.now = 4.0
    assert watch.timing().wall == 3.0


@pytest.mark.parametrize("name", ["lif", "python-loop"])
def test_the_phases_of_a_run_sum_to_its_wall_time(name: str, out: Path) -> None:
    case = by_name(name)
    runner = case.build()
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        case.run(runner)
        case.run(runner)
    for call in cap.calls:
        for one in (call.timing, call.probe_timing):
            phases = one.trace + one.lower + one.compile + one.execute
            assert phases == pytest.approx(one.wall, abs=1e-3)
            assert min(one.trace, one.lower, one.compile, one.execute) >= 0
            assert one.wall > 0
    first = cap.calls[0]
    if name == "lif":
        assert min(first.timing.trace, first.timing.lower, first.timing.compile) > 0
    assert first.probe_timing.compile == 0, "the probe compiles nothing"


def test_an_interruption_is_none_of_the_phases(clock: _Clock) -> None:
    clock.now = 5.0
    probes_own = Stopwatch(begun=3.0)
    probes_own.stop()
    watch = Stopwatch(begun=0.0)
    watch.exclude_interval(probes_own)
    clock.now = 8.0
    watch.add(timing.span_until_now("compile", 7.0))
    clock.now = 10.0
    watch.stop()
    made = watch.timing()
    assert (made.compile, made.execute, made.wall) == (5.0, 3.0, 8.0)


def test_what_another_thread_does_counts_where_nothing_else_does(clock: _Clock) -> None:
    watch = Stopwatch(begun=0.0)
    clock.now = 4.0
    watch.add(timing.span_until_now("compile", 3.0))
    watch.add_other_thread(("numba", 2.0, 7.0))
    watch.add_other_thread(("numba", -5.0, 0.5))
    clock.now = 10.0
    watch.stop()
    made = watch.timing()
    assert (made.compile, made.numba, made.execute) == (3.0, 3.5, 3.5)


def test_what_was_missed_is_none_and_so_is_what_is_left(clock: _Clock) -> None:
    watch, other = Stopwatch(begun=0.0), Stopwatch(begun=0.0)
    watch.mark_unmeasured("numba")
    clock.now = 10.0
    made = watch.timing()
    assert (made.trace, made.numba, made.execute, made.wall) == (0, None, None, 10)
    both = timing.add_timings(made, other.timing())
    assert (both.trace, both.numba, both.wall) == (0, None, 20)


# --- In real runs ---------------------------------------------------------------------------------


class Step(eras.DynamicalSystem):
    """A model that does something while it is traced."""

    def __init__(self, does: Any) -> None:
        super().__init__()
        self.v, self.does = bm.Variable(bm.ones(3)), does

    def update(self, *_: Any) -> Any:
        self.does()
        self.v.value = self.v.value * 0.5
        return self.v.value


def _call(out: Path, model: Any, duration: float = 0.3, **options: Any) -> Any:
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False, **options)
    with probe.capture(out, strict=True) as cap:
        runner.run(duration)
    return cap.calls[0]


def test_numbas_compilation_is_a_phase_of_its_own(out: Path) -> None:
    def compiled_here() -> None:
        numba.njit(lambda x: x + 1)(3)

    call = _call(out, Step(compiled_here))
    assert call.timing.numba > 0.01
    assert any(name.endswith("compiled_here.<locals>.<lambda>") for name in call.record.numba)
    assert call.timing.trace < call.timing.wall - call.timing.numba
    assert _call(out, Step(lambda: None)).timing.numba == 0


def _clear_listeners() -> None:
    for name in ("clear_event_listeners", "_clear_event_listeners"):
        getattr(monitoring, name, lambda: None)()


@pytest.fixture
def listeners() -> Iterator[None]:
    """Put the listeners of others back."""
    before = list(monitoring._event_duration_secs_listeners)
    yield
    now = monitoring._event_duration_secs_listeners
    now += [one for one in before if one not in now]


@pytest.mark.usefixtures("listeners")
def test_phases_that_jax_did_not_tell_of_are_none(out: Path) -> None:
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
    first, second = (one.timing for one in cap.modules if "lambda" in one.name)
    assert (first.trace, first.lower, first.wall) == (None, None, None)
    assert first.compile > 0
    assert min(second.trace, second.lower) > 0


def test_a_trace_that_leads_to_no_module_is_in_none(out: Path) -> None:
    def sleeping(x: Any) -> Any:
        time.sleep(0.2)
        return x

    x = np.ones(2, np.float32)
    with probe.capture(out, strict=True) as cap:
        jax.eval_shape(sleeping, x)
        jax.jit(lambda x: x * 3)(x)
    seconds = [one.timing for one in cap.modules if "lambda" in one.name]
    assert len(seconds) == 1
    assert 0 < seconds[0].trace < 0.2


class Heavy(eras.DynamicalSystem):
    """A model that takes a while to run."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.w = bm.Variable(bm.ones(1000)), bm.ones((1000, 1000)) * 1e-3

    def update(self, *_: Any) -> None:
        self.v.value = bm.as_jax(self.w) @ self.v.value


def test_a_run_that_goes_on_is_not_the_probes_time(out: Path) -> None:
    call = _call(out, Heavy(), 150.0, numpy_mon_after_run=False)
    if call.timing.execute is None:
        assert "still running" in call.record.notes[0]
        assert call.probe_timing.wall < 0.2 * call.timing.wall + 0.5
    else:  # JAX waited for it
        assert call.timing.execute > 0.05
    assert _call(out, Heavy(), 1.0).timing.execute is not None
