"""Runs a function under XLA's profiler, and reads which op ran when.

``jax.profiler.ProfileData`` is a class of jaxlib, and needs no JAX.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.errors import PrivateNameMissing

__all__ = ["Event", "Window", "can_profile", "profile"]


@dataclass(frozen=True)
class Event:
    """One run of an op: its name in the optimised HLO, its thread, and its begin and end (ns)."""

    op: str
    thread: str
    begin: float
    end: float


@dataclass(frozen=True)
class Window:
    """The events of a module's ops in one period of time, sorted by their begin."""

    events: list[Event]


def can_profile() -> bool:
    """Return whether this jaxlib has a profiler with per-op events: 0.10.2 and 0.12.0."""
    try:
        bindings.take("profiler")
        bindings.take("profile-data")
    except PrivateNameMissing:
        return False
    return True


def profile(
    run: Callable[[], Any], module: str, seconds: float, *, most: float = 2.0, windows: int = 8
) -> tuple[float, list[Window]]:
    """Run a function and profile the ops of a module, throughout or in windows spread over the run.

    Parameters
    ----------
    run : callable
        The function to run; it must release the GIL while XLA computes.
    module : str
        The module's name.
    seconds : float
        The expected run time.
    most : float
        The maximum profiled time in seconds: each op produces an event of about 60 bytes.
    windows : int
        The number of windows, if the run takes longer than ``most``.

    Returns
    -------
    seconds, windows
        The run time, and the events.
    """
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run()
        except BaseException as error:
            raised.append(error)

    worker = threading.Thread(target=work, name="profiled")
    seen: list[Window] = []
    if seconds <= most:
        session = _session()
        begun = time.perf_counter()
        work()
        took = time.perf_counter() - begun
        seen.append(_read(session.stop(), module))
    else:
        begun = time.perf_counter()
        worker.start()
        for number in range(windows):
            due = begun + number * seconds / windows
            worker.join(max(0.0, due - time.perf_counter()))
            if not worker.is_alive():
                break
            session = _session()
            worker.join(most / windows)
            seen.append(_read(session.stop(), module))
        worker.join()
        took = time.perf_counter() - begun
    if raised:
        raise raised[0]
    return took, seen


def _session() -> Any:
    """Start XLA's profiler without events of Python."""
    profiler = bindings.take("profiler")
    options = profiler.ProfileOptions()
    options.python_tracer_level = 0
    options.enable_hlo_proto = False
    return profiler.ProfilerSession(options)


def _read(content: bytes, module: str) -> Window:
    data = bindings.take("profile-data").ProfileData.from_serialized_xspace(content)
    return Window(sorted(_events(data, module), key=lambda event: event.begin))


def _events(data: Any, module: str) -> Iterator[Event]:
    """Yield the events of a module's ops.

    The event of an op that several threads work on ends before the op does. Its statistic ``_p``
    then equals ``_c`` of another event, ``end: fusion.3``, on any thread.
    """
    ends: dict[Any, float] = {}
    begun: list[tuple[str, str, float, float, Any]] = []
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                begin = event.start_ns
                end = begin + event.duration_ns
                if stats.get("hlo_module") == module and "hlo_op" in stats:
                    begun.append((stats["hlo_op"], line.name, begin, end, stats.get("_p")))
                elif "_c" in stats and event.name.startswith("end: "):
                    ends[stats["_c"]] = end
    for op, thread, begin, end, key in begun:
        yield Event(op, thread, begin, max(end, ends.get(key, end)))
