"""Measured times go to ops, each moment once."""

from __future__ import annotations

from brainpy_probe.analysis.measure import _self_times
from brainpy_probe.ir.executables import profiler


def test_time_is_counted_once_whatever_runs_at_once() -> None:
    events = [profiler.Event(op, "1", begin, end) for op, begin, end in (("a", 0, 4), ("b", 2, 6))]
    around = [profiler.Event("loop", "1", 0, 10), profiler.Event("late", "1", 7, 9)]
    leaves = [*events, profiler.Event("c", "2", 8, 10)]
    times = _self_times(leaves, around)
    assert times == {"a": 3, "b": 3, "c": 2, "loop": 1, "late": 1}
