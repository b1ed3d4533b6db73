"""Checks that a program fits the results of its run, before the results are attached to it.

The program comes from the run's trace. The results are known independently: the return value of
BrainPy's own ``_predict``, the runner's monitors, and the values of the model's Variables before
and after. Arrays are compared by identity, shape and dtype, so that nothing is copied. Bits are
compared only where digests are computed anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_runner, jax_tracing
from brainpy_probe.compat.types import Array, NamedArrays
from brainpy_probe.errors import ProgramMismatch
from brainpy_probe.format.manifest.program_records import ProgramRecord, Role
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import named_leaves, named_results
from brainpy_probe.recording.program.closed import ClosedProgram
from brainpy_probe.recording.program.first_step import first_step_results, missing_results
from brainpy_probe.recording.program.step import refuse_tracers
from brainpy_probe.recording.snapshot import have_same_leaves
from brainpy_probe.recording.tracing.traces import LoopRun, StateUse, StepTrace

__all__ = ["KnownResults", "require_same_signature", "with_results"]

_ResultTypes = Mapping[tuple[Role, str], Any]

# Arrays of at most this many bytes are compared by content where identity does not decide.
_MAX_COMPARED_BYTES = 65536

_GROUPS: tuple[tuple[Role, str], ...] = (("monitor", "monitors"), ("output", "outputs"))


def with_results(
    call: RunningCall, run: LoopRun | StepTrace, closed: ClosedProgram
) -> tuple[ClosedProgram, tuple[str, ...]]:
    """Return a program with the results of its run, and notes on the call.

    Parameters
    ----------
    call : RunningCall
        The call, which has ended.
    run : LoopRun or StepTrace
        The trace of its loop or step.
    closed : ClosedProgram
        The program that was made of the trace.

    Raises
    ------
    ProgramMismatch
        If the results of the call do not fit the program.
    InsideTransformation
        If the results are tracers of another function's trace.
    """
    if run.native is not None:
        refuse_tracers(run.native.results, run.native.after)
    check = _Check(call, run, closed)
    differences = [*check.steps(), *check.variables(), *check.results()]
    if differences:
        raise ProgramMismatch(differences)
    notes = closed.notes
    if not check.whole:
        first = first_step_results(
            call, run, closed, is_brainpy_result=check.returns_brainpy_result()
        )
        check.values |= first
        notes += missing_results(closed, first)
    results = [
        replace(item, value=check.values.get((item.role, item.name), item.value))
        for item in closed.results
    ]
    return replace(closed, results=results, notes=notes), check.notes()


class _Check:
    """Compares one call with its program. Each method yields differences."""

    def __init__(self, call: RunningCall, run: LoopRun | StepTrace, closed: ClosedProgram) -> None:
        self.call, self.run, self.closed = call, run, closed
        self.trace = run.step if isinstance(run, LoopRun) else run
        # Whether the program is the whole run, not one of its steps.
        self.whole = closed.kind != "step" or (call.indices is None and not call.repeats)
        self.native = run.native if self.whole else None
        self.values: dict[tuple[Role, str], Any] = {}
        self._changed: set[str] = set()

    def steps(self) -> Iterator[str]:
        """Compare the number of steps and their inputs."""
        call, run = self.call, self.run
        if self.closed.kind == "loop" and call.repeats and not call.brainpy_predicts:
            yield f"the call ran the program {call.repeats + 1} times"
        if call.indices is None:
            return
        steps = len(call.indices)
        if call.recorded_times is not None and call.recorded_times != steps:
            yield f"the runner has {call.recorded_times} times, but ran {steps} steps"
        if not self.whole:
            return
        leaves = jax.tree_util.tree_leaves(run.xs if isinstance(run, LoopRun) else run.args)
        length = run.length if isinstance(run, LoopRun) else len(leaves[0])
        if length != steps:
            yield f"the program runs {length} steps, the call ran {steps}"
        if not call.brainpy_predicts:
            return
        # The indices come before the user's inputs, and up to BrainPy 2.3 the times.
        inputs = jax.tree_util.tree_leaves(call.xs)
        leading = leaves[: len(leaves) - len(inputs)]
        if not any(leaf is call.indices for leaf in leading):
            yield "the program does not take the indices of the call"
        for number, (leaf, array) in enumerate(zip(leaves[len(leading) :], inputs, strict=False)):
            if leaf is not array:
                yield f"input {number} of the program is not the user's array"

    def variables(self) -> Iterator[str]:
        """Compare the Variables that the run changed with the Variables that the program writes."""
        snapshot, step = self.call.snapshot, self.closed.step
        after = (
            [None] * len(step.states) if self.native is None else step.in_order(self.native.after)
        )
        if self.native is not None:
            uses = zip(step.states, after, strict=True)
            final = [use.value if value is None else value for use, value in uses]
            for leaf, content in step.state_leaves(final).items():
                self.values["state", leaf] = content
        # Another run at the same time may change the same Variables, at least the random state.
        if snapshot is None or self.call.overlaps:
            return
        changed = {id(variable) for variable in snapshot.changed()}
        for key in changed - {id(use.variable) for use in step.states}:
            yield f"the run changed {snapshot.names[key]}, which is not part of the program"
        for name, use, value in zip(step.names, step.states, after, strict=True):
            if not snapshot.includes(use.variable):
                continue  # created during the run
            if not have_same_leaves(snapshot.before(use.variable), use.value):
                yield f"{name} had another value before the run"
            elif snapshot.ended:
                final = snapshot.after(use.variable)
                yield from self._after(name, use, value, final, id(use.variable) in changed)

    def _after(
        self, name: str, use: StateUse, value: Any, final: Any, changed: bool
    ) -> Iterator[str]:
        """Compare the value of one Variable after the run."""
        writes = use.writes is not None or use.splits
        if self.native is not None:
            if not have_same_leaves(final, use.value if value is None else value):
                yield f"{name} has another value after the run"
        elif changed and not writes and not _equal_if_small(final, use.value):
            yield f"the run changed {name}, which the program does not write"
        # A run with a Python loop over the steps may leave a Variable unchanged.
        if writes and not changed and self.call.jit and not self._writes_input(use):
            yield f"the program writes {name}, which the run did not change"

    def _writes_input(self, use: StateUse) -> bool:
        """Return whether a Variable is set to an input of the program, which may be unchanged."""
        entering = {id(var) for state in self.trace.states for var in state.reads}
        entering |= {id(var) for var in self.trace.invars}
        entering |= {id(var) for var, _ in self.trace.constants}
        return any(id(var) in entering for var in use.writes or ())

    def results(self) -> Iterator[str]:
        """Compare the names, shapes and dtypes of outputs and monitors."""
        call, closed, native = self.call, self.closed, self.native
        types: _ResultTypes = {
            (item.role, item.name): item.value for item in closed.results if item.role != "state"
        }
        if native is not None:
            if len(native.results) != len(self.trace.result):
                yield f"the run gave {len(native.results)} results, not {len(self.trace.result)}"
                return
            for key, place in closed.places.items():
                self.values[key] = native.results[place]
        if call.brainpy_predicts and call.brainpy_result is not None:
            yield from self._compare_results(types, named_results(call.brainpy_result))
        if call.monitors is not None and not self._changed and self.returns_brainpy_result():
            monitors = {name: value for (role, name), value in types.items() if role == "monitor"}
            yield from self._monitors(monitors, call.monitors)

    def _compare_results(self, types: _ResultTypes, held: dict[str, NamedArrays]) -> Iterator[str]:
        """Compare the program's results with the return value of BrainPy's own ``_predict``."""
        overrides = brainpy_runner.overrides_results(self.call.runner)
        for role, group in _GROUPS:
            names = {name for kind, name in types if kind == role}
            if not self.whole and not held[group]:
                # The monitors were passed to Python, or the run loses its outputs
                # (memory_efficient, up to BrainPy 2.6).
                continue
            for name in sorted(names ^ held[group].keys()):
                where = "the program lacks" if name in held[group] else "the run did not return"
                yield f"{where} {role} {name}"
            for name in sorted(names & held[group].keys()):
                value = held[group][name]
                yield from self._compare_type(role, name, value, types[role, name])
                if self.whole and not self._is_native(role, name, value):
                    if overrides:
                        self._changed.add(name)
                    else:
                        yield f"{role} {name} is not the result of the program's run"

    def _is_native(self, role: Role, name: str, value: Array) -> bool:
        """Return whether a result is the native loop's result, possibly with swapped axes."""
        native = self.values.get((role, name))
        if (role, name) not in self.closed.swapped:
            return value is native
        if not self.call.is_swapped(native, value):
            return False
        self.values[role, name] = value
        return True

    def _compare_type(self, role: Role, name: str, value: Array, wanted: Any) -> Iterator[str]:
        """Compare the shape and dtype of a result; a program of one step has them per step."""
        shape = tuple(wanted.shape)
        if not self.whole:
            shape = (len(self.call.indices), *shape)
            if self.call.swaps_axes and len(shape) >= 2:
                shape = (shape[1], shape[0], *shape[2:])
        found = np.shape(value), str(getattr(value, "dtype", type(value).__name__))
        if found != (shape, str(wanted.dtype)):
            yield (
                f"{role} {name} is {found[1]}{list(found[0])}, "
                f"in the program {wanted.dtype}{list(shape)}"
            )

    def returns_brainpy_result(self) -> bool:
        """Return whether the runner returned the result of BrainPy's own ``_predict``."""
        leaves = jax.tree_util.tree_leaves
        returned, result = leaves(self.call.runner_result), leaves(self.call.brainpy_result)
        return have_same_leaves(tuple(returned), tuple(result))

    def _monitors(self, types: NamedArrays, held: Mapping[str, Any]) -> Iterator[str]:
        """Compare the program's monitors with those of the runner."""
        leaves = named_leaves(("", dict(held))) if held else {}
        if any(name.startswith("monitor.") for name in types):
            return  # a step passed them to Python without names
        for name in sorted(types.keys() ^ leaves.keys()):
            yield f"the {'program' if name in leaves else 'runner'} lacks monitor {name}"
        for name in sorted(types.keys() & leaves.keys()):
            yield from self._compare_type("monitor", name, leaves[name], types[name])

    def notes(self) -> tuple[str, ...]:
        """Return a note on the results that the runner changes after its loop."""
        changed = set(self._changed)
        if self.call.runner_result is not None and self.native is not None:
            returned = named_results(self.call.runner_result)
            for role, group in _GROUPS:
                values = {name: v for (kind, name), v in self.values.items() if kind == role}
                changed |= {n for n, value in values.items() if returned[group].get(n) is not value}
        if not changed:
            return ()
        names = ", ".join(sorted(changed))
        return (f"After the loop the runner changes {names}; the program does not.",)


