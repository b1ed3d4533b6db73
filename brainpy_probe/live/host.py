"""Callbacks into the host that are no part of the model, taken out of a traced step.

A progress bar counts and calls back; a ``memory_efficient`` runner hands each step's monitors to
Python. Knows no program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from brainpy_probe.live import jaxprs, seams
from brainpy_probe.live.leaves import Leaves
from brainpy_probe.live.traced import TracedStep

__all__ = ["drop_progress_bar", "drop_taps", "take_offloaded_monitors"]


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
    bar = type(seams.take("progress-bar")().init(1))

    def draws(eqn: Any) -> bool:
        made = list(jaxprs.callbacks(eqn))
        return bool(made) and not eqn.outvars and all(_reaches(one, bar) for one in made)

    if not any(map(draws, step.eqns)):
        return False
    counted = isinstance(carry, tuple) and len(carry) == 2 and np.shape(carry[0]) == ()
    counter = [step.trace.invars[0], step.outs[0]] if counted else []
    step.dropped = counter
    step.eqns = jaxprs.prune(step.eqns, step.outs, draws, counter[1:])
    return counted


def take_offloaded_monitors(step: TracedStep) -> Leaves:
    """Find the monitors that a step hands to the host, and leave that callback out.

    Returns
    -------
    dict
        The jaxpr's variables that hold them, by the monitors' names.
    """
    runner = step.call.runner

    def offloads(eqn: Any) -> bool:
        return seams.gives_nothing(eqn) and any(
            _reaches(one, type(runner), seams.MONITOR_TAKER) for one in jaxprs.callbacks(eqn)
        )

    found = [eqn for eqn in step.eqns if offloads(eqn)]
    if not found:
        return {}
    step.eqns = [eqn for eqn in step.eqns if not offloads(eqn)]
    atoms = list(found[0].invars)
    names = seams.monitor_names(runner)
    if len(names) != len(atoms):
        names = [f"monitor.{position}" for position in range(len(atoms))]
    return dict(zip(names, atoms, strict=True))


def drop_taps(step: TracedStep) -> None:
    """Leave out the taps of BrainPy's own from before 2.7: progress bars, checks of values.

    They call Python and give nothing back (2.3.8, 2.4.6, 2.6.0: runners.py, and check.jit_error,
    which every delay brings in).
    """
    home = seams.brainpy_folder()

    def taps(eqn: Any) -> bool:
        if not seams.gives_nothing(eqn):
            return False
        made = list(jaxprs.callbacks(eqn))
        return bool(made) and all(_is_from(one, home) for one in made)

    step.drop = taps
    kept = jaxprs.prune(step.eqns, step.outs, taps)
    step.eqns = kept


def _is_from(callback: Any, folder: str) -> bool:
    """Whether the functions that a callback consists of, JAX's own left out, lie in a folder."""
    files = [
        one.__code__.co_filename
        for one in _layers(callback)
        if hasattr(one, "__code__") and not one.__module__.startswith("jax.")
    ]
    return bool(files) and all(file.startswith(folder) for file in files)


def _reaches(callback: Any, owner: type, method: str | None = None) -> bool:
    """Whether a callable is, wraps or closes over a method of an instance of a class."""
    return any(
        isinstance(getattr(one, "__self__", None), owner)
        and method in (None, getattr(one, "__name__", None))
        for one in _layers(callback)
    )


def _layers(callback: Any) -> Iterator[Callable[..., Any]]:
    """Yield a callable, and those that it wraps or closes over."""
    pending: list[Callable[..., Any]] = [callback]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [getattr(one, name, None) for name in ("__func__", "func", "__wrapped__")]
        for cell in getattr(one, "__closure__", None) or ():
            try:
                inner.append(cell.cell_contents)
            except ValueError:  # the cell is empty
                continue
        pending += [other for other in inner if callable(other)]
