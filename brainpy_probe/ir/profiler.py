"""Runs something under XLA's profiler and reads which op ran when; knows no program.

``jax.profiler.ProfileData`` is jaxlib's own class, and needs no JAX.
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
    """One run of an op: its name in the optimised HLO, its thread, when it began and ended (ns)."""

    op: str
    thread: str
    begin: float
    end: float


@dataclass(frozen=True)
class Window:
    """What the profiler saw of a module in one stretch of time, in the order of the beginnings."""

    events: list[Event]


def can_profile() -> bool:
    """Whether this jaxlib tells which op ran when: 0.10.2 and 0.12.0 do, up to 0.4.30 none does."""
    try:
        bindings.take("profiler")
        bindings.take("profile-data")
    except PrivateNameMissing:
        return False
    return True


def profile(
    run: Callable[[], Any], module: str, seconds: float, *, most: float = 2.0, windows: int = 8
) -> tuple[float, list[Window]]:
    """Run something and watch the ops of a module: all along, or in windows spread over the run.

    Parameters
    ----------
    run : callable
        What is to run; it gives the interpreter free while XLA computes.
    module : str
        The module's name.
    seconds : float
        How long it is expected to run.
    most : float
        For how many seconds to watch at most: each op makes an event of some 60 bytes.
    windows : int
        In how many windows, if it runs longer.

    Returns
    -------
    seconds, windows
        How long it ran, and what was seen.
    """
    raised: list[BaseException] = []

    def work() -> None:
        try:
            run()
        except BaseException as error:
            raised.append(error)

    worker = threading.Thread(target=work, name="profiled")
    whole = seconds <= most
    seen: list[Window] = []
    if whole:
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
    """Start the profiler: of XLA's own events alone, none of Python's."""
    profiler = bindings.take("profiler")
    options = profiler.ProfileOptions()
    options.python_tracer_level = 0
    options.enable_hlo_proto = False
    return profiler.ProfilerSession(options)


def _read(content: bytes, module: str) -> Window:
    data = bindings.take("profile-data").ProfileData.from_serialized_xspace(content)
    return Window(sorted(_events(data, module), key=lambda one: one.begin))


def _events(data: Any, module: str) -> Iterator[Event]:
    """Yield the events of a module's ops.

    An op whose work several threads do has ended for the one that began it before it is done: its
    event's ``_p`` is then the ``_c`` of another one, ``end: fusion.3``, on whatever thread.
    """
    ends: dict[Any, float] = {}
    begun: list[tuple[str, str, float, float, Any]] = []
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                told = dict(event.stats)
                begin = event.start_ns
                end = begin + event.duration_ns
                if told.get("hlo_module") == module and "hlo_op" in told:
                    begun.append((told["hlo_op"], line.name, begin, end, told.get("_p")))
                elif "_c" in told and event.name.startswith("end: "):
                    ends[told["_c"]] = end
    for op, thread, begin, end, key in begun:
        yield Event(op, thread, begin, max(end, ends.get(key, end)))
