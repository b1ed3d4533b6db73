"""The thin wrappers: they note what passes by and hand a finished call on; they make no program.

Each wrapper calls what it wraps exactly once, returns what that returns and raises what it raises.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import jax

from brainpy_probe.live import seams, stepwise
from brainpy_probe.live.calls import CURRENT_CALL, CURRENT_WATCH, LoopRun, RunningCall, StepTrace
from brainpy_probe.live.patching import LEDGER, Patch
from brainpy_probe.live.timing import PHASES, Stopwatch

__all__ = ["listen", "patches"]

Wrapped = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def patches() -> list[Patch]:
    """Return what is to be wrapped while a capture is open."""
    runner = seams.take("runner")
    seams.take("scan")
    return [
        Patch(runner, "predict", predict),
        Patch(runner, "_predict", inner_predict),
        Patch(seams.take("stateful-function"), "make_jaxpr", make_jaxpr),
        Patch(jax.lax, "scan", scan),
    ]


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
        call.returned = _kept(result)
        return result

    return _watch(noted, instance, args, kwargs)


def _watch(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    sessions = LEDGER.users
    outer = CURRENT_CALL.get()
    if not sessions or (outer is not None and outer.runner is instance):
        return wrapped(*args, **kwargs)
    call = RunningCall(instance, i0=int(getattr(instance, "i0", 0)))
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
        stepwise.prepare(call)
    except Exception as error:
        # Not ours to raise: if the arguments are wrong, the native call says so better.
        call.step_failure = error
    finally:
        CURRENT_WATCH.reset(token)
        watch.stop()
        call.preparation = watch.timing()
        call.watch.exclude(call.preparation.wall)


def make_jaxpr(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``StatefulFunction.make_jaxpr``: notes the outermost traces of a call."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing:
        return wrapped(*args, **kwargs)
    call.tracing = True
    try:
        result = wrapped(*args, **kwargs)
    finally:
        call.tracing = False
    key = instance.get_arg_cache_key(*args, **kwargs)
    states = instance.get_states_by_cache(key)
    call.traces.append(StepTrace(instance, args, kwargs, [state.value for state in states]))
    return result


def scan(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for ``jax.lax.scan``: notes the loops that a call makes outside of any trace."""
    call = CURRENT_CALL.get()
    if call is None or call.tracing or not call.traces:
        return wrapped(*args, **kwargs)
    call.tracing = True
    try:
        carry, ys = wrapped(*args, **kwargs)
    finally:
        call.tracing = False
    bound = inspect.signature(wrapped).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    options = {name: given[name] for name in ("length", "reverse", "unroll")}
    trace, init, xs = call.traces[-1], given["init"], given["xs"]
    call.loops.append(LoopRun(trace, init, xs, options, carry, _kept(ys)))
    return carry, ys


def _kept(tree: Any) -> Any:
    """Copy a tree's containers, not its leaves: predict adds ``ts`` to the monitors' own dict."""
    return jax.tree.map(lambda leaf: leaf, tree)


def listen() -> None:
    """Have JAX tell us the duration of each phase, from now on; once is enough."""
    if not LEDGER.listening:
        jax.monitoring.register_event_duration_secs_listener(duration_event)
        LEDGER.listening = True


def duration_event(event: str, seconds: float, **_: Any) -> None:
    """Listen to ``jax.monitoring``: put a phase down to what goes on in this thread."""
    watch = CURRENT_WATCH.get()
    phase = PHASES.get(event)
    if watch is not None and phase is not None:
        watch.phase_ended(phase, seconds)
