"""Traces one step of a run with ``jit=False``, which BrainPy does not trace.

Such a run has no compiled loop, and tracing its Python loop would unroll it. Therefore one step is
traced, and the side effects of the trace are undone. A step that has not changed since an earlier
trace is not traced again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_runner
from brainpy_probe.compat.types import Args, Kwargs
from brainpy_probe.errors import first_line
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.recording.tracing.object_contents import argument_signature
from brainpy_probe.recording.tracing.side_effects import first_items, side_effects_undone
from brainpy_probe.recording.tracing.step_dependencies import StepDependencies, global_random_states
from brainpy_probe.recording.tracing.traces import StepTrace

__all__ = ["trace_step"]


def trace_step(call: RunningCall, trace_function: Callable[..., StepTrace]) -> StepTrace | None:
    """Trace one step before the native run; return None if BrainPy traces the step itself.

    Parameters
    ----------
    call : RunningCall
        The call that is about to run.
    trace_function : callable
        ``trace_function(function, args, kwargs, reachable)`` traces a function that uses Variables.
    """
    if brainpy_runner.compiles_its_step(call.runner) or not len(call.indices):
        return None
    entries = brainpy_runner.iterated_inputs(call.runner)
    items = first_items(entries)
    if items is None:
        return None  # the run will raise StopIteration in its first step
    args = brainpy_runner.first_step(call.runner, call.indices, call.xs)
    kwargs = {"iterated": jax.tree_util.tree_map(np.asarray, items)}
    leaves, tree = jax.tree_util.tree_flatten((args, kwargs))
    signature = tree, *map(argument_signature, leaves)
    cache = ACTIVE.steps.get(call.runner)
    if cache is None:
        cache = ACTIVE.steps.set(call.runner, {})
    with _without_iterators(entries):
        dependencies, step = cache.get(signature, (None, None))
        if dependencies is not None and dependencies.is_unchanged(call.runner, call.shared_args):
            return _with_current_values(step, args, kwargs)
        dependencies = _dependencies(call)
    before = global_random_states()
    traced = _trace(call, trace_function, entries, args, kwargs)
    if dependencies is not None and traced.random_states == before:
        cache[signature] = dependencies, traced.step
    return traced.step


@dataclass(frozen=True)
class _TracedStep:
    """A trace, and the states of the global random generators at its end."""

    step: StepTrace
    random_states: tuple[Any, ...]


def _trace(
    call: RunningCall,
    trace_function: Callable[..., StepTrace],
    entries: list[list[Any]],
    args: Args,
    kwargs: Kwargs,
) -> _TracedStep:
    """Trace one step with the first items of iterated inputs, and undo its side effects."""
    step = brainpy_runner.step_function(call.runner, call.shared_args)

    def step_with_items(*args: Any, iterated: list[Any]) -> Any:
        for entry, item in zip(entries, iterated, strict=True):
            entry[1] = iter([item])
        return step(*args)

    with call.inside_trace(), side_effects_undone(call.runner) as reachable, jax.disable_jit(False):
        trace = trace_function(step_with_items, args, kwargs, reachable)
        return _TracedStep(trace, global_random_states())


def _dependencies(call: RunningCall) -> StepDependencies | None:
    """Return the dependencies of a call's step; None, with a note, if they cannot be compared."""
    try:
        return StepDependencies(call.runner, call.shared_args)
    except Exception as error:  # NotComparable, or an error in the user's code
        call.notes.append(f"The step is traced at every call: {first_line(error)}.")
        return None


@contextlib.contextmanager
def _without_iterators(entries: list[list[Any]]) -> Iterator[None]:
    """Remove the iterators of inputs within the block: their items are arguments of the step."""
    sources = [entry[1] for entry in entries]
    for entry in entries:
        entry[1] = None
    try:
        yield
    finally:
        for entry, source in zip(entries, sources, strict=True):
            entry[1] = source


def _with_current_values(step: StepTrace, args: Args, kwargs: Kwargs) -> StepTrace:
    """Return a trace with the arguments and the Variables' values of this call."""
    states = [replace(use, value=brainpy_model.raw_value(use.variable)) for use in step.states]
    return replace(step, args=args, kwargs=kwargs, states=states)
