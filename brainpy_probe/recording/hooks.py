"""The thin wrappers: they note what passes by and hand a finished call on; they make no program.

Each wrapper calls what it wraps exactly once, returns what that returns and raises what it raises.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, jax_compiler, jax_tracing
from brainpy_probe.recording.calls import (
    CURRENT_CALL,
    CURRENT_WATCH,
    OPEN_CALLS,
    OWN_WORK,
    RunningCall,
    guard,
    kept,
    name_guard,
)
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.modules import compiler_hooks, dumps, phase_events
from brainpy_probe.recording.modules.compilation import PENDING_PHASES
from brainpy_probe.recording.modules.timing import Stopwatch, add_timings
from brainpy_probe.recording.patches import LEDGER, Patch
from brainpy_probe.recording.snapshot import Snapshot
from brainpy_probe.recording.tracing import eager, state_traces, variable_traces
from brainpy_probe.recording.types import Args, Kwargs, Wrapped

__all__ = ["compiler_patches", "patches"]


def compiler_patches() -> list[Patch]:
    """Return what is to be wrapped of JAX's compiler, which needs no BrainPy."""
    return compiler_hooks.patches()


def patches() -> list[Patch]:
    """Return what is to be wrapped while a capture is open."""
    return [
        *compiler_patches(),
        *_runner_patches(brainpy_runner.take("runner")),
        Patch(jax.numpy, "moveaxis", moveaxis),
        *_traces().patches(),
    ]


def _traces() -> ModuleType:
    """Return the module that knows how this BrainPy traces."""
    return state_traces if brainpy_model.on_brainstate() else variable_traces


def _runner_patches(runner: Any) -> list[Patch]:
    """Patch DSRunner, and the subclasses that run the model without it (``BPFF.predict``)."""
    handlers = {
        "predict": brainpys_predict if brainpy_runner.is_brainpys_own(runner) else predict,
        "_predict": own_predict if runner is brainpy_runner.take("runner") else inner_predict,
    }
    found = [
        Patch(runner, name, handler) for name, handler in handlers.items() if name in vars(runner)
    ]
    found += scopes.runner_patches(runner)
    for subclass in runner.__subclasses__():
        found += _runner_patches(subclass)
    return found


def predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the ``predict`` of a user's own runner."""
    with _watched(instance):
        return wrapped(*args, **kwargs)


def brainpys_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``DSRunner.predict``, or that of a trainer of BrainPy's.

    Notes what the user holds then; a subclass may go on to change it.
    """
    with _watched(instance):
        result = wrapped(*args, **kwargs)
        call = CURRENT_CALL.get()
        # Of several the innermost, which ends first.
        if call is not None and call.runner is instance and call.monitors is None:
            with call.noting():
                call.monitors, call.clock = brainpy_runner.held_monitors(instance, call.given)
        return result


def inner_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the ``_predict`` of a subclass, which may never call BrainPy's own."""
    with _watched(instance):
        call = CURRENT_CALL.get()
        if call is None or call.runner is not instance:
            return wrapped(*args, **kwargs)
        with call.predicting(own=False) as outermost:
            _prepare(call, wrapped, args, kwargs, own=False)
            result = wrapped(*args, **kwargs)
            with call.noting():
                call.returned = kept(result) if outermost else call.returned
        return result


def own_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``DSRunner._predict``, which opens the loop that is the run.

    Subclasses call it without ``predict`` (BPTT).
    """
    with _watched(instance):
        call = CURRENT_CALL.get()
        if call is None or call.runner is not instance:
            return wrapped(*args, **kwargs)
        with call.predicting(own=True) as outermost:
            _prepare(call, wrapped, args, kwargs, own=True)
            result = wrapped(*args, **kwargs)
            with call.noting():
                call.given = kept(result)
                call.returned = call.given if outermost else call.returned
                if call.snapshot is not None:
                    call.snapshot.end()
        return result


def moveaxis(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``jax.numpy.moveaxis``: notes which result of its loop a runner swaps axes of.

    With a batching mode and ``data_first_axis="B"`` a runner swaps the first two axes of each
    result after its loop (brainpy 2.3.8: _src/dyn/runners.py; 2.4.6, 2.6.0: _src/runners.py; 2.8.2,
    2.9.0: runners.py). Noted by identity: comparing 64 MB takes longer than many a run.
    """
    result = wrapped(*args, **kwargs)
    call = CURRENT_CALL.get()
    if call is not None and not call.tracing and args[1:] == (0, 1) and not kwargs:
        with guard:
            call.swapped(args[0], result)
    return result


