"""Callbacks into the host that are no part of the model, taken out of a traced step.

A progress bar counts and calls back; a ``memory_efficient`` runner hands each step's monitors to
Python. Knows no program.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_runner, brainpy_transforms, jax_tracing
from brainpy_probe.recording.program import jaxprs
from brainpy_probe.recording.program.step import TracedStep
from brainpy_probe.recording.tracing import callables
from brainpy_probe.recording.types import NamedArrays

__all__ = ["PROGRESS_BAR", "drop_progress_bar", "drop_taps", "take_offloaded_monitors"]

PROGRESS_BAR = "progress bar"


def drop_progress_bar(step: TracedStep, carry: Any) -> bool:
    """Leave a progress bar's callbacks out of a loop's step.

    brainstate's bar counts in the carry, ``(i, carry)``, and calls back in conditionals that give
    no result (0.5.4, 0.6.0: transform/_progress_bar.py).

    Parameters
    ----------
    step : TracedStep
        The body of the loop; its ``eqns`` are changed.
    carry : Any
        The loop's first carry.

    Returns
    -------
    bool
        Whether the counter, the carry's first entry, has gone with the bar.
    """
    bar = _bar_class()

    def draws(eqn: Any) -> bool:
        made = list(jaxprs.callbacks(eqn)) if id(eqn) in step.callers else []
        return bool(made) and not eqn.outvars and all(_reaches(one, bar) for one in made)

    if not any(map(draws, step.eqns)):
        return False
    step.removed.append(PROGRESS_BAR)
    counted = isinstance(carry, tuple) and len(carry) == 2 and np.shape(carry[0]) == ()
    counter = [step.trace.invars[0], step.outs[0]] if counted else []
    step.dropped = counter
    step.eqns = jaxprs.prune(step.eqns, step.outs, draws, counter[1:])
    return counted


@functools.cache
def _bar_class() -> type:
    return type(brainpy_transforms.take("progress-bar")().init(1))


def take_offloaded_monitors(step: TracedStep) -> NamedArrays:
    """Find the monitors that a step hands to the host, and leave that callback out.

    Returns
    -------
    dict
        The jaxpr's variables that hold them, by the monitors' names.
    """
    runner = step.call.runner

    def offloads(eqn: Any) -> bool:
        return (id(eqn) in step.callers and jax_tracing.has_unused_results(eqn)) and any(
            _reaches(one, type(runner), brainpy_runner.MONITOR_TAKER)
            for one in jaxprs.callbacks(eqn)
        )

    found = [eqn for eqn in step.eqns if offloads(eqn)]
    if not found:
        return {}
    step.removed.append("monitors handed to Python")
    step.eqns = [eqn for eqn in step.eqns if not offloads(eqn)]
    atoms = list(found[0].invars)
    names = brainpy_runner.monitor_names(runner)
    if len(names) != len(atoms):
        names = [f"monitor.{position}" for position in range(len(atoms))]
    return dict(zip(names, atoms, strict=True))


def drop_taps(step: TracedStep) -> None:
    """Leave out what calls Python in BrainPy's own code and gives nothing back.

    That is the progress bar from before 2.7 (2.3.8, 2.4.6, 2.6.0: runners.py) and, in every
    version, the checks that raise an error of BrainPy's, such as those of a delay's bounds
    (math/object_transform, check.py: jit_error).
    """
    calling = [eqn for eqn in step.eqns if id(eqn) in step.callers]
    called = {_source(one) for eqn in calling for one in jaxprs.callbacks(eqn)}
    if not called:
        return
    homes = brainpy_model.brainpy_folders()

    def taps(eqn: Any) -> bool:
        sources = [_source(one) for one in jaxprs.callbacks(eqn)]
        return (
            bool(sources) and jax_tracing.has_unused_results(eqn) and all(map(is_brainpys, sources))
        )

    def is_brainpys(source: str) -> bool:
        return source.startswith(homes)

    dropped = [
        _source(callback)
        for eqn in jaxprs.equations(step.eqns)
        if taps(eqn)
        for callback in jaxprs.callbacks(eqn)
    ]
    if any(source.endswith("runners.py") for source in dropped):
        step.removed.append(PROGRESS_BAR)
    if any(not source.endswith("runners.py") for source in dropped):
        step.removed.append("BrainPy's own checks")
    step.drop = taps
    step.eqns = jaxprs.prune(step.eqns, step.outs, taps)


def _source(callback: Any) -> str:
    """Return the file of the first function in a callback that is not JAX's own."""
    files = (
        one.__code__.co_filename
        for one in callables.inner_callables(callback)
        if hasattr(one, "__code__") and not str(one.__module__).startswith("jax")
    )
    return next(files, "")


def _reaches(callback: Any, owner: type, method: str | None = None) -> bool:
    """Whether a callable is, wraps or closes over a method of an instance of a class."""
    return any(
        isinstance(getattr(one, "__self__", None), owner)
        and method in (None, getattr(one, "__name__", None))
        for one in callables.inner_callables(callback)
    )