def _equal_if_small(first: Array, second: Array) -> bool:
    """Return whether arrays are equal, or too large for a comparison.

    Up to BrainPy 2.6, a compiled step assigns new arrays to all its Variables, even unchanged ones.
    """
    if brainpy_model.on_brainstate():
        return False
    if not isinstance(first, jax.Array) or jax_tracing.is_key(first):
        return True
    if first.nbytes > _MAX_COMPARED_BYTES:
        return True
    a, b = np.asarray(first), np.asarray(second)
    return bool(np.array_equal(a, b, equal_nan=first.dtype.kind == "f"))


def require_same_signature(closed: ClosedProgram, record: ProgramRecord) -> None:
    """Check that a program has the names and shapes of its earlier record.

    Raises
    ------
    ProgramMismatch
        If they differ.
    """
    for group, values, specs in (
        ("arguments", closed.arguments, record.arguments),
        ("results", closed.results, record.results),
    ):
        ours = [(item.role, item.name, np.shape(item.value)) for item in values]
        recorded = [(spec.role, spec.name) for spec in specs if spec.role != "token"]
        shapes = [spec.shape for spec in specs if spec.role != "token"]
        if [item[:2] for item in ours] != recorded:
            raise ProgramMismatch([f"program {record.index} has different {group}"])
        for (role, name, shape), known, spec in zip(ours, shapes, specs, strict=False):
            if shape != known and not spec.key:
                raise ProgramMismatch(
                    [f"{role} {name} is {list(shape)}, in program {record.index} {list(known)}"]
                )


@dataclass
class KnownResults:
    """The digests of each program's results, by the digests of its arguments.

    Programs that JAX compiled to the same module give the same bits for the same arguments on one
    machine, unless they call Python or a multithreaded kernel.
    """

    _known: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def require_same(
        self, record: ProgramRecord, closed: ClosedProgram, digests: Mapping[str, str]
    ) -> None:
        """Check that a call gave the same results as an earlier call with the same arguments.

        Raises
        ------
        ProgramMismatch
            If the same program gave different results for the same arguments.
        """
        fidelity = record.fidelity
        if closed.native is None or fidelity.custom_calls or fidelity.host_callbacks:
            return
        arguments = "".join(f"{k}{v}" for k, v in digests.items() if k.startswith("in/"))
        results = "".join(f"{k}{v}" for k, v in digests.items() if k.startswith("out/"))
        if not results:
            return
        key = record.fingerprint, closed.native.digest, arguments
        if self._known.setdefault(key, results) != results:
            raise ProgramMismatch(
                [f"program {record.index} gave different results for the same arguments"]
            )
