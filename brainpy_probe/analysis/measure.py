"""Measures the run time of each component of a captured program.

The program is compiled again, with the names of its components in the locations of its ops, and run
on its arrays under XLA's profiler.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from brainpy_probe.analysis.attribution import LoopOps, Shares, loop_ops
from brainpy_probe.analysis.costs import time_loop
from brainpy_probe.analysis.replaying.compiling import arguments_of, compiled, on_cpu_devices
from brainpy_probe.errors import CannotMeasure
from brainpy_probe.format import component_names
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.cost_records import ComponentTime, Measured
from brainpy_probe.format.manifest.program_records import Placement, ProgramRecord
from brainpy_probe.ir import hlo
from brainpy_probe.ir.executables import profiler
from brainpy_probe.ir.placement import computes_parts

__all__ = ["Measuring", "measure"]

# Number of steps in a trace that is written for the user.
_TRACED_STEPS = 20


@dataclass(frozen=True, repr=False)
class Measuring:
    """The run time of each component, and the profiled ops.

    Attributes
    ----------
    measured : Measured
        The times.
    ops : LoopOps
        The components of each op.
    stretch : list of Event
        The ops of some consecutive steps in the middle of the run.
    """

    measured: Measured
    ops: LoopOps
    stretch: Sequence[profiler.Event]

    def __repr__(self) -> str:
        return repr(self.measured)

    def __str__(self) -> str:
        return str(self.measured)

    def _repr_html_(self) -> str:
        return self.measured._repr_html_()

    def chrome_trace(self) -> str:
        """Return the stretch as a Chrome trace in JSON, with a track for each component.

        An op that serves several components is in the track of each, with its share. The format is
        that of https://ui.perfetto.dev and chrome://tracing, with times in microseconds.
        """
        order = [time.component for time in self.measured.components]
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
        slices = [
            {
                "ph": "X",
                "name": event.op,
                "pid": 1,
                "tid": tracks[component],
                "ts": (event.begin - begun) / 1e3,
                "dur": (event.end - event.begin) / 1e3,
                "args": {"share": share, "thread": event.thread},
            }
            for event in self.stretch
            for component, share in self.ops.shares.get(event.op, {}).items()
        ]
        return msgspec.json.encode({"traceEvents": [*named, *slices]}).decode()


def measure(record: ProgramRecord, content: bytes, arguments: Mapping[str, Array]) -> Measuring:
    """Measure the run time of each component.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its VHLO bytecode, or its StableHLO text.
    arguments : mapping
        Its arguments by group and name, as ``state/E.V``.

    Raises
    ------
    CannotMeasure
        If this jaxlib has no profiler with per-op events, or the program has no loop over time.
    CannotReplay
        If the program can't be compiled in this environment.
    """
    if not profiler.can_profile():
        raise CannotMeasure(
            "This jaxlib can't profile single ops: jax.profiler.ProfileData is missing.",
            "Install jaxlib 0.10.2 or later, or use costs without --measure.",
        )
    callbacks = record.fidelity.host_callbacks
    if callbacks:
        raise CannotMeasure(
            f"{record.name} calls back into the Python process of the capture: "
            f"{', '.join(callbacks)}.",
            "Capture it without the callback.",
        )
    record, notes = _on_one_device(record, content)
    profiled = _profile(record, content, arguments, separate_ops=False)
    if not profiled.steps:
        notes.append(
            "XLA compiles such a small loop as one piece. It was measured with separate ops, which "
            "takes longer."
        )
        profiled = _profile(record, content, arguments, separate_ops=True)
    if not profiled.steps:
        raise CannotMeasure(
            f"XLA's profiler recorded no step of {record.name}.", "Capture a longer run."
        )
    times, span = _component_times(profiled.windows, profiled.ops)
    return Measuring(
        Measured(
            steps=profiled.steps,
            seconds=profiled.seconds,
            profiled=profiled.profiled_seconds,
            loop=span / 1e9,
            components=tuple(sorted(times, key=lambda time: -time.seconds)),
            notes=(*notes, *_notes(record, profiled.windows)),
        ),
        profiled.ops,
        _stretch(profiled.windows[len(profiled.windows) // 2].events, profiled.ops),
    )


def _on_one_device(record: ProgramRecord, content: bytes) -> tuple[ProgramRecord, list[str]]:
    """Return a program's record for measuring it on one CPU device, and notes about that.

    XLA's profiler records the ops of a CPU's threads, but not the device to which they belong.

    Raises
    ------
    CannotMeasure
        If its ops compute parts of arrays on several devices.
    CannotReplay
        If it calls kernels of another platform.
    """
    ran = record.fidelity.placement
    if ran.devices > 1 and (ran.replicas > 1 or computes_parts(content)):
        raise CannotMeasure(
            f"{record.name} computes parts of its arrays on {ran.devices} devices (shard_map or "
            "pmap), and components are measured on one device.",
            "Capture with portable=True, and measure program.portable.",
        )
    where = [f"on {ran.devices} devices"] if ran.devices > 1 else []
    where += [] if ran.on_cpu else [f"on {ran.platform}"]
    notes = [f"It ran {' '.join(where)}, and was measured on one CPU device."] if where else []
    record = on_cpu_devices(record)
    placement = Placement(platform="cpu", meshes=ran.meshes)
    return replace(record, fidelity=replace(record.fidelity, placement=placement)), notes


@dataclass(frozen=True)
class _Profiled:
    """The profile of a program: its events, and its run time without and with the profiler."""

    ops: LoopOps
    seconds: float
    profiled_seconds: float
    windows: Sequence[profiler.Window]
    steps: int


def _profile(
    record: ProgramRecord, content: bytes, arguments: Mapping[str, Array], *, separate_ops: bool
) -> _Profiled:
    """Compile a program and run it three times, the last time under the profiler."""
    arrays = arguments_of(record, arguments)
    executable = compiled(record, content, arrays, separate_ops=separate_ops)
    module = hlo.Module.of(executable.optimized())
    loop = time_loop(module, record)
    if loop is None:
        raise CannotMeasure(
            f"{record.name} has no loop over time, and one step is too short to be measured.",
            "Give the runner jit=True (the default), and do not set memory_efficient.",
        )
    ops = loop_ops(module, loop, record)
    placed = executable.put(arrays)

    def run() -> None:
        executable.run(placed)

    run()  # the first run includes one-time work, such as numba's compilation
    begun = time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    profiled_seconds, windows = profiler.profile(run, module.name, seconds)
    steps = sum(_count_steps(window.events, ops) for window in windows)
    return _Profiled(ops, seconds, profiled_seconds, windows, steps)


def _notes(record: ProgramRecord, windows: Sequence[profiler.Window]) -> tuple[str, ...]:
    notes = []
    if not record.components:
        notes.append("The ops are not labelled with components: capture the program again.")
    if len(windows) > 1:
        notes.append(f"The run was profiled in {len(windows)} windows.")
    return tuple(notes)


def _split_containers(
    events: Iterable[profiler.Event], ops: LoopOps
) -> tuple[list[profiler.Event], list[profiler.Event]]:
    """Split events into those of single ops, and those of ops that run other ops."""
    events = [event for event in events if event.op in ops.shares]
    names = {event.op for event in events}
    containers = {name for name, inner in ops.containers.items() if inner & names}
    single = [event for event in events if event.op not in containers]
    return single, [event for event in events if event.op in containers]


def _component_times(
    windows: Sequence[profiler.Window], ops: LoopOps
) -> tuple[list[ComponentTime], float]:
    """Distribute the time of the loop, from its first to its last op in each window.

    Ops that run at the same time get equal shares. While no op runs, the time belongs to the inner
    loop or call that is active, otherwise to no component.
    """
    taken: dict[str, float] = {}
    calls: Counter[str] = Counter()
    span = 0.0
    for window in windows:
        single, containers = _split_containers(window.events, ops)
        if single:
            calls.update(event.op for event in single)
            for op, nanoseconds in _self_times(single, containers).items():
                taken[op] = taken.get(op, 0.0) + nanoseconds
            span += max(event.end for event in single) - single[0].begin
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
    single: Sequence[profiler.Event], containers: Sequence[profiler.Event]
) -> dict[str, float]:
    """Return the run time of each op in nanoseconds; no instant is counted twice."""
    events = [*single, *containers]
    boundaries = [(event.begin, 1, n) for n, event in enumerate(events)]
    boundaries += [(event.end, 0, n) for n, event in enumerate(events)]
    boundaries.sort()
    taken: dict[str, float] = {}
    running: set[int] = set()
    open_containers: list[int] = []
    first, last = single[0].begin, max(event.end for event in single)
    previous = first
    for time_of_boundary, begins, number in boundaries:
        now = min(max(time_of_boundary, first), last)
        active = running or open_containers[-1:]
        for index in active:
            op = events[index].op
            taken[op] = taken.get(op, 0.0) + (now - previous) / len(active)
        previous = now
        if number < len(single):
            (running.add if begins else running.discard)(number)
        elif begins:
            open_containers.append(number)
        else:
            open_containers.remove(number)
    return taken


def _count_steps(events: Sequence[profiler.Event], ops: LoopOps) -> int:
    counts = Counter(event.op for event in events if event.op in ops.every_step)
    return round(statistics.median(counts.values())) if counts else 0


def _stretch(events: Sequence[profiler.Event], ops: LoopOps) -> list[profiler.Event]:
    """Return the events of complete steps in the middle of a window."""
    single, _ = _split_containers(events, ops)
    if not single:
        return []
    starts = [n for n, event in enumerate(single) if event.op == single[0].op]
    if len(starts) < 3:
        return single
    first = max(0, (len(starts) - _TRACED_STEPS) // 2)
    last = min(first + _TRACED_STEPS, len(starts) - 1)
    return single[starts[first] : starts[last]]
