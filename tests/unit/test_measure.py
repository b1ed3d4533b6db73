"""Measured times are assigned to ops, and no time counts twice."""

from __future__ import annotations

from brainpy_probe.analysis.measure import _self_times
from brainpy_probe.ir.executables import profiler


def test_concurrent_ops_share_the_time() -> None:
    events = [profiler.Event(op, "1", begin, end) for op, begin, end in (("a", 0, 4), ("b", 2, 6))]
    enclosing = [profiler.Event("loop", "1", 0, 10), profiler.Event("late", "1", 7, 9)]
    leaves = [*events, profiler.Event("c", "2", 8, 10)]
    times = _self_times(leaves, enclosing)
    assert times == {"a": 3, "b": 3, "c": 2, "loop": 1, "late": 1}
