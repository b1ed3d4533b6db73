"""Listens to JAX's and numba's events about phases, and assigns each phase to a call or module.

JAX and numba report a phase in the thread that did the work. numba may also compile in one of XLA's
threads while a run waits for it.
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
from brainpy_probe.recording.current import CURRENT_CALL, CURRENT_WATCH, OPEN_CALLS, OWN_WORK, guard
from brainpy_probe.recording.modules.compilation import PENDING_PHASES
from brainpy_probe.recording.modules.ended_phases import add_phase
from brainpy_probe.recording.modules.timing import LISTENER, PHASES, Span, span_until_now
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.recording.pending_results import is_xla_running

__all__ = ["install_listeners", "listen_to_jax", "listen_to_numba"]

# The number of listener losses that this thread already knows.
_KNOWN_LOSSES: ContextVar[int] = ContextVar("brainpy_probe_listener_losses", default=0)
_LOCK = threading.Lock()
_NUMBA = threading.local()


def install_listeners() -> None:
    """Register listeners with JAX and numba, and exclude the probe's frames from source locations.

    A module's metadata contains the names of Python frames. Without the probe's frames, the module
    is the same as without the probe.
    """
    if not ACTIVE.is_listening:
        jax.monitoring.register_event_duration_secs_listener(_duration_event)
        jax_tracing.take("source-info").register_exclusion(str(Path(__file__).parents[2]))
        ACTIVE.is_listening = True
    listen_to_jax()
    listen_to_numba()


def listen_to_jax() -> bool:
    """Make sure that the listener of JAX's events is registered.

    Other code may have called ``jax.monitoring.clear_event_listeners()`` meanwhile.

    Returns
    -------
    bool
        Whether this thread missed no event since the last call.
    """
    with _LOCK:
        if not jax_compiler.is_listening(_duration_event):
            LISTENER.losses += 1
            jax.monitoring.register_event_duration_secs_listener(_duration_event)
    if _KNOWN_LOSSES.get() == LISTENER.losses:
        return True
    _KNOWN_LOSSES.set(LISTENER.losses)
    PENDING_PHASES.set(())
    return False


def _duration_event(event: str, duration_secs: float, **details: Any) -> None:
    """Assign a phase to the call or module of this thread; a listener of ``jax.monitoring``."""
    with guard:
        phase = PHASES.get(event)
        if phase is None:
            return
        span = span_until_now(phase, duration_secs)
        if ACTIVE.users and phase != "compile":
            _keep_phase(span, str(details.get("fun_name", "")))
        watch = CURRENT_WATCH.get()
        if watch is not None:
            watch.add(span)


def _keep_phase(span: Span, name: str) -> None:
    """Keep a phase that has ended in this thread, until a module is compiled."""
    PENDING_PHASES.set(add_phase(PENDING_PHASES.get(), span, name))


# --- numba ----------------------------------------------------------------------------------------


def listen_to_numba() -> bool:
    """Make sure that the listener of numba's events is registered, if numba is imported.

    BrainPy imports numba at once, later or never. The probe does not import it.

    Returns
    -------
    bool
        Whether no compilation of numba was missed before this call.
    """
    events = jax_compiler.numba_events()
    if ACTIVE.numba is not None:
        return True
    if events is None:
        return "numba" not in sys.modules
    with _LOCK:
        if ACTIVE.numba is None:
            ACTIVE.numba = _numba_listener(events)
            events.register("numba:compile", ACTIVE.numba)
    return False


def _numba_listener(events: Any) -> Any:
    class Listener(events.Listener):  # type: ignore[misc]
        """Receives the events of numba's compilations, which nest."""

        def on_start(self, event: Any) -> None:  # noqa: ARG002 - the method of numba's class
            """Note when a compilation of this thread begins."""
            with guard:
                begins = _NUMBA.__dict__.setdefault("begins", [])
                begins.append(time.perf_counter())

        def on_end(self, event: Any) -> None:
            """Record the outermost compilation when it ends."""
            with guard:
                begins = _NUMBA.__dict__.get("begins")
                if begins:
                    begin = begins.pop()
                    if not begins and ACTIVE.users:
                        _record_numba(("numba", begin, time.perf_counter()), _function(event))

    return Listener()


def _function(event: Any) -> str:
    """Return the name of the function that numba compiled."""
    dispatcher = event.data["dispatcher"]
    function = getattr(dispatcher, "py_func", dispatcher)
    name = str(getattr(function, "__qualname__", type(function).__name__))
    return f"{getattr(function, '__module__', '')}.{name}".strip(".")


def _record_numba(span: Span, function: str) -> None:
    """Assign a compilation by numba to the call or module of this thread, or to an open call."""
    watch, call = CURRENT_WATCH.get(), CURRENT_CALL.get()
    if watch is not None:
        _keep_phase(span, function)
        watch.add(span)
        if call is not None and watch is call.watch:
            call.numba.append(function)
        return
    # A thread that Python did not start belongs to XLA, and runs a program's kernel.
    if OWN_WORK.get() or not isinstance(threading.current_thread(), threading._DummyThread):
        return
    calls = tuple(OPEN_CALLS.values())
    for call in calls:
        if len(calls) > 1 or is_xla_running():
            # It is unknown to which call the program belongs.
            call.watch.mark_unmeasured("numba")
        else:
            call.watch.add_other_thread(span)
            call.numba.append(function)
