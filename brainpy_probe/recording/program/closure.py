"""Makes a closed program of what a predict call ran; knows no dialect and no file.

``program(constants, state, inputs) -> {outputs, monitors, state}``: every Variable that the run
reads or writes is an argument and a result, every array that it closes over is an argument. The
program is built of the jaxpr that BrainPy's own run traced, so that no line of the model runs
again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model, brainpy_transforms
from brainpy_probe.format.program_records import ProgramKind, Role
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import (
    named_inputs,
    named_leaves,
    named_results,
    shape_and_dtype,
    signature,
    unique_name,
)
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.program.callbacks import (
    drop_progress_bar,
    drop_taps,
    take_offloaded_monitors,
)
from brainpy_probe.recording.program.recorded import of_loop, of_step
from brainpy_probe.recording.program.step import Known, TracedStep, form_of, refuse_tracers
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace
from brainpy_probe.recording.types import NamedArrays

__all__ = ["ClosedProgram", "Named", "close"]

_ROLES: dict[str, Role] = {"monitors": "monitor", "outputs": "output"}

Function = Callable[[NamedArrays, NamedArrays, NamedArrays], dict[str, NamedArrays]]


@dataclass(frozen=True)
class Named:
    """An argument or a result: its role, its name, its value, or its form if that is all known."""

    role: Role
    name: str
    value: Any


@dataclass(frozen=True)
class ClosedProgram:
    """A closed program, ready to be lowered.

    Attributes
    ----------
    function : callable
        ``function(constants, state, inputs)``, each a dict of arrays by name; returns a dict with
        ``outputs``, ``monitors`` and ``state``.
    arguments, results : list of Named
        In the order in which JAX flattens them. The results are forms, of class
        ``jax.ShapeDtypeStruct``: what the run gave is attached when it has ended.
    step : TracedStep
        What the program consists of.
    places : dict
        Where each output and monitor stands among the leaves that the native loop or function
        gave, by role and name; none for what a step hands to the host.
    swapped : frozenset
        The outputs and monitors whose first two axes the runner swaps after its loop.
    records : dict
        Of a loop, the results with an entry for each step, by role and name: the name of the state
        whose values these are, or an empty one. Of a step, the results that are a state's value.
    native : Compilation or None
        The module in which JAX compiled the same for BrainPy in this call, if that is known.
    native_arguments : tuple of str
        The names of that module's arguments, in its order.
    compiled_in : bool
        Whether that module has the model's arrays as constants.
    components : dict
        The class of each component by its name; the model first.
    links : dict
        The names of the components that each projection connects.
    removed : tuple of str
        What the run had and the program has not, because it calls Python.
    reasons : tuple of str
        Why else XLA may compile the program to code that rounds differently from the run's.
    """

    name: str
    kind: ProgramKind
    fingerprint: str
    function: Function
    arguments: list[Named]
    results: list[Named]
    step: TracedStep
    places: dict[tuple[Role, str], int]
    swapped: frozenset[tuple[Role, str]]
    records: dict[tuple[Role, str], str]
    notes: tuple[str, ...] = ()
    native: Compilation | None = None
    native_arguments: tuple[str, ...] = ()
    compiled_in: bool = False
    components: dict[str, str] = field(default_factory=dict)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def grouped(self) -> tuple[NamedArrays, NamedArrays, NamedArrays]:
        """Return the values of the arguments as ``function`` takes them."""
        groups: dict[str, NamedArrays] = {"constant": {}, "state": {}, "input": {}}
        for argument in self.arguments:
            groups[argument.role][argument.name] = argument.value
        return groups["constant"], groups["state"], groups["input"]


def close(call: RunningCall, run: LoopRun | StepTrace, known: Known) -> ClosedProgram:
    """Make the closed program of a call.

    It needs nothing that only the end of the call gives.

    Parameters
    ----------
    call : RunningCall
        The call.
    run : LoopRun or StepTrace
        What it runs.
    known : Known
        What the capture knows from calls before.

    Raises
    ------
    CannotCapture
        If the run is part of another function's trace.
    """
    if isinstance(run, LoopRun):
        return _close_loop(call, run, known)
    return _close_step(call, run, known)


def _close_loop(call: RunningCall, loop: LoopRun, known: Known) -> ClosedProgram:
    refuse_tracers(loop.carry, loop.xs)
    step = TracedStep(call, loop.step, known)
    if brainpy_transforms.orders_by_address() and len(loop.step.states) > 1:
        step.reasons.append("BrainPy 2.4 to 2.6 orders a loop's Variables by their addresses")
    counted = _leave_host_out(step, loop.carry)
    carry = loop.carry[1] if counted else loop.carry
    carried = named_leaves(("carry", carry))
    scanned = named_inputs(loop.xs, call.user_inputs, ("times", "indices"))
    xs_tree = jax.tree_util.tree_structure(loop.xs)
    carry_tree = jax.tree_util.tree_structure(carry)
    written = step.written
    last, ys = _made(step)
    made = {
        role: {name: leaf.of_steps(loop.length) for name, leaf in leaves.items()}
        for role, leaves in named_results(ys).items()
    }
    swapped = _swapped(call, made)
    made["outputs"] |= named_leaves(("carry", last[1] if counted else last))

    def program(
        constants: NamedArrays, state: NamedArrays, inputs: NamedArrays
    ) -> dict[str, NamedArrays]:
        before = step.state_values(state)

        # The loop carries the states in the order of the native one, on which XLA's fusions and so
        # the results' bits depend.
        def body(looped: Any, x: Any) -> tuple[Any, Any]:
            changing, user = step.in_order(looped[0]), looped[1]
            states = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
            counter = [np.int32(0)] if counted else []
            leaves = jax.tree_util.tree_leaves((user, x))
            (user, y), new, _ = step.run(constants, [*counter, *leaves], states)
            user = user[1] if counted else user
            changing = [n if w else None for n, w in zip(new, written, strict=True)]
            return (step.as_traced(changing), user), y

        changing = [b if w else None for b, w in zip(before, written, strict=True)]
        user = jax.tree_util.tree_unflatten(carry_tree, [inputs[name] for name in carried])
        xs = jax.tree_util.tree_unflatten(xs_tree, [inputs[name] for name in scanned])
        first = step.as_traced(changing), user
        (changing, user), ys = jax.lax.scan(body, first, xs, **loop.options)
        changing = step.in_order(changing)
        after = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
        results = named_results(ys)
        _swap_axes(results, swapped)
        results["outputs"] |= named_leaves(("carry", user))
        return {**results, "state": step.state_leaves(after)}

    given = scanned | carried
    recorded = of_loop(step, loop)
    closed = _closed(step, "loop", program, given, made, swapped, recorded, loop.options)
    closes_over = [n for n in range(len(loop.step.states)) if n not in loop.carried]
    counter = ["progress bar"] if counted else []
    # The order among what the loop's body closes over is JAX's own.
    closed_over = ["constant"] * (len(loop.step.constants) + len(step.names_of(closes_over)))
    native = [*closed_over, *step.names_of(loop.carried), *counter, *carried, *scanned]
    return replace(closed, native_arguments=tuple(native))


def _close_step(call: RunningCall, trace: StepTrace, known: Known) -> ClosedProgram:
    step = TracedStep(call, trace, known)
    if trace is call.step:
        step.reasons.append("the run computed each operation by itself (jit=False)")
    if not trace.includes_loop:
        step.notes.append(
            "The runner's loop over time is Python's (jit=False or memory_efficient=True), "
            "or it has none: the program is one step."
        )
    offloaded = take_offloaded_monitors(step)
    _leave_host_out(step)
    leading = ("times", "indices") if trace.includes_loop else ("t", "i")
    given = named_inputs(trace.args, call.user_inputs, leading)
    taken = set(given)
    given |= {unique_name(k, taken): v for k, v in named_leaves(*trace.kwargs.items()).items()}
    given = {k: v if hasattr(v, "dtype") else np.asarray(v) for k, v in given.items()}
    made = named_results(_made(step))
    # A step that is the whole run as well: BPFF has no loop over time.
    swapped = _swapped(call, made) if trace.includes_loop or call.indices is None else frozenset()
    made["monitors"] |= {name: _Leaf(None, form_of(atom)) for name, atom in offloaded.items()}

    def program(
        constants: NamedArrays, state: NamedArrays, inputs: NamedArrays
    ) -> dict[str, NamedArrays]:
        result, new, monitors = step.run(
            constants,
            [inputs[name] for name in given],
            step.state_values(state),
            lambda value: {name: value(atom) for name, atom in offloaded.items()},
        )
        results = named_results(result)
        _swap_axes(results, swapped)
        results["monitors"] |= monitors
        return {**results, "state": step.state_leaves(new)}

    kind: ProgramKind = "loop" if trace.includes_loop else "step"
    recorded = of_step(step, enumerate(trace.result), includes_loop=trace.includes_loop)
    closed = _closed(step, kind, program, given, made, swapped, recorded)
    handed = of_step(step, offloaded.items(), includes_loop=False)
    records = closed.records | {("monitor", name): state for name, state in handed.items()}
    native = (*step.names_of(range(len(trace.states))), *given)
    # A whole run is a step of BrainPy 2.3 alone, which gives its jit the Variables; JAX 0.4 makes
    # constants of what else a jit takes from around it.
    return replace(
        closed, native_arguments=native, compiled_in=trace.includes_loop, records=records
    )


def _leave_host_out(step: TracedStep, carry: Any = None) -> bool:
    """Take the callbacks out that are no part of the model; say whether a counter went along."""
    if not step.callers:
        return False
    counted = brainpy_model.on_brainstate() and drop_progress_bar(step, carry)
    drop_taps(step)
    return counted


@dataclass(frozen=True)
class _Leaf:
    """A leaf of what a function returns: its place among these, and its form."""

    place: int | None
    form: jax.ShapeDtypeStruct

    def of_steps(self, length: int) -> _Leaf:
        """Return the same leaf of all steps of a loop."""
        shape = (length, *self.form.shape)
        return _Leaf(self.place, shape_and_dtype(shape, self.form.dtype))

    def swapped(self) -> _Leaf:
        """Return the leaf with its first two axes swapped."""
        first, second, *rest = self.form.shape
        return _Leaf(self.place, shape_and_dtype((second, first, *rest), self.form.dtype))


def _made(step: TracedStep) -> Any:
    """Return what a traced function returns, each leaf with its place and form."""
    leaves = [_Leaf(place, form_of(atom)) for place, atom in enumerate(step.trace.result)]
    return step.trace.result_tree.unflatten(leaves)


def _swapped(call: RunningCall, made: dict[str, NamedArrays]) -> frozenset[tuple[str, str]]:
    """Return which results have their first two axes swapped by BrainPy's own ``_predict``."""
    if not call.swaps_axes:
        return frozenset()
    found: list[tuple[str, str]] = []
    for role, leaves in made.items():
        for name, leaf in leaves.items():
            if len(leaf.form.shape) >= 2:
                leaves[name] = leaf.swapped()
                found.append((role, name))
    return frozenset(found)


