"""The wrappers around JAX's compiler: they note each module and have XLA dump it.

Each calls what it wraps exactly once, returns what that returns and raises what it raises. Knows
no file format and no reason.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Mapping
from typing import Any

from brainpy_probe.compat import bindings, jax_compiler, jax_tracing
from brainpy_probe.ir import mlir
from brainpy_probe.recording.background import rendering_ahead
from brainpy_probe.recording.calls import CURRENT_CALL, OWN_WORK, RunningCall
from brainpy_probe.recording.modules import dumps, phase_events
from brainpy_probe.recording.modules.compilation import (
    CURRENT_COMPILATION,
    PENDING_PHASES,
    Compilation,
)
from brainpy_probe.recording.modules.pending import taken
from brainpy_probe.recording.modules.timing import Phase
from brainpy_probe.recording.patches import LEDGER, Patch
from brainpy_probe.recording.types import Args, Kwargs, Wrapped

__all__ = ["patches"]


def patches() -> list[Patch]:
    """Return what is to be wrapped while a capture is open."""
    compiler = jax_compiler.take("compiler")
    return [
        Patch(compiler, "compile_or_get_cached", compile_or_get_cached),
        Patch(compiler, jax_compiler.backend_compile_name(), backend_compile),
    ]


def compile_or_get_cached(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for JAX's function of that name: each module passes here, cached or not."""
    sessions = () if OWN_WORK.get() else LEDGER.users
    compilation: Compilation | None = None
    problem: Exception | None = None
    if sessions:
        try:
            compilation = _begun(wrapped, args, kwargs)
        except Exception as error:
            problem = error
    if compilation is None:
        executable = wrapped(*args, **kwargs)
        if problem is not None:
            failures = [session.failed(problem) for session in sessions]
            _raise_first(failures)
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
    if call is None or not call.takes(compilation):
        try:
            failure = hand_on(compilation, sessions)
        finally:
            dumps.discard(compilation.dumps)
        _raise_first([failure])
    return compilation.executable


def hand_on(event: RunningCall | Compilation, sessions: Iterable[Any]) -> Exception | None:
    """Hand a call that has ended, or a module, to every session, to record it.

    An interrupt is raised when each has been told; a session that it struck before it had begun
    then knows of what it has not recorded.

    Returns
    -------
    Exception or None
        The first failure that a user asked to be raised.
    """
    failures: list[Exception] = []
    interrupts: list[BaseException] = []
    for session in sessions:
        try:
            failure = session.ended(event)
        except BaseException as error:
            session.interrupted(event, error)
            interrupts.append(error)
        else:
            failures += [failure] if failure is not None else []
    for interrupt in interrupts:
        raise interrupt
    return next(iter(failures), None)


def _raise_first(failures: Iterable[Exception | None]) -> None:
    """Raise what the user asked to be raised, once every session has been told."""
    for failure in [one for one in failures if one is not None]:
        raise failure


def _begun(wrapped: Wrapped, args: Args, kwargs: Kwargs) -> Compilation | None:
    given = inspect.signature(wrapped).bind(*args, **kwargs).arguments
    module: Any = given.get("computation")
    if not hasattr(module, "operation"):
        return None  # an XlaComputation, as pmap compiled on old versions: no network's program
    name = mlir.string(module.operation.attributes["sym_name"])
    seconds: Mapping[Phase, float] | None = None
    if phase_events.listens():
        is_run = CURRENT_CALL.get() is not None and name == jax_tracing.LOOP_MODULE
        seconds, left = taken(PENDING_PHASES.get(), name, whole=is_run)
        PENDING_PHASES.set(left)
    phases: tuple[Phase, ...] = ("trace", "lower", "numba")
    trace, lower, numba = (None if seconds is None else seconds[phase] for phase in phases)
    return Compilation(
        name=name,
        bytecode=bindings.mlir_bytecode(module),
        backend=str(given["backend"].platform),
        trace=trace,
        lower=lower,
        numba=numba,
    )


def backend_compile(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for XLA's compile function: what gets here was in no cache."""
    compilation = CURRENT_COMPILATION.get()
    if compilation is None:
        return wrapped(*args, **kwargs)
    compilation.compiled = True
    call = CURRENT_CALL.get()
    with rendering_ahead(call, compilation.name):
        return _compiled(wrapped, args, kwargs, compilation)


def _compiled(wrapped: Wrapped, args: Args, kwargs: Kwargs, compilation: Compilation) -> Any:
    """Compile, and dump what the sessions ask for."""
    dumping = [session for session in LEDGER.users if session.settings.xla_dump]
    if not dumping:
        return wrapped(*args, **kwargs)
    kinds = {kind for session in dumping for kind in session.settings.xla_dump}
    try:
        bound = inspect.signature(wrapped).bind(*args, **kwargs)
        order = dumps.order(bound.arguments["options"], kinds)
    except Exception as error:
        compilation.notes.append(f"not dumped: {error}")
        return wrapped(*args, **kwargs)
    if isinstance(order, str):
        compilation.notes.append(order)
        return wrapped(*args, **kwargs)
    bound.arguments["options"] = order.options
    compilation.dumps = order.folder
    try:
        return wrapped(*bound.args, **bound.kwargs)
    finally:
        try:
            order.share_with_user(compilation.name)
        except Exception as error:
            compilation.notes.append(f"not copied to the folder of XLA_FLAGS: {error}")
