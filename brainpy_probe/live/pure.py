"""Makes a closed program of what a predict call ran; knows no dialect and no file.

``program(constants, state, inputs) -> {outputs, monitors, state}``: every Variable that the run
reads or writes is an argument and a result, every array that it closes over is an argument. The
program is built of the jaxpr that BrainPy's own run traced, so that no line of the model runs
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.errors import CannotCapture
from brainpy_probe.live import jaxprs, seams, stepwise
from brainpy_probe.live.calls import LoopRun, RunningCall, StepTrace
from brainpy_probe.live.modeltree import ModelNames
from brainpy_probe.records import ProgramKind, Role

__all__ = ["ClosedProgram", "Named", "close"]

Leaves = dict[str, Any]


@dataclass(frozen=True)
class Named:
    """An argument or a result: its role, its name, its value in this run if it is known."""

    role: Role
    name: str
    value: Any = None


@dataclass(frozen=True)
class ClosedProgram:
    """A closed program, ready to be lowered.

    Attributes
    ----------
    function : callable
        ``function(constants, state, inputs)``, each a dict of arrays by name; returns a dict with
        ``outputs``, ``monitors`` and ``state``.
    arguments, results : list of Named
        In the order in which JAX flattens them. A result's value is None where the run does not
        give it.
    """

    name: str
    kind: ProgramKind
    fingerprint: str
    function: Callable[[Leaves, Leaves, Leaves], dict[str, Leaves]]
    arguments: list[Named]
    results: list[Named]
    notes: tuple[str, ...] = ()

    def grouped(self) -> tuple[Leaves, Leaves, Leaves]:
        """Return the values of the arguments as ``function`` takes them."""
        groups: dict[str, Leaves] = {"constant": {}, "state": {}, "input": {}}
        for argument in self.arguments:
            groups[argument.role][argument.name] = argument.value
        return groups["constant"], groups["state"], groups["input"]


def close(call: RunningCall) -> ClosedProgram:
    """Make the closed program of a call that has ended.

    Raises
    ------
    CannotCapture
        If the call ran no loop and no step that can be closed over.
    """
    if call.loops:
        loop = max(call.loops, key=lambda one: one.options["length"] or 0)
        return _close_loop(call, loop)
    if call.stepwise:
        if call.step_failure is not None:
            raise CannotCapture(
                f"The step of this runner can't be traced: {call.step_failure}",
                "With jit=False a step may use Python that JAX can't trace; "
                "run with jit=True, or keep such Python out of update().",
            ) from call.step_failure
        step = stepwise.find(call)
        if step is not None:
            return _close_step(call, step)
    if call.step_failure is not None:
        raise call.step_failure
    raise CannotCapture(
        f"{type(call.runner).__qualname__} ran no loop and no step that BrainPy compiled.",
        "The run may have had no steps, or a subclass runs the model in its own way.",
    )


@dataclass
class _Step:
    """A traced step, its states and arrays named, its equations chosen."""

    call: RunningCall
    trace: StepTrace
    names: ModelNames
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        stateful, trace = self.trace.stateful, self.trace
        key = stateful.get_arg_cache_key(*trace.args, **trace.kwargs)
        closed = stateful.get_jaxpr_by_cache(key)
        states = stateful.get_state_trace_by_cache(key)
        self.jaxpr, self.consts = closed.jaxpr, list(closed.consts)
        self.out_tree = stateful.get_out_treedef_by_cache(key)
        self.states: list[Any] = list(states.states)
        self.written = seams.is_written(states)
        self.eqns: list[Any] = list(self.jaxpr.eqns)
        self.hidden = jaxprs.inner_constants(self.jaxpr)
        taken: set[str] = set()
        self.state_names = [
            _unused(self.names.state(state) or getattr(state, "name", None) or "variable", taken)
            for state in self.states
        ]
        taken.clear()
        self.constant_names = [
            _unused(self.names.array(array) or "array", taken)
            for array in (*self.consts, *self.hidden)
        ]

    @property
    def constants(self) -> Leaves:
        return dict(zip(self.constant_names, (*self.consts, *self.hidden), strict=True))

    @property
    def state(self) -> Leaves:
        return self.state_leaves(self.trace.values)

    def state_leaves(self, values: Sequence[Any]) -> Leaves:
        leaves: Leaves = {}
        for name, value in zip(self.state_names, values, strict=True):
            leaves.update(_leaves(name, value))
        return leaves

    def state_values(self, state: Leaves) -> list[Any]:
        """Return the states' values, as trees, given their leaves by name."""
        return [
            jax.tree.unflatten(jax.tree.structure(value), [state[n] for n in _leaves(name, value)])
            for name, value in zip(self.state_names, self.trace.values, strict=True)
        ]

    def run(
        self,
        constants: Leaves,
        args: Sequence[Any],
        states: Sequence[Any],
        read: Callable[[Callable[[Any], Any]], Any] | None = None,
    ) -> tuple[Any, list[Any], Any]:
        """Evaluate the step: its result, the new value of each state, and what ``read`` gives."""
        values = [constants[name] for name in self.constant_names]
        lifted = {id(a): v for a, v in zip(self.hidden, values[len(self.consts) :], strict=True)}
        outs = jaxprs.evaluate(
            self.jaxpr,
            values[: len(self.consts)],
            [*args, *jax.tree.leaves(list(states))],
            lifted,
            self.eqns,
            read or (lambda _: None),
        )
        result, written = jax.tree.unflatten(self.out_tree, outs[:-1])
        new = [w if is_new else old for w, old, is_new in zip(written, states, self.written)]  # noqa: B905  brainstate gives one entry a state
        return result, new, outs[-1]

    def fingerprint(self, *extra: object) -> str:
        atoms = [*self.jaxpr.constvars, *self.jaxpr.invars, *self.jaxpr.outvars]
        shapes = [_form(value) for value in (*self.state.values(), *self.constants.values())]
        return jaxprs.fingerprint(
            self.eqns,
            atoms,
            [type(self.call.runner.target).__name__, *extra]
            + [self.state_names, self.written, self.constant_names, shapes, self.notes],
        )


