"""Recognises a run that trains its model."""

from __future__ import annotations

from brainpy_probe.compat import brainpy_model, jax_tracing
from brainpy_probe.recording.program.equations import jaxprs
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace

__all__ = ["trains"]


def trains(run: LoopRun | StepTrace) -> bool:
    """Return whether a run computes a gradient and writes a parameter.

    A gradient alone is not training: exponential Euler uses one to linearise its equation.
    """
    trace = run.step if isinstance(run, LoopRun) else run
    classes = brainpy_model.parameter_classes()
    return any(
        use.writes is not None and isinstance(use.variable, classes) for use in trace.states
    ) and any(map(jax_tracing.is_transposed, jaxprs.equations(trace.eqns)))
