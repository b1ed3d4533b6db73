"""Whether what a call left behind is what its program gives: checked before the two are joined.

The program is made of what the run traced. What the user holds afterwards is known in other ways:
what BrainPy's own ``_predict`` returned, the runner's monitors, the values of the model's
Variables before and after. Arrays are compared by identity and by their forms, so that nothing is
copied; bits only where their digests are taken anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_runner, jax_tracing
from brainpy_probe.errors import ProgramMismatch
from brainpy_probe.format.program_records import ProgramRecord, Role
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import named_leaves, named_results
from brainpy_probe.recording.program.closure import ClosedProgram, Named
from brainpy_probe.recording.program.first_step import first_step, not_kept
from brainpy_probe.recording.program.step import refuse_tracers
from brainpy_probe.recording.snapshot import same_leaves
from brainpy_probe.recording.tracing.traces import LoopRun, StateUse, StepTrace
from brainpy_probe.recording.types import NamedArrays

__all__ = ["Outcomes", "agreed", "require_same_signature"]

Forms = Mapping[tuple[Role, str], Any]

# Bytes up to which arrays are compared by their content where identity does not tell.
_SMALL = 65536

_GROUPS: tuple[tuple[Role, str], ...] = (("monitor", "monitors"), ("output", "outputs"))


def agreed(
    call: RunningCall, run: LoopRun | StepTrace, closed: ClosedProgram
) -> tuple[ClosedProgram, tuple[str, ...]]:
    """Return a program with the values that its run gave, and notes on the call.

    Parameters
    ----------
    call : RunningCall
        The call, which has ended.
    run : LoopRun or StepTrace
        What it ran.
    closed : ClosedProgram
        The program that was made of that.

    Raises
    ------
    ProgramMismatch
        If what the call left behind is not what the program gives.
    CannotCapture
        If the results are those of another function's trace.
    """
    if run.native is not None:
        refuse_tracers(run.native.results, run.native.after)
    check = _Check(call, run, closed)
    differences = [*check.steps(), *check.variables(), *check.results()]
    if differences:
        raise ProgramMismatch(differences)
    notes = closed.notes
    if not check.whole:
        found = first_step(call, run, closed, is_own=check.returned_as_given())
        check.values |= found
        notes += not_kept(closed, found)
    results = [
        Named(one.role, one.name, check.values.get((one.role, one.name), one.value))
        for one in closed.results
    ]
    return replace(closed, results=results, notes=notes), check.notes()


class _Check:
    """The comparison of one call with its program; each part yields what differs."""

    def __init__(self, call: RunningCall, run: LoopRun | StepTrace, closed: ClosedProgram) -> None:
        self.call, self.run, self.closed = call, run, closed
        self.trace = run.step if isinstance(run, LoopRun) else run
        # Whether the program is all that the call ran, and not one of its steps.
        self.whole = closed.kind == "loop" or (call.indices is None and not call.repeats)
        self.native = run.native if self.whole else None
        self.values: dict[tuple[Role, str], Any] = {}
        self._changed: set[str] = set()

    def steps(self) -> Iterator[str]:
        """Compare the number of steps, and what they take."""
        call, run = self.call, self.run
        if self.closed.kind == "loop" and call.repeats and not call.own_predicts:
            yield f"the call ran the program {call.repeats + 1} times"
        if call.indices is None:
            return
        steps = len(call.indices)
        if call.clock is not None and call.clock != steps:
            yield f"the runner holds {call.clock} times, and ran {steps} steps"
        if not self.whole:
            return
        taken = jax.tree_util.tree_leaves(run.xs if isinstance(run, LoopRun) else run.args)
        length = run.length if isinstance(run, LoopRun) else len(taken[0])
        if length != steps:
            yield f"the program runs {length} steps, the call ran {steps}"
        if not call.own_predicts:
            return
        # Before the user's inputs come the indices, and up to BrainPy 2.3 the times.
        inputs = jax.tree_util.tree_leaves(call.xs)
        own = taken[: len(taken) - len(inputs)]
        if not any(leaf is call.indices for leaf in own):
            yield "the program does not take the indices of the call"
        for number, (one, other) in enumerate(zip(taken[len(own) :], inputs, strict=False)):
            if one is not other:
                yield f"input {number} of the program is not the one that was given"

    def variables(self) -> Iterator[str]:
        """Compare the Variables that the run changed with those that the program writes."""
        snapshot, step = self.call.snapshot, self.closed.step
        after = (
            [None] * len(step.states) if self.native is None else step.in_order(self.native.after)
        )
        if self.native is not None:
            uses = zip(step.states, after, strict=True)
            final = [use.value if value is None else value for use, value in uses]
            for leaf, content in step.state_leaves(final).items():
                self.values["state", leaf] = content
        # Another run at the same time may change the same Variables, the random state at least.
        if snapshot is None or self.call.overlaps:
            return
        changed = {id(variable) for variable in snapshot.changed()}
        for key in changed - {id(use.variable) for use in step.states}:
            yield f"the run changed {snapshot.names[key]}, which is no part of the program"
        for name, use, value in zip(step.names, step.states, after, strict=True):
            if not snapshot.holds(use.variable):
                continue  # made while the model ran
            if not same_leaves(snapshot.before(use.variable), use.value):
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
            if not same_leaves(final, use.value if value is None else value):
                yield f"{name} has another value after the run"
        elif changed and not writes and not _equal_if_small(final, use.value):
            yield f"the run changed {name}, which the program does not write"
        # What runs step by step in Python may leave a Variable as it is.
        if writes and not changed and self.call.jit and not self._hands_through(use):
            yield f"the program writes {name}, which the run did not change"

    def _hands_through(self, use: StateUse) -> bool:
        """Whether a Variable is given a value that entered the program, which JAX may hand on."""
        entering = {id(var) for state in self.trace.states for var in state.reads}
        entering |= {id(var) for var in self.trace.invars}
        entering |= {id(var) for var, _ in self.trace.constants}
        return any(id(var) in entering for var in use.writes or ())

    def results(self) -> Iterator[str]:
        """Compare the names and the forms of outputs and monitors."""
        call, closed, given = self.call, self.closed, self.native
        forms: Forms = {
            (one.role, one.name): one.value for one in closed.results if one.role != "state"
        }
        if given is not None:
            if len(given.results) != len(self.trace.result):
                yield f"the run gave {len(given.results)} results, not {len(self.trace.result)}"
                return
            for key, place in closed.places.items():
                self.values[key] = given.results[place]
        if call.own_predicts and call.given is not None:
            yield from self._held(forms, named_results(call.given))
        if call.monitors is not None and not self._changed and self.returned_as_given():
            monitors = {name: value for (role, name), value in forms.items() if role == "monitor"}
            yield from self._monitors(monitors, call.monitors)

    def _held(self, forms: Forms, held: dict[str, NamedArrays]) -> Iterator[str]:
        """Compare the program's results with what BrainPy's own ``_predict`` returned."""
        own = brainpy_runner.overrides_results(self.call.runner)
        for role, group in _GROUPS:
            there = {name for kind, name in forms if kind == role}
            if not self.whole and not held[group]:
                # The monitors went to the host, or it is one of the runs that lose their outputs
                # (memory_efficient, up to BrainPy 2.6).
                continue
            for name in sorted(there ^ held[group].keys()):
                where = "the program lacks" if name in held[group] else "the run did not return"
                yield f"{where} {role} {name}"
            for name in sorted(there & held[group].keys()):
                value = held[group][name]
                yield from self._fits(role, name, value, forms[role, name])
                if self.whole and not self._is_given(role, name, value):
                    if own:
                        self._changed.add(name)
                    else:
                        yield f"{role} {name} is not the one that the program's run gave"

    def _is_given(self, role: Role, name: str, value: Any) -> bool:
        """Whether a result is what the loop gave, or that with its axes swapped."""
        made = self.values.get((role, name))
        if (role, name) not in self.closed.swapped:
            return value is made
        if not self.call.is_swapped(made, value):
            return False
        self.values[role, name] = value
        return True

    def _fits(self, role: Role, name: str, value: Any, wanted: Any) -> Iterator[str]:
        """Compare the form of a result, which a program of one step gives for each step."""
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

    def returned_as_given(self) -> bool:
        """Whether the runner returned what BrainPy's own ``_predict`` did."""
        leaves = jax.tree_util.tree_leaves
        returned, given = leaves(self.call.returned), leaves(self.call.given)
        return same_leaves(tuple(returned), tuple(given))

    def _monitors(self, forms: NamedArrays, held: Mapping[str, Any]) -> Iterator[str]:
        """Compare the program's monitors with those that the runner holds."""
        leaves = named_leaves(("", dict(held))) if held else {}
        if any(name.startswith("monitor.") for name in forms):
            return  # a step handed them to the host without names
        for name in sorted(forms.keys() ^ leaves.keys()):
            yield f"the {'program' if name in leaves else 'runner'} lacks monitor {name}"
        for name in sorted(forms.keys() & leaves.keys()):
            yield from self._fits("monitor", name, leaves[name], forms[name])

    def notes(self) -> tuple[str, ...]:
        """Say what the runner changes after its loop, which the program does not."""
        changed = set(self._changed)
        if self.call.returned is not None and self.native is not None:
            returned = named_results(self.call.returned)
            for role, group in _GROUPS:
                made = {name: one for (kind, name), one in self.values.items() if kind == role}
                changed |= {n for n, value in made.items() if returned[group].get(n) is not value}
        if not changed:
            return ()
        names = ", ".join(sorted(changed))
        return (f"After the loop the runner changes {names}; the program does not.",)