def _open_step(call: RunningCall, trace: StepTrace) -> _Step:
    values = jax.tree.leaves((trace.values, call.indices, call.xs))
    if any(isinstance(value, jax.core.Tracer) for value in values):
        raise CannotCapture(
            "predict ran inside another JAX transformation (jit, vmap, grad, a loop), "
            "so that it has no program of its own.",
            "Capture a predict call that is made from plain Python.",
        )
    return _Step(call, trace, ModelNames(call.runner.target, call.runner))


def _close_loop(call: RunningCall, loop: LoopRun) -> ClosedProgram:
    step = _open_step(call, loop.step)
    if len(call.loops) > 1:
        step.notes.append(
            f"The call ran {len(call.loops)} loops; the program is the longest one alone."
        )
    carry = loop.init[1]
    counted = _drop_progress_bar(step, carry)
    if counted:
        carry = carry[1]
    carry_leaves = _leaves("carry", carry)
    inputs = {**_input_leaves(call, loop.xs), **carry_leaves}
    xs_leaves, xs_tree = jax.tree.flatten(loop.xs)
    xs_names = list(inputs)[: len(xs_leaves)]
    written = step.written
    moved, after = _moved_axes(call, loop.ys)
    step.notes.extend(after)
    outs = _result_leaves(loop.ys)

    def program(constants: Leaves, state: Leaves, given: Leaves) -> dict[str, Leaves]:
        before = step.state_values(state)

        def body(looped: Any, x: Any) -> tuple[Any, Any]:
            changing, user = looped
            states = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
            args = [*([np.int32(0)] if counted else []), *jax.tree.leaves((user, x))]
            (carried, y), new, _ = step.run(constants, args, states)
            carried = carried[1] if counted else carried
            return ([n if w else None for n, w in zip(new, written, strict=True)], carried), y

        changing = [b if w else None for b, w in zip(before, written, strict=True)]
        user = jax.tree.unflatten(jax.tree.structure(carry), [given[n] for n in carry_leaves])
        xs = jax.tree.unflatten(xs_tree, [given[n] for n in xs_names])
        (changing, user), ys = jax.lax.scan(body, (changing, user), xs, **loop.options)
        final = [c if w else b for c, b, w in zip(changing, before, written, strict=True)]
        results = _result_leaves(ys)
        for role, leaves in results.items():
            for name in leaves:
                if (role, name) in moved:
                    leaves[name] = jax.numpy.moveaxis(leaves[name], 0, 1)
        results["outputs"].update(_leaves("carry", user))
        return {**results, "state": step.state_leaves(final)}

    final = [c if w else v for c, v, w in zip(loop.carry[0], loop.step.values, written)]  # noqa: B905  brainstate gives one entry a state
    values = {**outs, "state": step.state_leaves(final)}
    for (role, name), value in moved.items():
        values[role][name] = value
    user = loop.carry[1][1] if counted else loop.carry[1]
    values["outputs"].update(_leaves("carry", user))
    return _closed(step, "loop", program, inputs, values, loop.options, sorted(moved))