def _swap_axes(results: dict[str, NamedArrays], swapped: Collection[tuple[str, str]]) -> None:
    for role, name in swapped:
        results[role][name] = jax.numpy.moveaxis(results[role][name], 0, 1)


def _closed(
    step: TracedStep,
    kind: ProgramKind,
    program: Function,
    inputs: NamedArrays,
    made: dict[str, NamedArrays],
    swapped: frozenset[tuple[str, str]],
    recorded: dict[int, str],
    *extra: object,
) -> ClosedProgram:
    def named(role: Role, leaves: NamedArrays) -> list[Named]:
        return [Named(role, name, leaves[name]) for name in sorted(leaves)]

    def results(role: Role, leaves: NamedArrays) -> list[Named]:
        return [Named(role, name, leaves[name].form) for name in sorted(leaves)]

    name = type(step.call.runner.target).__name__
    program.__name__ = program.__qualname__ = name
    forms = [(one, signature(value)) for one, value in inputs.items()]
    names = {role: list(leaves) for role, leaves in made.items()}
    state = step.state_forms()
    places = {
        (role, name): leaf.place
        for group, role in _ROLES.items()
        for name, leaf in made[group].items()
        if leaf.place is not None
    }
    return ClosedProgram(
        name,
        kind,
        step.fingerprint(kind, forms, names, list(state), sorted(swapped), *extra),
        program,
        [
            *named("constant", step.constants),
            *named("state", step.state),
            *named("input", inputs),
        ],
        [
            *results("monitor", made["monitors"]),
            *results("output", made["outputs"]),
            *named("state", state),
        ],
        step,
        places,
        frozenset((_ROLES[group], name) for group, name in swapped),
        {key: recorded[place] for key, place in places.items() if place in recorded},
        tuple(step.notes),
        native=step.trace.compilation,
        components=step.components,
        links=step.links,
        removed=tuple(step.removed),
        reasons=tuple(step.reasons),
    )
