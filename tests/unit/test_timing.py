"""Seconds by phase: each moment counted once, for the innermost phase; they sum to the whole."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from brainpy_probe.recording.modules import timing
from brainpy_probe.recording.modules.timing import Phase, Stopwatch


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


def test_another_threads_phases_count_where_none_else_runs(clock: _Clock) -> None:
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