def _close_step(call: RunningCall, trace: StepTrace) -> ClosedProgram:
    step = _open_step(call, trace)
    step.notes.append(
        "The runner's loop over time is Python's (jit=False or memory_efficient=True): "
        "the program is one step."
    )
    offloaded = _offloaded_monitors(step)
    first = jax.tree.map(lambda x: np.asarray(x)[0], call.xs)
    values = (call.indices[0], *first)
    shared = _leaves("shared_args", trace.kwargs.get("shared_args"))
    inputs = {**_input_leaves(call, values, index="i"), **shared}
    inputs = {name: np.asarray(value) for name, value in inputs.items()}

    def program(constants: Leaves, state: Leaves, given: Leaves) -> dict[str, Leaves]:
        result, new, monitors = step.run(
            constants,
            [given[name] for name in inputs],
            step.state_values(state),
            lambda value: {name: value(atom) for name, atom in offloaded.items()},
        )
        results = _result_leaves(result)
        results["monitors"].update(monitors)
        return {**results, "state": step.state_leaves(new)}

    shapes = jax.eval_shape(program, step.constants, step.state, inputs)
    values_of: dict[str, Leaves] = {r: dict.fromkeys(leaves) for r, leaves in shapes.items()}
    return _closed(step, "step", program, inputs, values_of)


def _closed(
    step: _Step,
    kind: ProgramKind,
    program: Callable[[Leaves, Leaves, Leaves], dict[str, Leaves]],
    inputs: Leaves,
    results: dict[str, Leaves],
    *extra: object,
) -> ClosedProgram:
    def named(role: Role, leaves: Leaves) -> list[Named]:
        return [Named(role, name, leaves[name]) for name in sorted(leaves)]

    name = type(step.call.runner.target).__name__
    program.__name__ = program.__qualname__ = name
    forms = [(one, _form(value)) for one, value in inputs.items()]
    return ClosedProgram(
        name,
        kind,
        step.fingerprint(kind, forms, {r: list(v) for r, v in results.items()}, *extra),
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
    )


def _form(value: Any) -> tuple[Any, ...]:
    return np.shape(value), str(getattr(value, "dtype", type(value).__name__))


def _unused(name: str, taken: set[str]) -> str:
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    taken.add(chosen)
    return chosen


