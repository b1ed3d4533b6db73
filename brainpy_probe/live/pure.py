"""Makes a closed program of what a predict call ran; knows no dialect and no file.

``program(constants, state, inputs) -> {outputs, monitors, state}``: every Variable that the run
reads or writes is an argument and a result, every array that it closes over is an argument. The
program is built of the jaxpr that BrainPy's own run traced, so that no line of the model runs
again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from brainpy_probe.errors import CannotCapture
from brainpy_probe.live import seams
from brainpy_probe.live.calls import LoopRun, RunningCall, StepTrace
from brainpy_probe.live.compilation import Compilation
from brainpy_probe.live.host import drop_progress_bar, drop_taps, take_offloaded_monitors
from brainpy_probe.live.leaves import Leaves, form, named_inputs, named_leaves, named_results
from brainpy_probe.live.traced import Known, TracedStep, inside_transformation, refuse_tracers
from brainpy_probe.records import ProgramKind, Role

__all__ = ["ClosedProgram", "Named", "close"]

Function = Callable[[Leaves, Leaves, Leaves], dict[str, Leaves]]


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
        In the order in which JAX flattens them. A result's value is a ``jax.ShapeDtypeStruct``
        where the run does not give it.
    native : Compilation or None
        The module in which JAX compiled the same for BrainPy in this call, if that is known.
    native_arguments : tuple of str
        The names of that module's arguments, in its order.
    compiled_in : bool
        Whether that module has the model's arrays as constants.
    components : dict
        The class of each component by its name; the model first.
    """

    name: str
    kind: ProgramKind
    fingerprint: str
    function: Function
    arguments: list[Named]
    results: list[Named]
    notes: tuple[str, ...] = ()
    native: Compilation | None = None
    native_arguments: tuple[str, ...] = ()
    compiled_in: bool = False
    components: dict[str, str] = field(default_factory=dict)

    def grouped(self) -> tuple[Leaves, Leaves, Leaves]:
        """Return the values of the arguments as ``function`` takes them."""
        groups: dict[str, Leaves] = {"constant": {}, "state": {}, "input": {}}
        for argument in self.arguments:
            groups[argument.role][argument.name] = argument.value
        return groups["constant"], groups["state"], groups["input"]


def close(call: RunningCall, known: Known) -> ClosedProgram:
    """Make the closed program of a call that has ended.

    Parameters
    ----------
    call : RunningCall
        The call.
    known : Known
        What the capture knows from calls before.

    Raises
    ------
    CannotCapture
        If the call ran no loop and no step that can be closed over.
    """
    if call.nested:
        raise inside_transformation()
    if call.problem is not None:
        raise call.problem
    run = call.run()
    if isinstance(run, LoopRun):
        return _close_loop(call, run, known)
    if run is not None:
        return _close_step(call, run, known)
    if call.step_failure is not None:
        raise CannotCapture(
            f"The step of this runner can't be traced: {call.step_failure}",
            "With jit=False a step may use Python that JAX can't trace; "
            "run with jit=True, or keep such Python out of update().",
        ) from call.step_failure
    raise CannotCapture(
        f"{type(call.runner).__qualname__} ran no loop and no step that BrainPy traced.",
        "The run may have had no steps, or a subclass runs the model in its own way.",
    )


def _close_loop(call: RunningCall, loop: LoopRun, known: Known) -> ClosedProgram:
    refuse_tracers(loop.carry, loop.xs, loop.ys, loop.last, loop.after)
    step = TracedStep(call, loop.step, known)
    counted = _leave_host_out(step, loop.carry)
    carry = loop.carry[1] if counted else loop.carry
    carried = named_leaves("carry", carry)
    scanned = named_inputs(loop.xs, call.user_inputs, ("times", "indices"))
    xs_tree = jax.tree_util.tree_structure(loop.xs)
    carry_tree = jax.tree_util.tree_structure(carry)
    written = step.written
    moved = _moved_axes(call, loop.ys, step.notes)

    def program(constants: Leaves, state: Leaves, inputs: Leaves) -> dict[str, Leaves]:
        before = step.state_values(state)

        def body(looped: Any, x: Any) -> tuple[Any, Any]:
            changing, user = looped
            states = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
            counter = [np.int32(0)] if counted else []
            leaves = jax.tree_util.tree_leaves((user, x))
            (user, y), new, _ = step.run(constants, [*counter, *leaves], states)
            user = user[1] if counted else user
            return ([n if w else None for n, w in zip(new, written, strict=True)], user), y

        changing = [b if w else None for b, w in zip(before, written, strict=True)]
        user = jax.tree_util.tree_unflatten(carry_tree, [inputs[name] for name in carried])
        xs = jax.tree_util.tree_unflatten(xs_tree, [inputs[name] for name in scanned])
        (changing, user), ys = jax.lax.scan(body, (changing, user), xs, **loop.options)
        after = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
        results = named_results(ys)
        _move_axes(results, moved)
        results["outputs"] |= named_leaves("carry", user)
        return {**results, "state": step.state_leaves(after)}

    results = _given_results(loop.ys, moved)
    results["outputs"] |= named_leaves("carry", loop.last[1] if counted else loop.last)
    results["state"] = _given_state(step, loop.after)
    given = scanned | carried
    closed = _closed(step, "loop", program, given, results, loop.options, sorted(moved))
    closes_over = [n for n in range(len(loop.after)) if n not in loop.carried]
    counter = ["progress bar"] if counted else []
    # The order among what the loop's body closes over is JAX's own.
    closed_over = ["constant"] * (len(loop.step.constants) + len(step.names_of(closes_over)))
    native = [*closed_over, *step.names_of(loop.carried), *counter, *carried, *scanned]
    return replace(closed, native_arguments=tuple(native))


