"""Makes a closed program of a call's trace.

The program is ``program(constants, state, inputs) -> {outputs, monitors, state}``. Every Variable
that the run reads or writes is an argument and a result, and every array that the run closes over
is an argument. The program evaluates the jaxpr of BrainPy's own trace, so that the model's Python
code does not run again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainpy_probe.compat.types import NamedArrays
from brainpy_probe.format.manifest.program_records import ProgramKind
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import (
    named_leaves,
    named_results,
    unique_name,
    units,
)
from brainpy_probe.recording.program.closed import (
    ClosedProgram,
    Leaf,
    closed_program,
    inputs_of,
    result_leaves,
    swap_axes,
    swap_types,
)
from brainpy_probe.recording.program.equations.callbacks import (
    drop_callbacks,
    take_offloaded_monitors,
)
from brainpy_probe.recording.program.loops import close_loop
from brainpy_probe.recording.program.recorded_states import recorded_by_step
from brainpy_probe.recording.program.step import FingerprintCache, TracedStep, aval_of
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace

__all__ = ["close"]


def close(call: RunningCall, run: LoopRun | StepTrace, cache: FingerprintCache) -> ClosedProgram:
    """Make the closed program of a call, which may still be running.

    Parameters
    ----------
    call : RunningCall
        The call.
    run : LoopRun or StepTrace
        The trace of its loop or step.
    cache : FingerprintCache
        The fingerprints of the capture's earlier programs.

    Raises
    ------
    InsideTransformation
        If the run is part of another function's trace.
    """
    if isinstance(run, LoopRun):
        return close_loop(call, run, cache)
    return _close_step(call, run, cache)


def _close_step(call: RunningCall, trace: StepTrace, cache: FingerprintCache) -> ClosedProgram:
    """Make the closed program of a step, or of a function without a loop over time."""
    step = TracedStep(call, trace, cache)
    if trace is call.step:
        step.reasons.append("the run computed each operation by itself (jit=False)")
    whole = trace.includes_loop or call.is_standalone
    monitored = not call.is_standalone
    if not whole:
        step.notes.append(
            "The runner loops over time in Python (jit=False or memory_efficient=True), "
            "or not at all: the program is one step."
        )
    offloaded = take_offloaded_monitors(step) if monitored else {}
    drop_callbacks(step)
    leading = ("times", "indices") if trace.includes_loop else ("t", "i")
    arguments, input_units = inputs_of(call, trace.args, leading)
    input_units |= units(*trace.kwargs.items())
    taken = set(arguments)
    arguments |= {unique_name(k, taken): v for k, v in named_leaves(*trace.kwargs.items()).items()}
    arguments = {k: v if hasattr(v, "dtype") else np.asarray(v) for k, v in arguments.items()}
    outputs = named_results(result_leaves(step), monitored=monitored)
    # A step without indices is also the whole run: BPFF has no loop over time.
    swapped = swap_types(call, outputs) if whole or call.indices is None else frozenset()
    outputs["monitors"] |= {name: Leaf(None, aval_of(atom)) for name, atom in offloaded.items()}

    def program(
        constants: NamedArrays, state: NamedArrays, inputs: NamedArrays
    ) -> dict[str, NamedArrays]:
        result, new, monitors = step.run(
            constants,
            [inputs[name] for name in arguments],
            step.state_values(state),
            lambda value: {name: value(atom) for name, atom in offloaded.items()},
        )
        results = named_results(result, monitored=monitored)
        swap_axes(results, swapped)
        results["monitors"] |= monitors
        return {**results, "state": step.state_leaves(new)}

    kind: ProgramKind = "loop" if trace.includes_loop else "function" if whole else "step"
    recorded = recorded_by_step(step, enumerate(trace.result), includes_loop=trace.includes_loop)
    closed = closed_program(step, kind, program, arguments, input_units, outputs, swapped, recorded)
    offloaded_states = recorded_by_step(step, offloaded.items(), includes_loop=False)
    records = closed.records | {
        ("monitor", name): state for name, state in offloaded_states.items()
    }
    native = (*step.names_of(range(len(trace.states))), *arguments)
    # A jit takes the Variables as arguments, and JAX makes constants of all other arrays (0.4.13 to
    # 0.12.0; of the runners, only those of 2.3 compile a whole run in this way). JAX's loops and
    # conditions take all arrays as operands.
    compiled_in = whole and call.bound is None
    return replace(closed, native_arguments=native, compiled_in=compiled_in, records=records)
