"""Findings about calls: lost Variables, missing numba, runs without jit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from brainpy_probe.analysis.finding import (
    Finding,
    calls_by_model,
    count_phrase,
    programs_of_calls,
)
from brainpy_probe.format.manifest.records import Manifest

__all__ = ["jit_disabled", "numba_missing", "variable_lost"]

# The message of brainevent without numba (0.3.0: KernelCompilationError), and of Python itself.
_WITHOUT_NUMBA = re.compile(r"No module named '?numba\b")


def variable_lost(manifest: Manifest) -> Iterator[Finding]:
    """Find models that create a Variable while their step is traced."""
    calls = [call for call in manifest.calls if call.lost_variables]
    for model, model_calls in calls_by_model(calls).items():
        names = sorted({name for call in model_calls for name in call.lost_variables})
        first = names[0]
        yield Finding(
            slug="variable-lost",
            sentence=(
                f"{model} creates a Variable of {', '.join(names)} while its step is traced. Its "
                "value is lost at the end of the run, and the next run of the model raises "
                "UnexpectedTracerError. This also happens without the probe."
            ),
            remedy=(
                f"Create the Variable before the first run: model.{first} = "
                f"brainpy.math.Variable(model.{first})."
            ),
            model=model,
            count=len(model_calls),
            programs=programs_of_calls(model_calls),
        )


def numba_missing(manifest: Manifest) -> Iterator[Finding]:
    """Find calls that failed because numba is not installed."""
    failed = [
        call.index
        for call in manifest.calls
        if call.error is not None and _WITHOUT_NUMBA.search(call.error.message)
    ]
    if failed:
        yield Finding(
            slug="numba-missing",
            sentence=(
                f"{count_phrase(len(failed), 'call', 'calls')} failed because numba is not "
                "installed. BrainPy's event-driven synapses need it on a CPU."
            ),
            remedy='pip install "brainpy[cpu]"',
        )


def jit_disabled(manifest: Manifest) -> Iterator[Finding]:
    """Find calls that ran without jit."""
    remedy = "Give the runner jit=True (the default), and do not set JAX's jax_disable_jit."
    if not manifest.settings.trace_eager:
        remedy += (
            " Alternatively, capture(trace_eager=True) traces and captures the step of such a run. "
            "The model's Python then runs once more for each new program. Its changes to files, "
            "to iterators and generators in closures, to bytearrays, context variables, "
            "os.environ and attributes of functions are not undone."
        )
    eager = [call for call in manifest.calls if not call.jit and call.error is None]
    for model, calls in calls_by_model(eager).items():
        has_step = any(call.program is not None for call in calls)
        captured = "only one step was captured" if has_step else "no program was captured"
        seconds = sum(call.native.wall or 0.0 for call in calls)
        yield Finding(
            slug="jit-disabled",
            sentence=(
                f"{count_phrase(len(calls), 'call', 'calls')} of {model} ran without jit, one "
                f"operation at a time from Python ({seconds:.2f} s): {captured}."
            ),
            remedy=remedy,
            model=model,
            count=len(calls),
            seconds=seconds,
            programs=programs_of_calls(calls),
        )