def _equal_if_small(one: Any, other: Any) -> bool:
    """Whether arrays are equal, or larger than what is worth a comparison.

    Up to BrainPy 2.6 a compiled step gives all of its Variables new arrays, the unchanged too.
    """
    if brainpy_model.on_brainstate():
        return False
    if not isinstance(one, jax.Array) or jax_tracing.is_key(one) or one.nbytes > _SMALL:
        return True
    return bool(np.array_equal(np.asarray(one), np.asarray(other), equal_nan=one.dtype.kind == "f"))


def require_same_signature(closed: ClosedProgram, record: ProgramRecord) -> None:
    """Compare the names and the shapes of a program with those that were recorded of it.

    Raises
    ------
    ProgramMismatch
        If it is another program.
    """
    for told, here, there in (
        ("arguments", closed.arguments, record.arguments),
        ("results", closed.results, record.results),
    ):
        ours = [(one.role, one.name, np.shape(one.value)) for one in here]
        theirs = [(one.role, one.name) for one in there if one.role != "token"]
        shapes = [one.shape for one in there if one.role != "token"]
        if [one[:2] for one in ours] != theirs:
            raise ProgramMismatch([f"program {record.index} has other {told}"])
        for (role, name, shape), known, spec in zip(ours, shapes, there, strict=False):
            if shape != known and not spec.key:
                raise ProgramMismatch(
                    [f"{role} {name} is {list(shape)}, in program {record.index} {list(known)}"]
                )


@dataclass
class Outcomes:
    """What each program gave for what it was given, by digests.

    A program that JAX compiled to the same module gives the same bits for the same arguments, on
    one machine, unless it calls what the module does not hold: Python, or a kernel with threads.
    """

    _known: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def require_same(
        self, record: ProgramRecord, closed: ClosedProgram, digests: Mapping[str, str]
    ) -> None:
        """Compare a call's results with those of a call before, if it was given the same.

        Raises
        ------
        ProgramMismatch
            If the same program gave other results for the same arguments.
        """
        fidelity = record.fidelity
        if closed.native is None or fidelity.custom_calls or fidelity.host_callbacks:
            return
        taken = "".join(f"{k}{v}" for k, v in digests.items() if k.startswith("in/"))
        gave = "".join(f"{k}{v}" for k, v in digests.items() if k.startswith("out/"))
        if not gave:
            return
        known = self._known.setdefault((record.fingerprint, closed.native.digest, taken), gave)
        if known != gave:
            raise ProgramMismatch([f"program {record.index} gave other results for the same"])
