"""Makes a closed program of a call's trace.

The program is ``program(constants, state, inputs) -> {outputs, monitors, state}``. Every Variable
that the run reads or writes is an argument and a result, and every array that the run closes over
is an argument. The program evaluates the jaxpr of BrainPy's own trace, so that the model's Python
code does not run again.
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
    leaf_units,
    named_arguments,
    named_inputs,
    named_leaves,
    named_results,
    shape_and_dtype,
    signature,
    unique_name,
    units,
)
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.program.callbacks import (
    drop_brainpy_callbacks,
    drop_progress_bar,
    take_offloaded_monitors,
)
from brainpy_probe.recording.program.recorded_states import of_loop, of_step
from brainpy_probe.recording.program.step import (
    FingerprintCache,
    TracedStep,
    aval_of,
    refuse_tracers,
)
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace
from brainpy_probe.recording.tracing.training import trains
from brainpy_probe.recording.types import NamedArrays, Pytree

__all__ = ["ClosedProgram", "NamedValue", "close"]

_ROLES: dict[str, Role] = {"monitors": "monitor", "outputs": "output"}

_Function = Callable[[NamedArrays, NamedArrays, NamedArrays], dict[str, NamedArrays]]


@dataclass(frozen=True)
class NamedValue:
    """An argument or a result: role, name, value and unit.

    It has shape and dtype in place of a value if it has no value yet.
    """

    role: Role
    name: str
    value: Any
    unit: str = ""


@dataclass(frozen=True)
class ClosedProgram:
    """A closed program, ready to be lowered.

    Attributes
    ----------
    function : callable
        Takes ``constants``, ``state`` and ``inputs``, each a dict of arrays by name. Returns a dict
        with ``outputs``, ``monitors`` and ``state``.
    arguments, results : list of NamedValue
        In the order in which JAX flattens them. The results are ``jax.ShapeDtypeStruct`` objects
        until the run has ended.
    step : TracedStep
        The traced step that the program evaluates.
    places : dict
        The position of each output and monitor among the leaves of the native loop's or function's
        result, by role and name. Monitors that a step passes to Python have none.
    swapped : frozenset
        The outputs and monitors whose first two axes the runner swaps after its loop.
    records : dict
        For a loop, the results with an entry for each step, by role and name; the value is the name
        of the state that the result records, or empty. For a step, the results that are the value
        of a state.
    native : Compilation or None
        The module that JAX compiled for this run in this call, if it is known.
    native_arguments : tuple of str
        The names of that module's arguments, in order.
    compiled_in : bool
        Whether that module has the model's arrays as constants.
    components : dict
        The class of each component by its name; the model first.
    links : dict
        For each projection, the names of the two components that it connects.
    removed : tuple of str
        The parts of the run that the program does not have, because they call Python.
    reasons : tuple of str
        Further reasons why XLA may compile the program to code that rounds differently from the
        run's.
    training : bool
        Whether the program computes a gradient and changes parameters.
    """

    name: str
    kind: ProgramKind
    fingerprint: str
    function: _Function
    arguments: list[NamedValue]
    results: list[NamedValue]
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
    training: bool = False

    def grouped(self) -> tuple[NamedArrays, NamedArrays, NamedArrays]:
        """Return the values of the arguments, as three dicts for ``function``."""
        groups: dict[str, NamedArrays] = {"constant": {}, "state": {}, "input": {}}
        for argument in self.arguments:
            groups[argument.role][argument.name] = argument.value
        return groups["constant"], groups["state"], groups["input"]


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
        return _close_loop(call, run, cache)
    return _close_step(call, run, cache)


def _close_loop(call: RunningCall, loop: LoopRun, cache: FingerprintCache) -> ClosedProgram:
    refuse_tracers(loop.carry, loop.xs)
    step = TracedStep(call, loop.step, cache)
    if brainpy_transforms.orders_by_address() and len(loop.step.states) > 1:
        step.reasons.append("BrainPy 2.4 to 2.6 orders a loop's Variables by their addresses")
    counted = _drop_callbacks(step, loop.carry)
    monitored = not call.is_standalone
    carry = loop.carry[1] if counted else loop.carry
    carried = named_leaves(("carry", carry))
    scanned, input_units = _inputs(call, loop.xs, ("times", "indices"), has_carry=bool(carried))
    input_units |= units(("carry", carry))
    xs_tree = jax.tree_util.tree_structure(loop.xs)
    carry_tree = jax.tree_util.tree_structure(carry)
    written = step.written
    last, ys = _result_leaves(step)
    outputs = {
        role: {name: leaf.of_steps(loop.length) for name, leaf in leaves.items()}
        for role, leaves in named_results(ys, monitored=monitored).items()
    }
    swapped = _swapped(call, outputs)
    outputs["outputs"] |= named_leaves(("carry", last[1] if counted else last))

    def program(
        constants: NamedArrays, state: NamedArrays, inputs: NamedArrays
    ) -> dict[str, NamedArrays]:
        before = step.state_values(state)

        # The loop carries the states in the native order, since XLA's fusions, and so the bits of
        # the results, depend on the order.
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
        results = named_results(ys, monitored=monitored)
        _swap_axes(results, swapped)
        results["outputs"] |= named_leaves(("carry", user))
        return {**results, "state": step.state_leaves(after)}

    recorded = of_loop(step, loop)
    inputs = scanned | carried
    closed = _closed(
        step, "loop", program, inputs, input_units, outputs, swapped, recorded, loop.options
    )
    closes_over = [n for n in range(len(loop.step.states)) if n not in loop.carried]
    counter = ["progress bar"] if counted else []
    # JAX chooses the order of the values that the body closes over.
    closed_over = ["constant"] * (len(loop.step.constants) + len(step.names_of(closes_over)))
    native = [*closed_over, *step.names_of(loop.carried), *counter, *carried, *scanned]
    return replace(closed, native_arguments=tuple(native))


def _close_step(call: RunningCall, trace: StepTrace, cache: FingerprintCache) -> ClosedProgram:
    step = TracedStep(call, trace, cache)
    if trace is call.step:
        step.reasons.append("the run computed each operation by itself (jit=False)")
    whole = trace.includes_loop or call.is_standalone
    monitored = not call.is_standalone
    if not whole:
        step.notes.append(
            "The runner's loop over time is Python's (jit=False or memory_efficient=True), "
            "or it has none: the program is one step."
        )
    offloaded = take_offloaded_monitors(step) if monitored else {}
    _drop_callbacks(step)
    leading = ("times", "indices") if trace.includes_loop else ("t", "i")
    arguments, input_units = _inputs(call, trace.args, leading)
    input_units |= units(*trace.kwargs.items())
    taken = set(arguments)
    arguments |= {unique_name(k, taken): v for k, v in named_leaves(*trace.kwargs.items()).items()}
    arguments = {k: v if hasattr(v, "dtype") else np.asarray(v) for k, v in arguments.items()}
    outputs = named_results(_result_leaves(step), monitored=monitored)
    # A step without indices is the whole run as well: BPFF has no loop over time.
    swapped = _swapped(call, outputs) if whole or call.indices is None else frozenset()
    outputs["monitors"] |= {name: _Leaf(None, aval_of(atom)) for name, atom in offloaded.items()}

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
        _swap_axes(results, swapped)
        results["monitors"] |= monitors
        return {**results, "state": step.state_leaves(new)}

    kind: ProgramKind = "loop" if trace.includes_loop else "function" if whole else "step"
    recorded = of_step(step, enumerate(trace.result), includes_loop=trace.includes_loop)
    closed = _closed(step, kind, program, arguments, input_units, outputs, swapped, recorded)
    handed = of_step(step, offloaded.items(), includes_loop=False)
    records = closed.records | {("monitor", name): state for name, state in handed.items()}
    native = (*step.names_of(range(len(trace.states))), *arguments)
    # Only BrainPy 2.3 compiles a whole run as one function. Up to 2.6, a jit takes the Variables as
    # arguments, and JAX 0.4 makes constants of all other arrays.
    compiled_in = whole and not brainpy_model.on_brainstate()
    return replace(closed, native_arguments=native, compiled_in=compiled_in, records=records)


def _inputs(
    call: RunningCall, xs: Any, leading: tuple[str, str], *, has_carry: bool = False
) -> tuple[NamedArrays, dict[str, str]]:
    """Name the inputs of a step or loop; return their values and units.

    A user's own function has names for them. A function of ``scan`` takes the carry before the
    scanned entry.
    """
    if not call.is_standalone:
        return named_inputs(xs, call.user_inputs, leading), {}
    parameters = call.runner.parameters
    if has_carry:
        xs, parameters = (xs,), parameters[1:]
    elif not isinstance(xs, tuple):
        xs = (xs,)
    named = named_arguments(xs, parameters)
    return named_leaves(*named), units(*named)


def _drop_callbacks(step: TracedStep, carry: Pytree = None) -> bool:
    """Remove callbacks that are not part of the model; return whether a counter was removed."""
    if not step.callers:
        return False
    counted = brainpy_model.on_brainstate() and drop_progress_bar(step, carry)
    drop_brainpy_callbacks(step)
    return counted


@dataclass(frozen=True)
class _Leaf:
    """A leaf of a function's result: its position there, its shape and dtype, and its unit."""

    place: int | None
    aval: jax.ShapeDtypeStruct
    unit: str = ""

    def of_steps(self, length: int) -> _Leaf:
        """Return the leaf for all steps of a loop."""
        shape = (length, *self.aval.shape)
        return _Leaf(self.place, shape_and_dtype(shape, self.aval.dtype), self.unit)

    def swapped(self) -> _Leaf:
        """Return the leaf with its first two axes swapped."""
        first, second, *rest = self.aval.shape
        return _Leaf(
            self.place, shape_and_dtype((second, first, *rest), self.aval.dtype), self.unit
        )


