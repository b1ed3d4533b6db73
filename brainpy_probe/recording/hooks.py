"""Wrappers around BrainPy's runners, which record each call and pass it to the sessions.

Each wrapper calls the wrapped function exactly once, returns its result and raises its exception.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import jax

from brainpy_probe.compat import (
    brainpy_model,
    brainpy_runner,
    jax_compiler,
    jax_tracing,
    versions,
)
from brainpy_probe.compat.import_hooks import around_import
from brainpy_probe.compat.types import Args, Kwargs, Runner, Wrapped
from brainpy_probe.recording import lifecycle
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import (
    CURRENT_CALL,
    CURRENT_WATCH,
    OWN_WORK,
    guard,
    name_guard,
)
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.modules import compiler_hooks
from brainpy_probe.recording.modules.timing import Stopwatch, add_timings
from brainpy_probe.recording.patches import ACTIVE, Patch
from brainpy_probe.recording.snapshot import Snapshot, copy_containers
from brainpy_probe.recording.tracing import eager, state_traces
from brainpy_probe.recording.tracing.legacy import hooks as legacy_hooks

__all__ = ["compiler_patches", "patch_when_imported", "patches"]


def compiler_patches() -> list[Patch]:
    """Return the patches of JAX's compiler, which work without BrainPy."""
    return compiler_hooks.patches()


def patches() -> list[Patch]:
    """Return all patches, to be installed while a capture is open.

    They include the patches of BrainPy's runners if the script has imported BrainPy.
    """
    uses_brainpy = brainpy_model.uses_brainpy()
    return [
        *compiler_patches(),
        *(_runner_patches(brainpy_runner.take("runner")) if uses_brainpy else []),
        Patch(jax.numpy, "moveaxis", _moveaxis),
        *_trace_hooks().patches(),
    ]


def patch_when_imported(
    make_patches: Callable[[], list[Patch]], report: Callable[[Exception], Exception | None]
) -> Callable[[], None]:
    """Install patches when a script that first used brainstate alone imports BrainPy.

    Parameters
    ----------
    make_patches : callable
        Returns the patches.
    report : callable
        Reports a failure of the probe, and returns the error to raise, if any.

    Returns
    -------
    callable
        Removes the import hook.
    """

    @contextlib.contextmanager
    def joining() -> Iterator[None]:
        yield
        failure: Exception | None = None
        try:
            versions.resolve()
            ACTIVE.extend(make_patches())
        except Exception as error:
            failure = report(error)
        if failure is not None:
            raise failure

    if brainpy_model.uses_brainpy():
        return lambda: None
    return around_import("brainpy", joining)


def _trace_hooks() -> ModuleType:
    """Return the module with the hooks for the installed BrainPy's traces."""
    return state_traces if brainpy_model.on_brainstate() else legacy_hooks


def _runner_patches(runner: Runner) -> list[Patch]:
    """Return the patches of DSRunner, and of subclasses that override its methods (``BPFF``)."""
    handlers = {
        "predict": _brainpy_predict if brainpy_runner.is_brainpys_own(runner) else _predict,
        "_predict": _own_predict if runner is brainpy_runner.take("runner") else _inner_predict,
    }
    patches = [
        Patch(runner, name, handler) for name, handler in handlers.items() if name in vars(runner)
    ]
    patches += scopes.runner_patches(runner)
    for subclass in runner.__subclasses__():
        patches += _runner_patches(subclass)
    return patches


def _predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the ``predict`` of a user's runner class."""
    with _recorded(instance):
        return wrapped(*args, **kwargs)


def _brainpy_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the ``predict`` of ``DSRunner`` or a BrainPy trainer: record the monitors.

    A subclass may change the monitors afterwards.
    """
    with _recorded(instance):
        result = wrapped(*args, **kwargs)
        call = CURRENT_CALL.get()
        # If predict calls are nested, the innermost one ends first.
        if call is not None and call.runner is instance and call.monitors is None:
            with call.own_work():
                call.monitors, call.recorded_times = brainpy_runner.held_monitors(
                    instance, call.brainpy_result
                )
        return result


def _inner_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the ``_predict`` of a subclass, which may not call BrainPy's ``_predict``."""
    with _recorded(instance):
        call = CURRENT_CALL.get()
        if call is None or call.runner is not instance:
            return wrapped(*args, **kwargs)
        with call.predicting(own=False) as outermost:
            _prepare(call, wrapped, args, kwargs, own=False)
            result = wrapped(*args, **kwargs)
            with call.own_work():
                if outermost:
                    call.runner_result = copy_containers(result)
        return result


