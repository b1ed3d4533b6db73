"""Seconds by phase: time counts once, for the innermost phase, and the phases sum to the total."""

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
    """Return a clock whose time a test sets."""
    clock = _Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def _timing(
    clock: _Clock, *phases: tuple[Phase, float, float], excluded: float = 0.0
) -> dict[str, float]:
    """Time an interval of 10 seconds with phases that are reported as they end, as JAX does."""
    watch = Stopwatch(begun=0.0)
    for phase, begin, end in sorted(phases, key=lambda phase: phase[2]):
        clock.now = end
        watch.add(timing.span_until_now(phase, end - begin))
    watch.exclude(excluded)
    clock.now = 10.0
    watch.stop()
    clock.now = 99.0
    result = watch.timing()
    return {name: getattr(result, name) for name in result.__struct_fields__}


def test_a_phase_nested_in_its_own_kind_counts_once(clock: _Clock) -> None:
    result = _timing(clock, ("trace", 1, 7), ("trace", 2, 3), ("trace", 2, 5))
    assert result == {"trace": 6, "lower": 0, "compile": 0, "numba": 0, "execute": 4, "wall": 10}


def test_consecutive_phases_add_up(clock: _Clock) -> None:
    result = _timing(clock, ("trace", 1, 2), ("trace", 3, 5), ("lower", 5, 6), ("compile", 6, 9))
    assert result == {"trace": 3, "lower": 1, "compile": 3, "numba": 0, "execute": 3, "wall": 10}


def test_time_counts_for_the_innermost_phase(clock: _Clock) -> None:
    result = _timing(clock, ("trace", 0, 9), ("lower", 2, 7), ("compile", 4, 6))
    assert result == {"trace": 4, "lower": 3, "compile": 2, "numba": 0, "execute": 1, "wall": 10}


def test_a_trace_in_a_lowering_counts_as_a_trace(clock: _Clock) -> None:
    result = _timing(clock, ("lower", 1, 7), ("trace", 2, 4))
    assert result == {"trace": 2, "lower": 4, "compile": 0, "numba": 0, "execute": 4, "wall": 10}


def test_excluded_seconds_do_not_count(clock: _Clock) -> None:
    result = _timing(clock, ("lower", 1, 2), excluded=3.0)
    assert result == {"trace": 0, "lower": 1, "compile": 0, "numba": 0, "execute": 6, "wall": 7}


def test_an_interval_without_phases_is_execution(clock: _Clock) -> None:
    result = _timing(clock)
    assert result == {"trace": 0, "lower": 0, "compile": 0, "numba": 0, "execute": 10, "wall": 10}


def test_a_running_stopwatch_lasts_until_now(clock: _Clock) -> None:
    watch = Stopwatch(begun=1.0)
    clock.now = 4.0
    assert watch.timing().wall == 3.0


def test_an_excluded_interval_counts_for_no_phase(clock: _Clock) -> None:
    clock.now = 5.0
    own_work = Stopwatch(begun=3.0)
    own_work.stop()
    watch = Stopwatch(begun=0.0)
    watch.exclude_interval(own_work)
    clock.now = 8.0
    watch.add(timing.span_until_now("compile", 7.0))
    clock.now = 10.0
    watch.stop()
    result = watch.timing()
    assert (result.compile, result.execute, result.wall) == (5.0, 3.0, 8.0)


def test_phases_of_another_thread_fill_the_gaps(clock: _Clock) -> None:
    watch = Stopwatch(begun=0.0)
    clock.now = 4.0
    watch.add(timing.span_until_now("compile", 3.0))
    watch.add_other_thread(("numba", 2.0, 7.0))
    watch.add_other_thread(("numba", -5.0, 0.5))
    clock.now = 10.0
    watch.stop()
    result = watch.timing()
    assert (result.compile, result.numba, result.execute) == (3.0, 3.5, 3.5)


def test_an_unmeasured_phase_and_the_execution_are_none(clock: _Clock) -> None:
    watch, other = Stopwatch(begun=0.0), Stopwatch(begun=0.0)
    watch.mark_unmeasured("numba")
    clock.now = 10.0
    result = watch.timing()
    assert (result.trace, result.numba, result.execute, result.wall) == (0, None, None, 10)
    both = timing.add_timings(result, other.timing())
    assert (both.trace, both.numba, both.wall) == (0, None, 20)
