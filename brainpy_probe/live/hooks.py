"""The thin wrappers: they note what passes by and hand a finished call on; they make no program.

Each wrapper calls what it wraps exactly once, returns what that returns and raises what it raises.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.extend import source_info_util

from brainpy_probe.live import compiles, dumps, seams, stepwise
from brainpy_probe.live.calls import CURRENT_CALL, CURRENT_WATCH, LoopRun, RunningCall, StepTrace
from brainpy_probe.live.patching import LEDGER, Patch
from brainpy_probe.live.timing import PHASES, Stopwatch

__all__ = ["attend", "patches"]

Wrapped = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def patches() -> list[Patch]:
    """Return what is to be wrapped while a capture is open."""
    seams.take("scan")
    stateful = seams.take("stateful-function")
    return [
        *compiles.patches(),
        *_runner_patches(seams.take("runner")),
        Patch(stateful, "make_jaxpr", make_jaxpr),
        Patch(stateful, "get_state_trace", get_state_trace),
        Patch(jax.lax, "scan", scan),
    ]


def _runner_patches(runner: Any) -> list[Patch]:
    """Patch DSRunner, and the subclasses that run the model without it (``BPFF.predict``)."""
    found = [
        Patch(runner, name, handler)
        for name, handler in (("predict", predict), ("_predict", inner_predict))
        if name in vars(runner)
    ]
    for subclass in runner.__subclasses__():
        found += _runner_patches(subclass)
    return found


def predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``DSRunner.predict``."""
    return _watch(wrapped, instance, args, kwargs)


def inner_predict(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``DSRunner._predict``, which subclasses call without ``predict`` (BPTT)."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        call = CURRENT_CALL.get()
        if call is None or call.indices is not None:
            return wrapped(*args, **kwargs)
        _prepare(call, wrapped, args, kwargs)
        result = wrapped(*args, **kwargs)
        with _noting(call):
            call.returned = _kept(result)
        return result

    return _watch(noted, instance, args, kwargs)


def _watch(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    sessions = LEDGER.users
    outer = CURRENT_CALL.get()
    if not sessions or (outer is not None and outer.runner is instance):
        return wrapped(*args, **kwargs)
    call = RunningCall(instance)
    call_token, watch_token = CURRENT_CALL.set(call), CURRENT_WATCH.set(call.watch)
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        call.error = error
        raise
    finally:
        call.watch.stop()
        CURRENT_WATCH.reset(watch_token)
        CURRENT_CALL.reset(call_token)
        _hand_on(call, sessions)
        if outer is not None:
            outer.watch.exclude(time.perf_counter() - call.watch.begun)


def _hand_on(call: RunningCall, sessions: tuple[Any, ...]) -> None:
    failures = [failure for session in sessions if (failure := session.call_ended(call))]
    for compilation in call.compilations:
        dumps.discard(compilation.dumps)
    if failures and call.error is None:
        raise failures[0]


def _prepare(call: RunningCall, wrapped: Wrapped, args: Args, kwargs: Kwargs) -> None:
    watch = Stopwatch()
    token = CURRENT_WATCH.set(watch)
    try:
        bound = inspect.signature(wrapped).bind(*args, **kwargs).arguments
        call.indices = bound["indices"]
        call.xs = tuple(bound.get("xs", ()))
        call.shared_args = bound.get("shared_args")
        call.i0 = int(call.runner.i0)
        call.jit = seams.compiles_its_step(call.runner)
        call.step = stepwise.trace_step(call)
    except Exception as error:
        # Not ours to raise: if the arguments are wrong, the native call says so better.
        call.step_failure = error
    finally:
        CURRENT_WATCH.reset(token)
        watch.stop()
        call.preparation = watch.timing()
        call.watch.exclude(call.preparation.wall)


def make_jaxpr(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``StatefulFunction.make_jaxpr``: what goes on in there is not outermost."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing:
        return wrapped(*args, **kwargs)
    call.tracing = True
    try:
        return wrapped(*args, **kwargs)
    finally:
        call.tracing = False


def get_state_trace(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``StatefulFunction.get_state_trace``: notes the outermost traces of a call.

    Every loop and every jit asks for its states in this way just before it runs, be the jaxpr
    fresh or from brainstate's cache.
    """
    states = wrapped(*args, **kwargs)
    call = CURRENT_CALL.get()
    if call is not None and not call.tracing and id(instance) not in call.noted:
        call.noted[id(instance)] = instance
        with _noting(call):
            kwargs = {name: value for name, value in kwargs.items() if name != "compile_if_miss"}
            values = [state.value for state in states.states]
            call.traces.append(StepTrace(instance, args, kwargs, values))
    return states


def scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``jax.lax.scan``: notes the loops that a call makes outside of any trace."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing or not call.traces:
        return wrapped(*args, **kwargs)
    call.tracing = True
    try:
        result = wrapped(*args, **kwargs)
    finally:
        call.tracing = False
    with _noting(call):
        bound = inspect.signature(wrapped).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        options = {name: given[name] for name in ("length", "reverse", "unroll")}
        trace, init, xs = call.traces[-1], given["init"], given["xs"]
        carry, ys = result
        call.loops.append(LoopRun(trace, init, xs, options, carry, _kept(ys)))
    return result


@contextlib.contextmanager
def _noting(call: RunningCall) -> Iterator[None]:
    """Keep a failure of ours for the record: it must not stop the run."""
    try:
        yield
    except Exception as error:
        call.problem = error


def _kept(tree: Any) -> Any:
    """Copy a tree's containers, not its leaves: predict adds ``ts`` to the monitors' own dict."""
    return jax.tree_util.tree_map(lambda leaf: leaf, tree)


def attend() -> None:
    """Have JAX tell us the duration of each phase, and pass over our frames; once is enough.

    The names of Python frames stand in a module's metadata: ours must not, so that it is the same
    module as without us.
    """
    if not LEDGER.attending:
        jax.monitoring.register_event_duration_secs_listener(duration_event)
        source_info_util.register_exclusion(str(Path(__file__).parent.parent))
        LEDGER.attending = True


def duration_event(event: str, duration_secs: float, **_: Any) -> None:
    """Listen to ``jax.monitoring``: put a phase down to what goes on in this thread."""
    phase = PHASES.get(event)
    if phase is None:
        return
    compiles.note_phase(phase, duration_secs)
    watch = CURRENT_WATCH.get()
    if watch is not None:
        watch.phase_ended(phase, duration_secs)