@contextlib.contextmanager
def _watched(runner: Any) -> Iterator[None]:
    """Watch a call of a runner, unless it is within one that is watched already.

    A context, no function around the call: JAX keeps the stack of each op that it traces.
    """
    sessions = LEDGER.users
    outer = CURRENT_CALL.get()
    if outer is not None and outer.is_over:  # an interrupt has left it there
        outer = None
    if not sessions or OWN_WORK.get() or (outer is not None and outer.runner is runner):
        yield
        return
    trace_eager = any(session.settings.trace_eager for session in sessions)
    call = RunningCall(runner, trace_eager)
    with call.noting():
        call.nested = not jax_tracing.trace_state_clean()
        call.jit = brainpy_runner.compiles_its_step(runner)
        phase_events.listen_to_numba()
        phase_events.listen_to_jax()
        call.watch.begin()
    OPEN_CALLS[call.serial] = call
    for other in tuple(OPEN_CALLS.values()):
        if other.is_over:  # an interrupt has left it there
            OPEN_CALLS.pop(other.serial, None)
        elif other is not call:
            other.overlaps = call.overlaps = True
    call_token, watch_token = CURRENT_CALL.set(call), CURRENT_WATCH.set(call.watch)
    phases_token = PENDING_PHASES.set(())  # what was traced before leads to no module of the call
    try:
        yield
    except BaseException as error:
        call.error = error
        raise
    finally:
        call.end()
        with guard:
            phase_events.listen_to_jax()
            if not phase_events.listen_to_numba():
                call.watch.mark_unmeasured("numba")
        PENDING_PHASES.reset(phases_token)
        CURRENT_WATCH.reset(watch_token)
        CURRENT_CALL.reset(call_token)
        OPEN_CALLS.pop(call.serial, None)
        _hand_on(call, sessions)
        if outer is not None:
            outer.watch.exclude(time.perf_counter() - call.watch.begun)


def _hand_on(call: RunningCall, sessions: tuple[Any, ...]) -> None:
    try:
        failure = compiler_hooks.record_event(call, sessions)
    finally:
        raised = call.error
        call.forget()
        for compilation in call.compilations:
            dumps.discard(compilation.dumps)
    if failure is not None and raised is None:
        raise failure


def _prepare(call: RunningCall, wrapped: Wrapped, args: Args, kwargs: Kwargs, *, own: bool) -> None:
    watch = Stopwatch()
    token = CURRENT_WATCH.set(watch)
    try:
        given = brainpy_runner.predict_arguments(wrapped, args, kwargs)
        call.indices, call.xs, call.shared_args = given
        call.jit = brainpy_runner.compiles_its_step(
            call.runner
        )  # on 2.3.8 predict has just decided it
        call.nested = call.nested or not jax_tracing.trace_state_clean()
        if call.indices is not None:
            call.i0 = int(call.runner.i0)
        if not (call.jit or call.trace_eager):
            return  # nothing is traced, so there is nothing to name
        with name_guard:
            if not jax_compiler.names_are_in_cache_keys():
                scopes.name_components(call)
        if not own or call.nested:
            return
        if call.indices is not None:
            call.step = eager.trace_step(call, _traces().trace_function)
        call.swaps_axes = brainpy_runner.swaps_axes(call.runner)
        with name_guard:
            known = call.components or scopes.read_components(call.runner)
            call.snapshot = Snapshot(known.names.variables())
    except Exception as error:
        # Not ours to raise: if the arguments are wrong, the native call says so better.
        call.step_failure = error
    finally:
        CURRENT_WATCH.reset(token)
        watch.stop()
        call.preparation = add_timings(call.preparation, watch.timing())
        call.watch.exclude(watch.wall)
