"""The closed program, and functions that build it for loops and steps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import jax

from brainpy_probe.compat.types import NamedArrays, Pytree
from brainpy_probe.format.manifest.program_records import GROUPS, ProgramKind, Role
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import (
    leaf_units,
    named_arguments,
    named_inputs,
    named_leaves,
    shape_and_dtype,
    signature,
    units,
)
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.program.step import TracedStep, aval_of
from brainpy_probe.recording.tracing.traces import LoopRun
from brainpy_probe.recording.tracing.training import trains

__all__ = [
    "ClosedProgram",
    "Leaf",
    "NamedValue",
    "closed_program",
    "inputs_of",
    "result_leaves",
    "swap_axes",
    "swap_types",
]

_ROLES: dict[str, Role] = {"monitors": "monitor", "outputs": "output"}

Function = Callable[[NamedArrays, NamedArrays, NamedArrays], dict[str, NamedArrays]]


@dataclass(frozen=True)
class NamedValue:
    """An argument or a result: role, name, value and unit.

    If it has no value yet, ``value`` is its shape and dtype. In the program of one step of a loop,
    ``loop_path`` is the group and name of the loop's argument or result to which it belongs, if
    they differ; ``loop_axis`` is the axis of that array that has an entry for each step.
    """

    role: Role
    name: str
    value: Any
    unit: str = ""
    loop_path: str = ""
    loop_axis: int | None = None

    @property
    def path(self) -> str:
        """The group and name, as in ``state/E.V``."""
        return f"{GROUPS[self.role]}/{self.name}"


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
    loop : LoopRun or None
        The loop that this program runs, or one step of which it runs. None if no loop was traced
        separately.
    one_step : callable or None
        Makes the program of one step, if this is a whole loop.
    """

    name: str
    kind: ProgramKind
    fingerprint: str
    function: Function
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
    loop: LoopRun | None = None
    one_step: Callable[[], ClosedProgram] | None = None

    def grouped(self) -> tuple[NamedArrays, NamedArrays, NamedArrays]:
        """Return the values of the arguments, as three dicts for ``function``."""
        groups: dict[str, NamedArrays] = {"constant": {}, "state": {}, "input": {}}
        for argument in self.arguments:
            groups[argument.role][argument.name] = argument.value
        return groups["constant"], groups["state"], groups["input"]


def inputs_of(
    call: RunningCall, xs: Pytree, leading: tuple[str, str], *, has_carry: bool = False
) -> tuple[NamedArrays, dict[str, str]]:
    """Name the inputs of a step or loop; return their values and units.

    The names come from the parameters of the user's function. A function of ``scan`` takes the
    carry before the scanned entry.
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


@dataclass(frozen=True)
class Leaf:
    """A leaf of a function's result: its position there, its shape and dtype, and its unit."""

    place: int | None
    aval: jax.ShapeDtypeStruct
    unit: str = ""

    def of_steps(self, length: int) -> Leaf:
        """Return the leaf for all steps of a loop."""
        shape = (length, *self.aval.shape)
        return Leaf(self.place, shape_and_dtype(shape, self.aval.dtype), self.unit)

    def swapped(self) -> Leaf:
        """Return the leaf with its first two axes swapped."""
        first, second, *rest = self.aval.shape
        return Leaf(self.place, shape_and_dtype((second, first, *rest), self.aval.dtype), self.unit)


def result_leaves(step: TracedStep) -> Pytree:
    """Return the result of a traced function as a pytree of :class:`Leaf`."""
    tree = step.trace.result_tree
    atoms = step.trace.result
    units = leaf_units(tree.unflatten(range(len(atoms))))
    return tree.unflatten(
        [Leaf(place, aval_of(atom), units[place]) for place, atom in enumerate(atoms)]
    )


def swap_types(call: RunningCall, outputs: dict[str, NamedArrays]) -> frozenset[tuple[str, str]]:
    """Swap the first two axes of the results as BrainPy's ``_predict`` does; return their names."""
    if not call.swaps_axes:
        return frozenset()
    swapped: list[tuple[str, str]] = []
    for role, leaves in outputs.items():
        for name, leaf in leaves.items():
            if len(leaf.aval.shape) >= 2:
                leaves[name] = leaf.swapped()
                swapped.append((role, name))
    return frozenset(swapped)


def swap_axes(results: dict[str, NamedArrays], swapped: Collection[tuple[str, str]]) -> None:
    """Swap the first two axes of some results."""
    for role, name in swapped:
        results[role][name] = jax.numpy.moveaxis(results[role][name], 0, 1)


def closed_program(
    step: TracedStep,
    kind: ProgramKind,
    program: Function,
    inputs: NamedArrays,
    input_units: dict[str, str],
    outputs: dict[str, NamedArrays],
    swapped: frozenset[tuple[str, str]],
    recorded: dict[int, str],
    *extra: object,
) -> ClosedProgram:
    """Return the closed program of a function, with the fingerprint of the step."""
    units = {"constant": step.constant_units, "state": step.units, "input": input_units}

    def named(role: Role, leaves: NamedArrays) -> list[NamedValue]:
        found = units[role]
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
