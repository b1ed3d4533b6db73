"""Finds the results of the first step of a run, for a program of one step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_runner, jax_tracing
from brainpy_probe.compat.types import NamedArrays, Pytree
from brainpy_probe.format.manifest.program_records import Role
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import named_leaves, named_results
from brainpy_probe.recording.program.closed import ClosedProgram
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace

__all__ = ["first_step_results", "missing_results"]

_Results = dict[tuple[Role, str], Any]


def first_step_results(
    call: RunningCall, run: LoopRun | StepTrace, closed: ClosedProgram, *, is_brainpy_result: bool
) -> _Results:
    """Return the results of a run's first step, by role and name, as far as the run keeps them.

    The results of a jitted step are recorded after it has run: all of them up to BrainPy 2.6, the
    states from 2.7 on. The other results are the first entries of the arrays that the runner
    stacked. A step that ran operation by operation leaves only states that a monitor records.

    Parameters
    ----------
    call : RunningCall
        The call, which has ended.
    run : LoopRun or StepTrace
        The step.
    closed : ClosedProgram
        Its program.
    is_brainpy_result : bool
        Whether the runner returned the result of BrainPy's own ``_predict``.
    """
    results: _Results = {}
    if run.native is not None:
        results |= {key: run.native.results[n] for key, n in closed.places.items()}
        after: list[Pytree] | None = run.native.after
    else:
        after = call.first_states.get(id(run)) or _states_after_only_step(call, closed)
    if after is not None:
        final = [
            use.value if value is None else value
            for use, value in zip(closed.step.states, closed.step.in_order(after), strict=True)
        ]
        leaves = closed.step.state_leaves(final)
        results |= {("state", name): leaf for name, leaf in leaves.items()}
    if call.brainpy_predicts and not brainpy_runner.overrides_results(call.runner):
        missing = {(item.role, item.name) for item in closed.results} - results.keys()
        stacked = {} if call.brainpy_result is None else named_results(call.brainpy_result)
        monitors = stacked.get("monitors", {})
        if call.monitors and is_brainpy_result:
            monitors = monitors or named_leaves(("", dict(call.monitors)))
        results |= _first_entries(call, "output", stacked.get("outputs", {}), missing)
        results |= _first_entries(call, "monitor", monitors, missing)
    for key, state in closed.records.items():
        if state and key in results:
            results.setdefault(("state", state), results[key])
    return results


def _states_after_only_step(call: RunningCall, closed: ClosedProgram) -> list[Pytree] | None:
    """Return the states after a run of one step, in the order of the trace."""
    snapshot = call.snapshot
    if len(call.indices) != 1 or snapshot is None or not snapshot.ended or call.overlaps:
        return None
    variables = [use.variable for use in closed.step.trace.states]
    if not all(map(snapshot.includes, variables)):
        return None
    return [snapshot.after(variable) for variable in variables]


def _first_entries(
    call: RunningCall, role: Role, stacked: NamedArrays, names: set[tuple[Role, str]]
) -> _Results:
    """Return the first entries of stacked arrays with the given names."""
    entries: _Results = {}
    for name, array in stacked.items():
        if (role, name) in names and isinstance(array, jax.Array | np.ndarray):
            if jax_tracing.is_key(array):
                continue
            # With NumPy, since indexing would have JAX compile a module in the user's process.
            axis = 1 if call.swaps_axes and array.ndim >= 2 else 0
            entries[role, name] = np.asarray(array).take(0, axis=axis)
    return entries


def missing_results(closed: ClosedProgram, results: _Results) -> tuple[str, ...]:
    """Return a note on the results of a program of one step that its run did not keep."""
    names = [
        f"{item.role} {item.name}"
        for item in closed.results
        if (item.role, item.name) not in results
    ]
    if not names:
        return ()
    return (
        f"The run did not keep the results of its first step for {', '.join(names)}, so a replay "
        "has nothing to compare with. A monitor of a state would keep it.",
    )
