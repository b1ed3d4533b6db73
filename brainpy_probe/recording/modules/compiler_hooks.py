"""Wrappers around JAX's compiler functions, which record each module and request XLA's dumps.

Each wrapper calls the wrapped function exactly once, returns its result and raises its exception.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from brainpy_probe.compat import bindings, jax_compiler, jax_tracing
from brainpy_probe.compat.types import Args, Kwargs, Wrapped
from brainpy_probe.frames import place_of, user_frame
from brainpy_probe.ir import mlir
from brainpy_probe.recording.background import rendering_ahead
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_CALL, OWN_WORK
from brainpy_probe.recording.modules import dumps, phase_events
from brainpy_probe.recording.modules.compilation import (
    CURRENT_COMPILATION,
    PENDING_PHASES,
    Compilation,
)
from brainpy_probe.recording.modules.ended_phases import take_phases
from brainpy_probe.recording.modules.timing import Phase
from brainpy_probe.recording.patches import ACTIVE, Patch
from brainpy_probe.recording.recorder import Recorder
from brainpy_probe.recording.tracing.repeated_runs import promote_repeated_run
from brainpy_probe.recording.tracing.uncaptured import note_compiled

__all__ = ["patches", "record_event"]


def patches() -> list[Patch]:
    """Return the patches of JAX's compiler, to be installed while a capture is open."""
    compiler = jax_compiler.take("compiler")
    return [
        Patch(compiler, "compile_or_get_cached", _compile_or_get_cached),
        Patch(compiler, jax_compiler.backend_compile_name(), _backend_compile),
    ]


def _compile_or_get_cached(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap JAX's ``compile_or_get_cached``, which JAX calls for each module, cached or not."""
    sessions = () if OWN_WORK.get() else ACTIVE.users
    if sessions:
        promote_repeated_run()
    compilation: Compilation | None = None
    problem: Exception | None = None
    if sessions:
        try:
            compilation = _new_compilation(wrapped, args, kwargs)
        except Exception as error:
            problem = error
    if compilation is None:
        executable = wrapped(*args, **kwargs)
        if problem is not None:
            _raise_first([session.report_failure(problem) for session in sessions])
        return executable
    token = CURRENT_COMPILATION.set(compilation)
    begun = time.perf_counter()
    try:
        compilation.executable = wrapped(*args, **kwargs)
    except BaseException:
        dumps.discard(compilation.dumps)
        raise
    finally:
        compilation.compile = time.perf_counter() - begun
        CURRENT_COMPILATION.reset(token)
    call = CURRENT_CALL.get()
    if call is None or call.is_abandoned or not call.add_compilation(compilation):
        try:
            failure = record_event(compilation, sessions)
        finally:
            dumps.discard(compilation.dumps)
        _raise_first([failure])
        note_compiled(sys._getframe(0))
    return compilation.executable


def record_event(
    event: RunningCall | Compilation, sessions: Iterable[Recorder]
) -> Exception | None:
    """Have every session record a call that has ended, or a module.

    If an interrupt (Ctrl-C) occurs while a session records the event, the session is informed that
    it has not recorded it. The interrupt is raised again after the last session.

    Returns
    -------
    Exception or None
        The first failure to be raised, for a session with ``strict=True``.
    """
    failures: list[Exception] = []
    interrupts: list[BaseException] = []
    for session in sessions:
        try:
            failure = session.record(event)
        except BaseException as error:
            session.mark_interrupted(event, error)
            interrupts.append(error)
        else:
            failures += [failure] if failure is not None else []
    for interrupt in interrupts:
        raise interrupt
    return next(iter(failures), None)


def _raise_first(failures: Iterable[Exception | None]) -> None:
    """Raise the first failure, if there is one."""
    for failure in failures:
        if failure is not None:
            raise failure


def _new_compilation(wrapped: Wrapped, args: Args, kwargs: Kwargs) -> Compilation | None:
    """Return a Compilation for the arguments of JAX's compile function.

    It includes the seconds of the phases that led to the module.
    """
    arguments = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    module: Any = arguments.get("computation")
    if not hasattr(module, "operation"):
        return (
            None  # an XlaComputation, which pmap compiles on old versions: not a network's program
        )
    name = mlir.string(module.operation.attributes["sym_name"])
    seconds: Mapping[Phase, float] | None = None
    if phase_events.listen_to_jax():
        is_run = CURRENT_CALL.get() is not None and name == jax_tracing.LOOP_MODULE
        # A phase of an earlier capture led to a module that was not compiled then.
        pending = [phase for phase in PENDING_PHASES.get() if phase.ended >= ACTIVE.since]
        seconds, left = take_phases(pending, name, all_traces=is_run)
        PENDING_PHASES.set(left)
    phases: tuple[Phase, ...] = ("trace", "lower", "numba")
    trace, lower, numba = (None if seconds is None else seconds[phase] for phase in phases)
    frame = user_frame()
    return Compilation(
        name=name,
        bytecode=bindings.mlir_bytecode(module),
        backend=str(arguments["backend"].platform),
        trace=trace,
        lower=lower,
        numba=numba,
        place="" if frame is None else place_of(frame),
        function="" if frame is None else frame.f_code.co_qualname,
        cache_minimum=jax_compiler.persistent_cache_minimum(),
    )


def _backend_compile(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the function that calls XLA's compiler for a module that is in no cache."""
    compilation = CURRENT_COMPILATION.get()
    if compilation is None:
        return wrapped(*args, **kwargs)
    compilation.compiled = True
    call = CURRENT_CALL.get()
    with rendering_ahead(call, compilation.name):
        return _compile_with_dumps(wrapped, args, kwargs, compilation)


def _compile_with_dumps(
    wrapped: Wrapped, args: Args, kwargs: Kwargs, compilation: Compilation
) -> Any:
    """Compile a module, and have XLA dump the kinds of files that the sessions request."""
    dumping = [session for session in ACTIVE.users if session.settings.xla_dump]
    if not dumping:
        return wrapped(*args, **kwargs)
    kinds = {kind for session in dumping for kind in session.settings.xla_dump}
    try:
        bound = inspect.signature(wrapped).bind(*args, **kwargs)
        request = dumps.request(bound.arguments["options"], kinds)
    except Exception as error:
        compilation.notes.append(f"not dumped: {error}")
        return wrapped(*args, **kwargs)
    if isinstance(request, str):
        compilation.notes.append(request)
        return wrapped(*args, **kwargs)
    bound.arguments["options"] = request.options
    compilation.dumps = request.folder
    try:
        return wrapped(*bound.args, **bound.kwargs)
    finally:
        try:
            request.copy_to_user_folder(compilation.name)
        except Exception as error:
            compilation.notes.append(f"not copied to the folder of XLA_FLAGS: {error}")
