"""Removes callbacks into Python that are not part of the model from a traced step.

These are the updates of progress bars, BrainPy's own error checks, and the transfer of monitors in
a ``memory_efficient`` runner.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_runner, brainpy_transforms, jax_tracing
from brainpy_probe.compat.types import Atom, Equation, Pytree
from brainpy_probe.recording.program.equations import jaxprs
from brainpy_probe.recording.program.step import TracedStep
from brainpy_probe.recording.tracing import callables

__all__ = ["PROGRESS_BAR", "drop_callbacks", "take_offloaded_monitors"]

PROGRESS_BAR = "progress bar"


def drop_callbacks(step: TracedStep, carry: Pytree = None) -> bool:
    """Remove callbacks that are not part of the model; return whether a counter was removed."""
    if not step.callers:
        return False
    counted = brainpy_model.on_brainstate() and _drop_progress_bar(step, carry)
    _drop_brainpy_callbacks(step)
    return counted


def _drop_progress_bar(step: TracedStep, carry: Any) -> bool:
    """Remove a progress bar's callbacks from the body of a loop.

    brainstate's bar has a counter in the carry, ``(i, carry)``, and calls Python in conditionals
    without results (0.5.4, 0.6.0: transform/_progress_bar.py).

    Parameters
    ----------
    step : TracedStep
        The body of the loop; its ``eqns`` are changed.
    carry : Any
        The loop's initial carry.

    Returns
    -------
    bool
        Whether the counter, the carry's first entry, was removed too.
    """
    bar = _bar_class()

    def is_update(eqn: Equation) -> bool:
        called = list(jaxprs.callbacks(eqn)) if id(eqn) in step.callers else []
        return bool(called) and not eqn.outvars and all(_calls_method(c, bar) for c in called)

    if not any(map(is_update, step.eqns)):
        return False
    step.removed.append(PROGRESS_BAR)
    counted = isinstance(carry, tuple) and len(carry) == 2 and np.shape(carry[0]) == ()
    counter = [step.trace.invars[0], step.outs[0]] if counted else []
    step.dropped = counter
    step.eqns = jaxprs.prune(step.eqns, step.outs, is_update, counter[1:])
    return counted


@functools.cache
def _bar_class() -> type:
    return type(brainpy_transforms.take("progress-bar")().init(1))


def take_offloaded_monitors(step: TracedStep) -> dict[str, Atom]:
    """Remove the callback that passes a step's monitors to Python.

    Returns
    -------
    dict
        The jaxpr's variables for the monitors, by the monitors' names.
    """
    runner = step.call.runner

    def offloads(eqn: Equation) -> bool:
        return (id(eqn) in step.callers and jax_tracing.has_unused_results(eqn)) and any(
            _calls_method(callback, type(runner), brainpy_runner.MONITOR_TAKER)
            for callback in jaxprs.callbacks(eqn)
        )

    offloading = [eqn for eqn in step.eqns if offloads(eqn)]
    if not offloading:
        return {}
    step.removed.append("monitors handed to Python")
    step.eqns = [eqn for eqn in step.eqns if not offloads(eqn)]
    atoms = list(offloading[0].invars)
    names = brainpy_runner.monitor_names(runner)
    if len(names) != len(atoms):
        names = [f"monitor.{position}" for position in range(len(atoms))]
    return dict(zip(names, atoms, strict=True))


def _drop_brainpy_callbacks(step: TracedStep) -> None:
    """Remove the callbacks into BrainPy's own code that return nothing.

    These are the progress bar before 2.7 (2.3.8, 2.4.6, 2.6.0: runners.py) and, in every version,
    the checks that raise BrainPy's errors, such as the checks of a delay's bounds
    (math/object_transform, check.py: jit_error).
    """
    calling = [eqn for eqn in step.eqns if id(eqn) in step.callers]
    called = {_source(callback) for eqn in calling for callback in jaxprs.callbacks(eqn)}
    if not called:
        return
    folders = brainpy_model.brainpy_folders()

    def is_dropped(eqn: Equation) -> bool:
        sources = [_source(callback) for callback in jaxprs.callbacks(eqn)]
        return (
            bool(sources) and jax_tracing.has_unused_results(eqn) and all(map(is_brainpys, sources))
        )

    def is_brainpys(source: str) -> bool:
        return source.startswith(folders)

    dropped = [
        _source(callback)
        for eqn in jaxprs.equations(step.eqns)
        if is_dropped(eqn)
        for callback in jaxprs.callbacks(eqn)
    ]
    if any(source.endswith("runners.py") for source in dropped):
        step.removed.append(PROGRESS_BAR)
    if any(not source.endswith("runners.py") for source in dropped):
        step.removed.append("BrainPy's own checks")
    step.drop = is_dropped
    step.eqns = jaxprs.prune(step.eqns, step.outs, is_dropped)


def _source(callback: Any) -> str:
    """Return the source file of the first function in a callback that is not JAX's own."""
    files = (
        function.__code__.co_filename
        for function in callables.inner_callables(callback)
        if hasattr(function, "__code__") and not str(function.__module__).startswith("jax")
    )
    return next(files, "")


def _calls_method(callback: Any, owner: type, method: str | None = None) -> bool:
    """Return whether a callable is, wraps or closes over a method of an instance of a class."""
    return any(
        isinstance(getattr(function, "__self__", None), owner)
        and method in (None, getattr(function, "__name__", None))
        for function in callables.inner_callables(callback)
    )
