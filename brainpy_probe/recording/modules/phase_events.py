"""Listens to what JAX and numba tell of their phases, and puts it down to what goes on then.

Both tell it in the thread that did the work. What XLA's threads do, for which a run waits, is told
in these.
"""

from __future__ import annotations

import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import jax

from brainpy_probe.compat import jax_compiler, jax_tracing
from brainpy_probe.recording.calls import (
    CURRENT_CALL,
    CURRENT_WATCH,
    OPEN_CALLS,
    OWN_WORK,
    guard,
    left_running,
)
from brainpy_probe.recording.modules.compilation import PENDING_PHASES
from brainpy_probe.recording.modules.pending import noted
from brainpy_probe.recording.modules.timing import HEARING, PHASES, Span, ended_now
from brainpy_probe.recording.patches import LEDGER

__all__ = ["attend", "hears_numba", "listens"]

# The number of lapses that this thread knows of.
_KNOWN_LAPSES: ContextVar[int] = ContextVar("brainpy_probe_lapses", default=0)
_LOCK = threading.Lock()
_WITHIN = threading.local()


def attend() -> None:
    """Have JAX and numba tell us the duration of each phase, and JAX pass over our frames.

    The names of Python frames stand in a module's metadata: ours must not, so that it is the same
    module as without us.
    """
    if not LEDGER.attending:
        jax.monitoring.register_event_duration_secs_listener(_duration_event)
        jax_tracing.take("source-info").register_exclusion(str(Path(__file__).parents[2]))
        LEDGER.attending = True
    listens()
    hears_numba()


def listens() -> bool:
    """Whether JAX has told this thread of all phases since the last time; it does from now on.

    Anybody may have called ``jax.monitoring.clear_event_listeners()`` meanwhile.
    """
    with _LOCK:
        if not jax_compiler.is_listening(_duration_event):
            HEARING.lapses += 1
            jax.monitoring.register_event_duration_secs_listener(_duration_event)
    if _KNOWN_LAPSES.get() == HEARING.lapses:
        return True
    _KNOWN_LAPSES.set(HEARING.lapses)
    PENDING_PHASES.set(())
    return False


def _duration_event(event: str, duration_secs: float, **details: Any) -> None:
    """Listen to ``jax.monitoring``: put a phase down to what goes on in this thread."""
    with guard:
        phase = PHASES.get(event)
        if phase is None:
            return
        span = ended_now(phase, duration_secs)
        if LEDGER.users and phase != "compile":
            _pend(span, str(details.get("fun_name", "")))
        watch = CURRENT_WATCH.get()
        if watch is not None:
            watch.phase_ended(span)


def _pend(span: Span, name: str) -> None:
    """Keep a phase that has ended in this thread for the module that it leads to."""
    PENDING_PHASES.set(noted(PENDING_PHASES.get(), span, name))


# --- numba ----------------------------------------------------------------------------------------


def hears_numba() -> bool:
    """Whether numba has told of its compilations so far, or there is none; it does from now on.

    numba is imported by BrainPy, or later, or never: never by the probe.
    """
    events = jax_compiler.numba_events()
    if LEDGER.numba is not None:
        return True
    if events is None:
        return "numba" not in sys.modules
    with _LOCK:
        if LEDGER.numba is None:
            LEDGER.numba = _numba_listener(events)
            events.register("numba:compile", LEDGER.numba)
    return False


def _numba_listener(events: Any) -> Any:
    class Listener(events.Listener):  # type: ignore[misc]
        """Hears of numba's compilations, which nest: a function has others compiled."""

        def on_start(self, event: Any) -> None:  # noqa: ARG002 - the method of numba's class
            """Note when the outermost compilation of a thread begins."""
            with guard:
                begun = _WITHIN.__dict__.setdefault("begun", [])
                begun.append(time.perf_counter())

        def on_end(self, event: Any) -> None:
            """Note how long it took."""
            with guard:
                begun = _WITHIN.__dict__.get("begun")
                if begun:
                    first = begun.pop()
                    if not begun and LEDGER.users:
                        _numba_compiled(("numba", first, time.perf_counter()), _function(event))

    return Listener()


def _function(event: Any) -> str:
    """Return the name of the function that numba compiled."""
    dispatcher = event.data["dispatcher"]
    function = getattr(dispatcher, "py_func", dispatcher)
    name = str(getattr(function, "__qualname__", type(function).__name__))
    return f"{getattr(function, '__module__', '')}.{name}".strip(".")


def _numba_compiled(span: Span, function: str) -> None:
    watch, call = CURRENT_WATCH.get(), CURRENT_CALL.get()
    if watch is not None:
        _pend(span, function)
        watch.phase_ended(span)
        if call is not None and watch is call.watch:
            call.numba.append(function)
        return
    # A thread that Python did not start is XLA's, which runs a program and calls a kernel of it.
    if OWN_WORK.get() or not isinstance(threading.current_thread(), threading._DummyThread):
        return
    calls = tuple(OPEN_CALLS.values())
    for call in calls:
        if len(calls) > 1 or left_running():
            # Whose program that is can't be told.
            call.watch.miss("numba")
        else:
            call.watch.phase_beneath(span)
            call.numba.append(function)