def _own_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``DSRunner._predict``, which runs the loop over time.

    Some subclasses (BPTT) call it without ``predict``.
    """
    with _recorded(instance):
        call = CURRENT_CALL.get()
        if call is None or call.runner is not instance:
            return wrapped(*args, **kwargs)
        with call.predicting(own=True) as outermost:
            _prepare(call, wrapped, args, kwargs, own=True)
            result = wrapped(*args, **kwargs)
            with call.own_work():
                call.brainpy_result = copy_containers(result)
                if outermost:
                    call.runner_result = call.brainpy_result
                if call.snapshot is not None:
                    call.snapshot.end()
        return result


def _moveaxis(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap ``jax.numpy.moveaxis``: record the results whose axes a runner swaps after its loop.

    With a batching mode and ``data_first_axis="B"``, a runner swaps the first two axes of each
    result after its loop (brainpy 2.3.8: _src/dyn/runners.py; 2.4.6, 2.6.0: _src/runners.py; 2.8.2,
    2.9.0: runners.py). The arrays are recorded by identity, because comparing 64 MB takes longer
    than many runs.
    """
    result = wrapped(*args, **kwargs)
    call = CURRENT_CALL.get()
    if call is not None and not call.tracing and args[1:] == (0, 1) and not kwargs:
        with guard:
            call.add_swap(args[0], result)
    return result


@contextlib.contextmanager
def _recorded(runner: Runner) -> Iterator[None]:
    """Record a call of a runner, unless it is part of a recorded call of the same runner.

    It is a context manager, not a function that makes the call, because JAX records the call stack
    of each op that it traces.
    """
    outer = lifecycle.running_call()
    if not ACTIVE.users or OWN_WORK.get() or (outer is not None and _is_part_of(runner, outer)):
        yield
        return
    trace_eager = any(session.settings.trace_eager for session in ACTIVE.users)
    call = lifecycle.begin(RunningCall(runner, trace_eager))
    try:
        yield
    except BaseException as error:
        call.error = error
        raise
    finally:
        lifecycle.end(call)
        if outer is not None:
            outer.watch.exclude(time.perf_counter() - call.watch.begun)


def _is_part_of(runner: Runner, outer: RunningCall) -> bool:
    """Return whether a runner's call is part of the recorded call around it.

    A trainer runs its model within the trace of its fit step.
    """
    return outer.runner is runner or (outer.is_standalone and outer.tracing is not None)


def _prepare(call: RunningCall, wrapped: Wrapped, args: Args, kwargs: Kwargs, *, own: bool) -> None:
    """Record the arguments of ``_predict`` and a snapshot of the Variables; name the model."""
    watch = Stopwatch()
    token = CURRENT_WATCH.set(watch)
    try:
        arguments = brainpy_runner.predict_arguments(wrapped, args, kwargs)
        call.indices, call.xs, call.shared_args = arguments
        # Checked again, because predict of 2.3.8 has just decided it.
        call.jit = brainpy_runner.compiles_its_step(call.runner)
        call.nested = call.nested or not jax_tracing.trace_state_clean()
        if call.indices is not None:
            call.i0 = int(call.runner.i0)
        if not (call.jit or call.trace_eager):
            return  # nothing is traced, so no names are needed
        with name_guard:
            if not jax_compiler.names_are_in_cache_keys():
                scopes.name_components(call)
        if not own or call.nested:
            return
        if call.indices is not None:
            call.step = eager.trace_step(call, _trace_hooks().trace_function)
        call.swaps_axes = brainpy_runner.swaps_axes(call.runner)
        with name_guard:
            components = call.components or scopes.read_components(call.runner)
            call.snapshot = Snapshot(components.names.variables())
    except Exception as error:
        # Not raised here: if the arguments are wrong, the native call raises a better error.
        call.step_failure = error
    finally:
        CURRENT_WATCH.reset(token)
        watch.stop()
        call.preparation = add_timings(call.preparation, watch.timing())
        call.watch.exclude(watch.wall)
