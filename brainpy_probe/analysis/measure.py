"""Measures how long each component of a captured program runs; knows no folder.

The program is compiled anew with the names of its components in it, and run on its arrays under
XLA's profiler, which tells which op ran when.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from brainpy_probe.analysis.attribution import LoopOps, Shares, loop_ops
from brainpy_probe.analysis.costs import time_loop
from brainpy_probe.analysis.replay import compiled
from brainpy_probe.errors import CannotMeasure
from brainpy_probe.format import component_names
from brainpy_probe.format.cost_records import ComponentTime, Measured
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.ir import hlo, profiler

__all__ = ["Measuring", "measure"]

# Steps in a trace that is to be looked at.
_STRETCH = 20


@dataclass(frozen=True)
class Measuring:
    """How long each component ran, and what of it was seen.

    Attributes
    ----------
    measured : Measured
        The times.
    ops : LoopOps
        Whose each op is.
    stretch : list of Event
        The ops of some steps in the middle of the run.
    """

    measured: Measured
    ops: LoopOps
    stretch: Sequence[profiler.Event]

    def chrome_trace(self) -> str:
        """Return the stretch as a Chrome trace in JSON: a track for each component.

        An op that serves several components is in the track of each, with its share. The format is
        that of https://ui.perfetto.dev and chrome://tracing, times in microseconds.
        """
        order = [one.component for one in self.measured.components]
        tracks = {name: number for number, name in enumerate(order, 1)}
        named = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": n, "args": {"name": name}}
            for name, n in tracks.items()
        ]
        named += [
            {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": n, "args": {"sort_index": n}}
            for n in tracks.values()
        ]
        begun = self.stretch[0].begin if self.stretch else 0.0
        drawn = [
            {
                "ph": "X",
                "name": one.op,
                "pid": 1,
                "tid": tracks[component],
                "ts": (one.begin - begun) / 1e3,
                "dur": (one.end - one.begin) / 1e3,
                "args": {"share": share, "thread": one.thread},
            }
            for one in self.stretch
            for component, share in self.ops.shares.get(one.op, {}).items()
        ]
        return msgspec.json.encode({"traceEvents": [*named, *drawn]}).decode()


def measure(
    record: ProgramRecord, content: bytes, given: Mapping[str, np.ndarray[Any, Any]]
) -> Measuring:
    """Measure how long each component runs.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its VHLO bytecode, or its StableHLO text.
    given : mapping
        Its arguments by group and name, as ``state/E.V``.

    Raises
    ------
    CannotMeasure
        If this jaxlib does not tell which op ran when, or the program has no loop over time.
    CannotReplay
        If the program can't be compiled here.
    """
    if not profiler.can_profile():
        raise CannotMeasure(
            "This jaxlib does not tell which op ran when: jax.profiler.ProfileData is missing.",
            "A later one does (0.10.2, 0.12.0); costs without --measure need none.",
        )
    callbacks = record.fidelity.host_callbacks
    if callbacks:
        raise CannotMeasure(
            f"{record.name} calls back into the Python that it was captured in: "
            f"{', '.join(callbacks)}.",
            "Capture it without the callback.",
        )
    found = _seen(record, content, given, separate_ops=False)
    notes = []
    if not found.steps:
        notes.append(
            "XLA compiles so small a loop as one piece; measured was one whose ops run by "
            "themselves, which takes longer."
        )
        found = _seen(record, content, given, separate_ops=True)
    if not found.steps:
        raise CannotMeasure(
            f"XLA's profiler saw no step of {record.name}.", "A longer run may have more to see."
        )
    times, span = _shared_out(found.windows, found.ops)
    return Measuring(
        Measured(
            steps=found.steps,
            seconds=found.seconds,
            profiled=found.profiled,
            loop=span / 1e9,
            components=tuple(sorted(times, key=lambda one: -one.seconds)),
            notes=(*notes, *_notes(record, found.windows)),
        ),
        found.ops,
        _stretch(found.windows[len(found.windows) // 2].events, found.ops),
    )


@dataclass(frozen=True)
class _Seen:
    """What the profiler saw of a program."""

    ops: LoopOps
    seconds: float
    profiled: float
    windows: Sequence[profiler.Window]
    steps: int


def _seen(
    record: ProgramRecord,
    content: bytes,
    given: Mapping[str, np.ndarray[Any, Any]],
    *,
    separate_ops: bool,
) -> _Seen:
    """Compile a program and run it, the last time under the profiler."""
    arguments = [given[spec.path] for spec in record.arguments]
    executable = compiled(record, content, arguments, separate_ops=separate_ops)
    module = hlo.Module.of(executable.optimized())
    loop = time_loop(module, record)
    if loop is None:
        raise CannotMeasure(
            f"{record.name} has no loop over time: one step is too short to be measured.",
            "Give the runner jit=True (the default), and leave memory_efficient off.",
        )
    ops = loop_ops(module, loop, record)
    placed = executable.put(arguments)

    def run() -> None:
        executable.run(placed)

    run()  # once before, so that neither run pays for what only the first does
    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    profiled, windows = profiler.profile(run, module.name, seconds)
    steps = sum(_steps(window.events, ops) for window in windows)
    return _Seen(ops, seconds, profiled, windows, steps)


def _notes(record: ProgramRecord, windows: Sequence[profiler.Window]) -> tuple[str, ...]:
    notes = []
    if not record.components:
        notes.append("The ops do not say whose they are: capture anew.")
    if len(windows) > 1:
        notes.append(f"Profiled were {len(windows)} windows, spread over the run.")
    return tuple(notes)


def _parted(
    events: Iterable[profiler.Event], ops: LoopOps
) -> tuple[list[profiler.Event], list[profiler.Event]]:
    """Part events into those of ops that ran by themselves and those of ops that ran others."""
    events = [one for one in events if one.op in ops.shares]
    names = {one.op for one in events}
    around = {name for name, within in ops.containers.items() if within & names}
    leaves = [one for one in events if one.op not in around]
    return leaves, [one for one in events if one.op in around]


def _shared_out(
    windows: Sequence[profiler.Window], ops: LoopOps
) -> tuple[list[ComponentTime], float]:
    """Share out the time of the loop, which is from its first op to its last in each window.

    Ops that run at once have equal shares of that time. While none runs, it is that of the inner
    loop or call that is under way, else nobody's.
    """
    taken: dict[str, float] = {}
    calls: Counter[str] = Counter()
    span = 0.0
    for window in windows:
        leaves, around = _parted(window.events, ops)
        if leaves:
            calls.update(one.op for one in leaves)
            for op, nanoseconds in _self_times(leaves, around).items():
                taken[op] = taken.get(op, 0.0) + nanoseconds
            span += max(one.end for one in leaves) - leaves[0].begin
    idle = max(span - sum(taken.values()), 0.0)
    seconds = {component_names.UNTIMED: idle / 1e9}
    shared: dict[str, float] = {}
    called: Counter[str] = Counter()
    for op, nanoseconds in taken.items():
        shares: Shares = ops.shares[op]
        for component, share in shares.items():
            part = share * nanoseconds / 1e9
            seconds[component] = seconds.get(component, 0.0) + part
            called[component] += calls[op]
            if len(shares) > 1:
                shared[component] = shared.get(component, 0.0) + part
    times = [
        ComponentTime(
            component=name, seconds=value, shared=shared.get(name, 0.0), calls=called[name]
        )
        for name, value in seconds.items()
    ]
    return times, span


def _self_times(
    leaves: Sequence[profiler.Event], around: Sequence[profiler.Event]
) -> dict[str, float]:
    """Return how long each op ran (ns), no instant counted twice."""
    events = [*leaves, *around]
    borders = [(one.begin, 1, n) for n, one in enumerate(events)]
    borders += [(one.end, 0, n) for n, one in enumerate(events)]
    borders.sort()
    taken: dict[str, float] = {}
    running: set[int] = set()
    under_way: list[int] = []
    first, last = leaves[0].begin, max(one.end for one in leaves)
    so_far = first
    for at, begins, number in borders:
        now = min(max(at, first), last)
        active = running or under_way[-1:]
        for one in active:
            op = events[one].op
            taken[op] = taken.get(op, 0.0) + (now - so_far) / len(active)
        so_far = now
        if number < len(leaves):
            (running.add if begins else running.discard)(number)
        elif begins:
            under_way.append(number)
        else:
            under_way.remove(number)
    return taken


def _steps(events: Sequence[profiler.Event], ops: LoopOps) -> int:
    counts = Counter(one.op for one in events if one.op in ops.every_step)
    return round(statistics.median(counts.values())) if counts else 0


def _stretch(events: Sequence[profiler.Event], ops: LoopOps) -> list[profiler.Event]:
    """Return the events of some steps in the middle, from one start of a step to another."""
    leaves, _ = _parted(events, ops)
    if not leaves:
        return []
    starts = [n for n, one in enumerate(leaves) if one.op == leaves[0].op]
    if len(starts) < 3:
        return leaves
    first = max(0, (len(starts) - _STRETCH) // 2)
    last = min(first + _STRETCH, len(starts) - 1)
    return leaves[starts[first] : starts[last]]