def _leaves(name: str, tree: Any) -> Leaves:
    """Return a tree's leaves by name: the tree's own where it is one leaf, else with its path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_joined(name, path): leaf for path, leaf in flat}


def _joined(name: str, path: Sequence[Any]) -> str:
    parts = [str(getattr(p, "key", getattr(p, "idx", getattr(p, "name", p)))) for p in path]
    return ".".join([name, *parts] if name else parts) or "value"


def _input_leaves(call: RunningCall, xs: Any, index: str = "indices") -> Leaves:
    """Name what a loop scans over: BrainPy's step indices, then the user's inputs."""
    if not isinstance(xs, tuple) or len(xs) != 1 + len(call.xs):
        return _leaves("inputs", xs)
    rest = xs[1] if len(xs) == 2 else xs[1:]
    return {index: xs[0], **_leaves("inputs", rest)}


def _result_leaves(result: Any) -> dict[str, Leaves]:
    """Name what a step returns: ``(outputs, monitors)``, the monitors being a dict or None."""
    match result:
        case (outputs, dict() | None as monitors):
            return {"outputs": _leaves("outputs", outputs), "monitors": _leaves("", monitors)}
    return {"outputs": _leaves("outputs", result), "monitors": {}}


def _reaches(callback: Any, wanted: Callable[[Any], bool]) -> bool:
    """Whether a callable is, is bound to, or closes over something wanted."""
    queue, seen = [callback], set()
    while queue:
        one = queue.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if wanted(one):
            return True
        for attribute in ("__self__", "__func__", "func", "__wrapped__"):
            inner = getattr(one, attribute, None)
            if callable(inner) or attribute == "__self__" and inner is not None:
                queue.append(inner)
        queue += [
            cell.cell_contents for cell in getattr(one, "__closure__", None) or () if _filled(cell)
        ]
    return False


def _filled(cell: Any) -> bool:
    try:
        return callable(cell.cell_contents)
    except ValueError:
        return False


def _drop_progress_bar(step: _Step, carry: Any) -> bool:
    """Leave out a progress bar's callbacks; say whether its step counter is gone too.

    brainstate's bar counts in the carry, ``(i, carry)``, and calls back in three conditionals
    that give no result (0.5.4, 0.6.0: transform/_progress_bar.py).
    """
    bar = type(seams.take("progress-bar")().init(1))

    def drawn(eqn: Any) -> bool:
        calls = list(jaxprs.callbacks(eqn))
        return (
            bool(calls)
            and not eqn.outvars
            and all(_reaches(one, lambda thing: isinstance(thing, bar)) for one in calls)
        )

    if not any(map(drawn, step.jaxpr.eqns)):
        return False
    counted = isinstance(carry, tuple) and len(carry) == 2 and np.shape(carry[0]) == ()
    unused = step.jaxpr.outvars[:1] if counted else []
    step.eqns = jaxprs.prune(step.jaxpr, drawn, unused)
    return counted


def _offloaded_monitors(step: _Step) -> Leaves:
    """Return, by name, the monitors that a step hands to the host, and leave that callback out."""
    runner = step.call.runner
    taker = seams.takes_monitors_from(runner)

    def offloads(eqn: Any) -> bool:
        return not eqn.outvars and any(
            _reaches(
                one,
                lambda thing: (
                    getattr(thing, "__self__", None) is runner
                    and getattr(thing, "__name__", "") == taker
                ),
            )
            for one in jaxprs.callbacks(eqn)
        )

    found = [eqn for eqn in step.jaxpr.eqns if offloads(eqn)]
    if not found:
        return {}
    atoms = list(found[0].invars)
    names = seams.monitor_names(runner)
    if len(names) != len(atoms):
        names = [f"monitor.{position}" for position in range(len(atoms))]
    step.eqns = [eqn for eqn in step.jaxpr.eqns if eqn is not found[0]]
    return dict(zip(names, atoms, strict=True))


def _moved_axes(
    call: RunningCall, ys: Any
) -> tuple[dict[tuple[str, str], Any], tuple[str, ...]]:
    """Find the results whose time axis the runner moved behind the batch axis after its loop.

    Judged by the values: either a result is the very array that the loop gave, or it is that
    array with its first two axes swapped, or the runner did something else with it.
    """
    looped = _result_leaves(ys)
    returned = _result_leaves(call.returned) if call.returned is not None else looped
    moved: dict[tuple[str, str], Any] = {}
    other: list[str] = []
    for role, leaves in looped.items():
        for name, value in leaves.items():
            final = returned[role].get(name)
            if final is value:
                continue
            if _is_moved(value, final):
                moved[role, name] = final
            else:
                other.append(name)
    if not other:
        return moved, ()
    return moved, (
        f"After the loop the runner changes {', '.join(sorted(other))}; the program does not.",
    )


def _is_moved(value: Any, final: Any) -> bool:
    if np.ndim(value) < 2 or np.shape(final) != np.shape(value)[1::-1] + np.shape(value)[2:]:
        return False
    swapped = np.ascontiguousarray(np.moveaxis(np.asarray(value), 0, 1))
    return swapped.tobytes() == np.ascontiguousarray(np.asarray(final)).tobytes()
