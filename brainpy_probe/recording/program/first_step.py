"""Finds what the first step of a run gave, for a program of one step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_runner, jax_tracing
from brainpy_probe.format.program_records import Role
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import named_leaves, named_results
from brainpy_probe.recording.program.closure import ClosedProgram
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace
from brainpy_probe.recording.types import NamedArrays

__all__ = ["first_step", "not_kept"]

Results = dict[tuple[Role, str], Any]


def first_step(
    call: RunningCall, run: LoopRun | StepTrace, closed: ClosedProgram, *, is_own: bool
) -> Results:
    """Return what the first step of a run gave, by role and name, as far as the run keeps it.

    A jitted step gives arrays, which are seen when it has run: all of them up to BrainPy 2.6, the
    states from 2.7 on. The other results are the first entries of what the runner stacked. A step
    that ran operation by operation leaves no states but those that a monitor records.

    Parameters
    ----------
    call : RunningCall
        The call, which has ended.
    run : LoopRun or StepTrace
        The step.
    closed : ClosedProgram
        Its program.
    is_own : bool
        Whether the runner returned what BrainPy's own ``_predict`` returned.
    """
    found: Results = {}
    if run.native is not None:
        found |= {key: run.native.results[n] for key, n in closed.places.items()}
        after: list[Any] | None = run.native.after
    else:
        after = call.first_states.get(id(run)) or _only_states(call, closed)
    if after is not None:
        final = [
            use.value if value is None else value
            for use, value in zip(closed.step.states, closed.step.in_order(after), strict=True)
        ]
        leaves = closed.step.state_leaves(final)
        found |= {("state", name): leaf for name, leaf in leaves.items()}
    if call.own_predicts and not brainpy_runner.overrides_results(call.runner):
        wanted = {(one.role, one.name) for one in closed.results} - found.keys()
        stacked = {} if call.given is None else named_results(call.given)
        monitors = stacked.get("monitors", {})
        if call.monitors and is_own:
            monitors = monitors or named_leaves(("", dict(call.monitors)))
        found |= _first_entries(call, "output", stacked.get("outputs", {}), wanted)
        found |= _first_entries(call, "monitor", monitors, wanted)
    for key, state in closed.records.items():
        if state and key in found:
            found.setdefault(("state", state), found[key])
    return found


def _only_states(call: RunningCall, closed: ClosedProgram) -> list[Any] | None:
    """Return the states after a run of one step, in the order of the trace."""
    snapshot = call.snapshot
    if len(call.indices) != 1 or snapshot is None or not snapshot.ended or call.overlaps:
        return None
    variables = [use.variable for use in closed.step.trace.states]
    if not all(map(snapshot.holds, variables)):
        return None
    return [snapshot.after(variable) for variable in variables]


def _first_entries(
    call: RunningCall, role: Role, stacked: NamedArrays, wanted: set[tuple[Role, str]]
) -> Results:
    found: Results = {}
    for name, array in stacked.items():
        if (role, name) in wanted and isinstance(array, jax.Array | np.ndarray):
            if jax_tracing.is_key(array):
                continue
            # By NumPy: indexing would have JAX compile a module in the user's process.
            axis = 1 if call.swaps_axes and array.ndim >= 2 else 0
            found[role, name] = np.asarray(array).take(0, axis=axis)
    return found


def not_kept(closed: ClosedProgram, found: Results) -> tuple[str, ...]:
    """Return a note on the results of a program of one step that its run did not keep."""
    names = [
        f"{one.role} {one.name}" for one in closed.results if (one.role, one.name) not in found
    ]
    if not names:
        return ()
    return (
        f"The run did not keep what its first step gave for {', '.join(names)}: a replay has "
        "nothing to compare it with. A monitor of a state keeps it.",
    )
