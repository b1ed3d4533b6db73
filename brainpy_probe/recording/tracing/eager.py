"""Traces the step of a runner that never traces it itself (``jit=False``); knows no program.

Such a runner has no compiled loop to show, and tracing its Python loop would unroll it. One trace
of the bare step is made instead, and all that this touches is put back. A step that is the one that
was traced before is not traced again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_runner
from brainpy_probe.errors import first_line
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.patches import LEDGER
from brainpy_probe.recording.tracing.contents import form_of_argument
from brainpy_probe.recording.tracing.recognition import WhatDecides, global_random_states
from brainpy_probe.recording.tracing.rewind import first_items, rewound
from brainpy_probe.recording.tracing.traces import StepTrace

__all__ = ["trace_step"]


def trace_step(call: RunningCall, traced: Callable[..., StepTrace]) -> StepTrace | None:
    """Trace one step before the native run; None if that run traces its step itself.

    Parameters
    ----------
    call : RunningCall
        The call that is about to run.
    traced : callable
        ``traced(function, args, kwargs, reached)`` traces a function that uses Variables.
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
    form = tree, *map(form_of_argument, leaves)
    known = LEDGER.steps.get(call.runner)
    if known is None:
        known = LEDGER.steps.set(call.runner, {})
    with _without_iterators(entries):
        decides, step = known.get(form, (None, None))
        if decides is not None and decides.are_still(call.runner, call.shared_args):
            return _as_now(step, args, kwargs)
        decides = _what_decides(call)
    before = global_random_states()
    made = _trace(call, traced, entries, args, kwargs)
    if decides is not None and made.drawn == before:
        known[form] = decides, made.step
    return made.step


@dataclass(frozen=True)
class _Made:
    """A trace, and the states of the global random numbers when it had ended."""

    step: StepTrace
    drawn: tuple[Any, ...]


def _trace(
    call: RunningCall,
    traced: Callable[..., StepTrace],
    entries: list[list[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> _Made:
    step = brainpy_runner.step_function(call.runner, call.shared_args)

    def fed(*args: Any, iterated: list[Any]) -> Any:
        for entry, item in zip(entries, iterated, strict=True):
            entry[1] = iter([item])
        return step(*args)

    with call.inside(), rewound(call.runner) as reached, jax.disable_jit(False):
        return _Made(traced(fed, args, kwargs, reached), global_random_states())


def _what_decides(call: RunningCall) -> WhatDecides | None:
    """Return what decides of a call's step; None if that can't be known, and why is noted."""
    try:
        return WhatDecides(call.runner, call.shared_args)
    except Exception as error:  # Unrecognisable, or the user's own code
        call.notes.append(f"The step is traced at every call: {first_line(error)}.")
        return None


@contextlib.contextmanager
def _without_iterators(entries: list[list[Any]]) -> Iterator[None]:
    """Have inputs without their iterators in the block: what they give is an argument."""
    sources = [entry[1] for entry in entries]
    for entry in entries:
        entry[1] = None
    try:
        yield
    finally:
        for entry, source in zip(entries, sources, strict=True):
            entry[1] = source


def _as_now(step: StepTrace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepTrace:
    """Return a trace with the arguments and the Variables' values of this call."""
    states = [replace(use, value=brainpy_model.raw_value(use.variable)) for use in step.states]
    return replace(step, args=args, kwargs=kwargs, states=states)