def _result_leaves(step: TracedStep) -> Pytree:
    """Return the result of a traced function as a pytree of :class:`_Leaf`."""
    tree = step.trace.result_tree
    atoms = step.trace.result
    units = leaf_units(tree.unflatten(range(len(atoms))))
    return tree.unflatten(
        [_Leaf(place, aval_of(atom), units[place]) for place, atom in enumerate(atoms)]
    )


def _swapped(call: RunningCall, outputs: dict[str, NamedArrays]) -> frozenset[tuple[str, str]]:
    """Swap the first two axes of the results as BrainPy's ``_predict`` does; return which."""
    if not call.swaps_axes:
        return frozenset()
    swapped: list[tuple[str, str]] = []
    for role, leaves in outputs.items():
        for name, leaf in leaves.items():
            if len(leaf.aval.shape) >= 2:
                leaves[name] = leaf.swapped()
                swapped.append((role, name))
    return frozenset(swapped)


def _swap_axes(results: dict[str, NamedArrays], swapped: Collection[tuple[str, str]]) -> None:
    for role, name in swapped:
        results[role][name] = jax.numpy.moveaxis(results[role][name], 0, 1)


def _closed(
    step: TracedStep,
    kind: ProgramKind,
    program: _Function,
    inputs: NamedArrays,
    input_units: dict[str, str],
    outputs: dict[str, NamedArrays],
    swapped: frozenset[tuple[str, str]],
    recorded: dict[int, str],
    *extra: object,
) -> ClosedProgram:
    """Return the closed program of a function, with the fingerprint of the step."""

    def named(role: Role, leaves: NamedArrays) -> list[NamedValue]:
        found = step.units if role == "state" else input_units if role == "input" else {}
        return [
            NamedValue(role, name, leaves[name], found.get(name, "")) for name in sorted(leaves)
        ]

    def results(role: Role, leaves: NamedArrays) -> list[NamedValue]:
        return [
            NamedValue(role, name, leaves[name].aval, leaves[name].unit) for name in sorted(leaves)
        ]

    name = step.call.title
    program.__name__ = program.__qualname__ = name
    signatures = [(key, signature(value)) for key, value in inputs.items()]
    names = {role: list(leaves) for role, leaves in outputs.items()}
    state = step.final_state_avals()
    places = {
        (role, name): leaf.place
        for group, role in _ROLES.items()
        for name, leaf in outputs[group].items()
        if leaf.place is not None
    }
    return ClosedProgram(
        name,
        kind,
        step.fingerprint(kind, signatures, names, list(state), sorted(swapped), *extra),
        program,
        [
            *named("constant", step.constants),
            *named("state", step.state),
            *named("input", inputs),
        ],
        [
            *results("monitor", outputs["monitors"]),
            *results("output", outputs["outputs"]),
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
        training=trains(step.trace),
    )