def _close_step(call: RunningCall, trace: StepTrace, known: Known) -> ClosedProgram:
    step = TracedStep(call, trace, known)
    if not trace.whole:
        step.notes.append(
            "The runner's loop over time is Python's (jit=False or memory_efficient=True), "
            "or it has none: the program is one step."
        )
    offloaded = take_offloaded_monitors(step)
    _leave_host_out(step)
    leading = ("times", "indices") if trace.whole else ("t", "i")
    given = named_inputs(trace.args, call.user_inputs, leading)
    for name, value in trace.kwargs.items():
        given |= named_leaves(name, value)
    given = {k: v if hasattr(v, "dtype") else np.asarray(v) for k, v in given.items()}
    # A step that is the whole run as well: BPFF has no loop over time.
    is_run = trace.given is not None and (trace.whole or call.indices is None)
    moved = _moved_axes(call, trace.given, step.notes) if is_run else {}

    def program(constants: Leaves, state: Leaves, inputs: Leaves) -> dict[str, Leaves]:
        result, new, monitors = step.run(
            constants,
            [inputs[name] for name in given],
            step.state_values(state),
            lambda value: {name: value(atom) for name, atom in offloaded.items()},
        )
        results = named_results(result)
        _move_axes(results, moved)
        results["monitors"] |= monitors
        return {**results, "state": step.state_leaves(new)}

    if trace.whole and trace.after is not None:
        results = _given_results(trace.given, moved)
        results["state"] = _given_state(step, trace.after)
    else:
        results = jax.eval_shape(program, step.constants, step.state, given)
    kind: ProgramKind = "loop" if trace.whole else "step"
    closed = _closed(step, kind, program, given, results, sorted(moved))
    native = (*step.names_of(range(len(trace.states))), *given)
    # A whole run is a step of BrainPy 2.3 alone, which gives its jit the Variables; JAX 0.4 makes
    # constants of what else a jit takes from around it.
    return replace(closed, native_arguments=native, compiled_in=trace.whole)


def _leave_host_out(step: TracedStep, carry: Any = None) -> bool:
    """Take the callbacks out that are no part of the model; say whether a counter went along."""
    if not step.calls_back:
        return False
    counted = seams.on_brainstate() and drop_progress_bar(step, carry)
    drop_taps(step)
    return counted


def _given_results(ys: Any, moved: dict[tuple[str, str], Any]) -> dict[str, Leaves]:
    results = named_results(ys)
    for (role, name), value in moved.items():
        results[role][name] = value
    return results


def _given_state(step: TracedStep, after: Sequence[Any]) -> Leaves:
    new = zip(step.in_order(after), step.states, step.written, strict=True)
    return step.state_leaves([value if w else use.value for value, use, w in new])


def _move_axes(results: dict[str, Leaves], moved: Collection[tuple[str, str]]) -> None:
    for role, name in moved:
        results[role][name] = jax.numpy.moveaxis(results[role][name], 0, 1)


def _closed(
    step: TracedStep,
    kind: ProgramKind,
    program: Function,
    inputs: Leaves,
    results: dict[str, Leaves],
    *extra: object,
) -> ClosedProgram:
    def named(role: Role, leaves: Leaves) -> list[Named]:
        return [Named(role, name, leaves[name]) for name in sorted(leaves)]

    name = type(step.call.runner.target).__name__
    program.__name__ = program.__qualname__ = name
    forms = [(one, form(value)) for one, value in inputs.items()]
    made = {role: list(leaves) for role, leaves in results.items()}
    return ClosedProgram(
        name,
        kind,
        step.fingerprint(kind, forms, made, *extra),
        program,
        [
            *named("constant", step.constants),
            *named("state", step.state),
            *named("input", inputs),
        ],
        [
            *named("monitor", results["monitors"]),
            *named("output", results["outputs"]),
            *named("state", results["state"]),
        ],
        tuple(step.notes),
        native=step.trace.compilation,
        components=step.components,
    )


def _moved_axes(call: RunningCall, ys: Any, notes: list[str]) -> dict[tuple[str, str], Any]:
    """Find the results whose time axis the runner moved behind the batch axis after its loop.

    Decided by identity: a result is the very array that the loop gave, or what
    ``jax.numpy.moveaxis`` made of that array, or the runner did something else with it, which is
    noted.

    Returns
    -------
    dict
        The swapped results' final values, by role and name.
    """
    looped = named_results(ys)
    returned = looped if call.returned is None else named_results(call.returned)
    moved: dict[tuple[str, str], Any] = {}
    other: list[str] = []
    for role, leaves in looped.items():
        for name, value in leaves.items():
            final = returned[role].get(name)
            if final is value:
                continue
            if call.is_swapped(value, final):
                moved[role, name] = final
            else:
                other.append(name)
    if other:
        notes.append(
            f"After the loop the runner changes {', '.join(sorted(other))}; the program does not."
        )
    return moved
