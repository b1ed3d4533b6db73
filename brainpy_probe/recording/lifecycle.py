"""Begins and ends recorded calls, and passes them to the sessions.

A call of a runner ends where it began, in one function. A run without a runner begins and ends in
two hooks of one transformation. If the run raises between the two, no hook sees the exception, so
the call ends when the next event shows that the transformation's frame is no longer running.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

from brainpy_probe.compat import brainpy_runner, jax_tracing
from brainpy_probe.errors import RunAbandoned
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_CALL, CURRENT_WATCH, OPEN_CALLS, guard
from brainpy_probe.recording.modules import compiler_hooks, dumps, phase_events
from brainpy_probe.recording.modules.compilation import PENDING_PHASES
from brainpy_probe.recording.patches import ACTIVE

__all__ = ["begin", "cancel", "end", "end_abandoned", "running_call"]


def running_call() -> RunningCall | None:
    """Return this thread's recorded call, if it is still running."""
    call = CURRENT_CALL.get()
    if call is None or call.is_over:  # left by an interrupt
        return None
    if call.is_standalone and call.thread_id != threading.get_ident():
        return None  # a copy of the context of another thread
    if not call.is_abandoned:
        return call
    call.error = RunAbandoned()
    end(call)
    return None


def end_abandoned() -> None:
    """End this thread's call if its run has raised an exception."""
    running_call()


def begin(call: RunningCall) -> RunningCall:
    """Make a call the current call of its thread, and start its clock."""
    call.sessions = ACTIVE.users
    with call.own_work():
        call.nested = not jax_tracing.trace_state_clean()
        if not call.is_standalone:
            call.jit = brainpy_runner.compiles_its_step(call.runner)
        phase_events.listen_to_numba()
        phase_events.listen_to_jax()
        call.watch.begin()
    OPEN_CALLS[call.serial] = call
    for other in tuple(OPEN_CALLS.values()):
        if other.is_over:  # left by an interrupt
            OPEN_CALLS.pop(other.serial, None)
        elif other is not call:
            other.overlaps = call.overlaps = True
    # Traces before this point lead to no module of this call, so there are no pending phases.
    call.tokens = CURRENT_CALL.set(call), CURRENT_WATCH.set(call.watch), PENDING_PHASES.set(())
    return call


def end(call: RunningCall) -> None:
    """End a call, have the sessions record it, and release it.

    Raises
    ------
    Exception
        A failure of the probe, with ``strict=True``, if the run itself has raised nothing.
    """
    call.end()
    with guard:
        phase_events.listen_to_jax()
        if not phase_events.listen_to_numba():
            call.watch.mark_unmeasured("numba")
    _restore_context(call)
    try:
        failure = compiler_hooks.record_event(call, call.sessions)
    finally:
        raised = call.error
        call.forget()
        for compilation in call.compilations:
            dumps.discard(compilation.dumps)
    if failure is not None and raised is None:
        raise failure


def cancel(call: RunningCall) -> None:
    """End a call that is not to be recorded; its modules are recorded as outside of any call.

    Raises
    ------
    Exception
        A failure of the probe, with ``strict=True``.
    """
    call.end()
    _restore_context(call)
    call.forget()
    failures = []
    for compilation in call.compilations:
        try:
            failures.append(compiler_hooks.record_event(compilation, call.sessions))
        finally:
            dumps.discard(compilation.dumps)
    for failure in failures:
        if failure is not None:
            raise failure


def _restore_context(call: RunningCall) -> None:
    """Restore the context variables, and remove the call from the open calls."""
    variables: tuple[ContextVar[Any], ...] = (CURRENT_CALL, CURRENT_WATCH, PENDING_PHASES)
    for variable, token in reversed(list(zip(variables, call.tokens, strict=True))):
        try:
            variable.reset(token)
        except ValueError:  # another context: the run was abandoned in a context that has ended
            variable.set(() if variable is PENDING_PHASES else None)
    call.tokens = ()
    OPEN_CALLS.pop(call.serial, None)
