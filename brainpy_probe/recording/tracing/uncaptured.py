"""Records runs that are not calls, each kind once, with the user's functions."""

from __future__ import annotations

import functools
import inspect
from types import FrameType, FunctionType, MethodType
from typing import Any

from brainpy_probe.compat import brainstate_runs, jax_runs, jax_tracing
from brainpy_probe.compat.types import StatefulFunction
from brainpy_probe.frames import is_user_code
from brainpy_probe.recording.current import OWN_WORK, guard
from brainpy_probe.recording.patches import ACTIVE

__all__ = ["note", "note_compiled", "note_idiom", "note_inside", "note_stateless"]

_INSIDE = "loop or jitted function inside another transformation"
_STATELESS = {
    "jit": "jitted function without BrainPy state",
    "loop": "loop without BrainPy state",
    "condition": "condition without BrainPy state",
}
# Wrappers around a function, which may also wrap themselves.
_MAX_WRAPPERS = 20


def note_idiom(stateful: StatefulFunction, frame: FrameType) -> None:
    """Record that a function ran without being a call, such as a gradient outside of a jit."""
    if OWN_WORK.get() or brainstate_runs.run_kind(frame) is not None:
        return
    idiom = brainstate_runs.uncaptured_idiom(stateful)
    if idiom and jax_tracing.trace_state_clean():
        note(idiom)


def note_inside(frame: FrameType) -> None:
    """Record that a run is not a call, because it is inside another transformation."""
    if not OWN_WORK.get() and brainstate_runs.run_kind(frame) is not None:
        note(_INSIDE)


def note_compiled(frame: FrameType) -> None:
    """Record that JAX compiled a user's function outside of any call.

    Parameters
    ----------
    frame : frame
        The frame that has compiled a module.
    """
    with guard:
        found = jax_runs.compiled_function(frame)
        if found is not None:
            brainpys = f"{found.kind} run without a runner"
            _note_function(_STATELESS.get(found.kind, brainpys), found.function)


def note_stateless(function: Any) -> None:
    """Record that a jitted function of the user's without state was compiled."""
    with guard:
        _note_function(_STATELESS["jit"], function)


def _note_function(idiom: str, function: Any) -> None:
    user = _user_function(function)
    if user is not None:
        for session in ACTIVE.users:
            session.note_uncaptured(idiom, user)


def _user_function(function: Any) -> FunctionType | None:
    """Return the user's function that a function is or wraps by ``functools``, or None.

    None for functions of libraries, such as the functions that ``jax.numpy`` jits.
    """
    for _ in range(_MAX_WRAPPERS):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, FunctionType):
            if is_user_code(function.__code__, str(function.__globals__.get("__name__", ""))):
                return function
            function = getattr(function, "__wrapped__", None)
        else:
            called = inspect.getattr_static(type(function), "__call__", None)
            if not isinstance(called, FunctionType):
                return None
            function = called
    return None


def note(idiom: str) -> None:
    """Have each session record that something ran that is not a call."""
    for session in ACTIVE.users:
        session.note_uncaptured(idiom)
