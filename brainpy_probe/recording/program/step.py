"""A step that BrainPy traced, its states and arrays named, to be evaluated again; knows no loop."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from brainpy_probe.compat import brainevent_kernels, brainpy_transforms
from brainpy_probe.errors import InsideTransformation
from brainpy_probe.format.digests import digest_of
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import (
    leaf_names,
    named_leaves,
    shape_and_dtype,
    signature,
    unique_name,
)
from brainpy_probe.recording.model.scopes import names_of
from brainpy_probe.recording.program import jaxprs
from brainpy_probe.recording.tracing.callables import callable_key
from brainpy_probe.recording.tracing.traces import StepTrace
from brainpy_probe.recording.types import NamedArrays

__all__ = ["Known", "TracedStep", "form_of", "refuse_tracers"]

_leaves = jax.tree_util.tree_leaves


def refuse_tracers(*trees: Any) -> None:
    """Raise if any of the values that a run takes, holds or gives is that of another trace.

    Raises
    ------
    CannotCapture
        If one is: the run is part of another function's trace.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in _leaves(trees)):
        raise InsideTransformation


def form_of(atom: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and the dtype of a variable or a literal of a jaxpr."""
    return shape_and_dtype(atom.aval.shape, atom.aval.dtype)


@dataclass(frozen=True)
class Known:
    """What a capture knows from its calls so far.

    Attributes
    ----------
    fingerprints : dict
        Those of their steps, by a digest of all but the equations, and by that of the module into
        which JAX lowered these.
    traced : mapping
        The same by the jaxpr, for as long as that is there.
    called : dict
        By fingerprint, the Python that the programs call back, each with a number.
    """

    fingerprints: dict[Hashable, str] = field(default_factory=dict)
    traced: weakref.WeakKeyDictionary[Any, dict[Hashable, str]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    called: dict[str, dict[Hashable, int]] = field(default_factory=dict)


class TracedStep:
    """A traced step whose equations can be chosen and which can be run inside another trace.

    Parameters
    ----------
    call : RunningCall
        The call in which it ran.
    trace : StepTrace
        What BrainPy traced.
    known : Known
        What the capture knows from calls before.

    Attributes
    ----------
    states : list of StateUse
        The Variables in the order of their names, which is that of the program.
    names : list of str
        Their names.
    written : list of bool
        For each of them whether the step writes it.
    outs : list of Var or Literal
        The leaves of what the step returns, then of what it writes.
    eqns : list of equations
        Those that :meth:`run` evaluates; at first all of them.
    callers : frozenset of int
        The ``id`` of each of them that calls Python at run time, at whatever depth.
    drop : callable
        Whether an equation is to be left out, at whatever depth; at first none is.
    dropped : list of Var
        Arguments and results of the step that are no part of the program.
    removed : list of str
        What was left out of the step because it calls Python.
    reasons : list of str
        Why else XLA may compile the program to code that rounds differently from the run's.
    notes : list of str
        What a reader of the program must know.

    Raises
    ------
    CannotCapture
        If the call ran inside another JAX transformation.
    """

    def __init__(self, call: RunningCall, trace: StepTrace, known: Known) -> None:
        self.call, self.trace = call, trace
        self._known = known
        self.notes: list[str] = []
        self.removed: list[str] = []
        self.reasons: list[str] = []
        self.dropped: list[Any] = []
        self.drop: Callable[[Any], bool] | None = None
        self.eqns: list[Any] = list(trace.eqns)
        self._survey = jaxprs.survey(self.eqns)
        self.callers = self._survey.callers
        outer = {id(array) for _, array in trace.constants}
        self._arrays = [array for _, array in trace.constants]
        self._arrays += [array for array in self._survey.constants if id(array) not in outer]
        values = [use.value for use in trace.states]
        refuse_tracers(values, self._arrays, trace.args, call.xs)
        variables = [use.variable for use in trace.states]
        found = names_of(call, variables, self._arrays)
        self.notes = [*call.notes, *found.notes]
        taken: set[str] = set()
        names = [
            unique_name(name or getattr(variable, "name", None) or "variable", taken)
            for name, variable in zip(found.states, variables, strict=True)
        ]
        # BrainPy's order may be that of the objects' addresses: the names' own is the same in
        # every process (2.4.6, 2.6.0: object_transform/controls.py, dicts keyed by id).
        self._order = sorted(range(len(names)), key=names.__getitem__)
        self.states = self.in_order(trace.states)
        self.names = self.in_order(names)
        self.written = [use.writes is not None or use.splits for use in self.states]
        self.outs = list(trace.result)
        self.outs += [atom for use in self.states for atom in use.writes or ()]
        taken.clear()
        constants = [unique_name(name or "array", taken) for name in found.arrays]
        self.constants: NamedArrays = dict(zip(constants, self._arrays, strict=True))
        values = [use.value for use in self.states]
        self._leaf_names = leaf_names(list(zip(self.names, values, strict=True)))
        self.state = self.state_leaves(values)

    @property
    def components(self) -> dict[str, str]:
        """The class of each component by its name."""
        return {} if self.call.components is None else self.call.components.classes

    @property
    def links(self) -> dict[str, tuple[str, str]]:
        """The names of the components that each projection connects."""
        return {} if self.call.components is None else self.call.components.links

    def in_order(self, of_trace: Sequence[Any]) -> list[Any]:
        """Return what is given for each Variable of the trace in the order of the names."""
        return [of_trace[position] for position in self._order]

    def as_traced(self, of_names: Sequence[Any]) -> list[Any]:
        """Return what is given in the order of the names in that of the trace."""
        given = dict(zip(self._order, of_names, strict=True))
        return [given[position] for position in range(len(given))]

    def names_of(self, positions: Sequence[int]) -> list[str]:
        """Return the names of the leaves of Variables, given their positions in the trace."""
        names = {position: number for number, position in enumerate(self._order)}
        chosen = [names[position] for position in positions]
        return [name for number in chosen for name in self._leaf_names[number]]

    def state_forms(self) -> NamedArrays:
        """Return the forms of the Variables' values after the step, by name."""
        forms: NamedArrays = {}
        for leaves, use in zip(self._leaf_names, self.states, strict=True):
            atoms = use.reads if use.writes is None else use.writes
            forms |= dict(zip(leaves, map(form_of, atoms), strict=True))
        return forms

    def writes(self) -> list[tuple[Any, str]]:
        """Return the atoms that the step writes, each with the name of the state's leaf."""
        return [
            (atom, leaf)
            for leaves, use in zip(self._leaf_names, self.states, strict=True)
            for atom, leaf in zip(use.writes or (), leaves, strict=False)
        ]

    def state_leaves(self, values: Sequence[Any]) -> NamedArrays:
        """Return the leaves of the Variables' values by name."""
        return named_leaves(*zip(self.names, values, strict=True))

    def state_values(self, state: NamedArrays) -> list[Any]:
        """Return the Variables' values, as trees, given their leaves by name."""
        return [
            jax.tree_util.tree_unflatten(
                jax.tree_util.tree_structure(use.value),
                [state[leaf] for leaf in leaves],
            )
            for leaves, use in zip(self._leaf_names, self.states, strict=True)
        ]

    def run(
        self,
        constants: NamedArrays,
        args: Sequence[Any],
        states: Sequence[Any],
        read: Callable[[Callable[[Any], Any]], Any] = lambda _: None,
    ) -> tuple[Any, list[Any], Any]:
        """Evaluate the step.

        Parameters
        ----------
        constants : dict
            The arrays that the step closes over, by name.
        args : sequence
            The leaves of its arguments.
        states : sequence
            The value of each Variable.
        read : callable, optional
            Called in the end with a function from the jaxpr's variables to their values.

        Returns
        -------
        result, states, read
            The step's result, the new value of each Variable, and what ``read`` returned.
        """
        arrays = [constants[name] for name in self.constants]
        constvars = [var for var, _ in self.trace.constants]
        given = [
            *zip(constvars, arrays[: len(constvars)], strict=True),
            *zip(self.trace.invars, args, strict=True),
        ]
        new: list[Any] = []
        for use, value in zip(self.states, states, strict=True):
            fed, kept = brainpy_transforms.split_key(value) if use.splits else (value, value)
            new.append(kept)
            given += zip(use.reads, _leaves(fed), strict=True)
        lifted = {id(a): value for a, value in zip(self._arrays, arrays, strict=True)}
        value_of = jaxprs.evaluate(self.eqns, given, lifted, self.drop)
        for number, use in enumerate(self.states):
            if use.writes is not None:
                tree: Any = jax.tree_util.tree_structure(use.value)
                new[number] = tree.unflatten(map(value_of, use.writes))
        result = self.trace.result_tree.unflatten(map(value_of, self.trace.result))
        return result, new, read(value_of)

    def fingerprint(self, *extra: object) -> str:
        """Return a digest of all that decides the program, and of what each argument of it is.

        Where this very run had the step compiled, the module stands for the equations, together
        with what enters them where: it is byte for byte the same if they are, and its bytes are at
        hand. Programs that call back different Python have different fingerprints, though this
        Python is in no digest: they are numbered, from nothing on, in the order of their runs.

        Parameters
        ----------
        *extra
            What else tells the program from others, by its ``repr``.
        """
        model = type(self.call.runner.target).__name__
        forms = [(k, signature(v)) for k, v in (self.constants | self.state).items()]
        splits = [use.splits for use in self.states]
        told = [model, self.names, self.written, splits, forms, self.notes, *extra]
        told += [self.removed, self.reasons]
        told += [self.components, brainevent_kernels.lowering_settings()]
        compilation, known = self.trace.compilation, self._known.fingerprints
        others = repr([*told, self._order]).encode()
        key: Hashable
        if compilation is not None:
            key = compilation.digest, digest_of(others + self._uses())
        elif self.trace.jaxpr is not None:
            # The very same jaxpr, of which the same equations are left: nothing else decides.
            known = self._known.traced.setdefault(self.trace.jaxpr, {})
            left = tuple(map(id, self.eqns)), tuple(map(id, self.dropped)), self.drop is None
            key = digest_of(others), left
        else:
            return self._numbered(self._fingerprint(told))
        if key not in known:
            known[key] = self._fingerprint(told)
        return self._numbered(known[key])

    def _numbered(self, found: str) -> str:
        """Return the fingerprint of the program that calls back what this one calls."""
        calling = [eqn for eqn in self.eqns if id(eqn) in self.callers]
        called = tuple(
            callable_key(one) for eqn in calling for one in jaxprs.callbacks(eqn, self.drop)
        )
        if not calling:
            return found
        numbers = self._known.called.setdefault(found, {})
        number = numbers.setdefault(called, len(numbers))
        return found if number == 0 else digest_of(f"{found} {number}".encode())

    def _uses(self) -> bytes:
        """Return what enters the traced equations where, as bytes."""
        trace = self.trace
        variables = [var for var, _ in trace.constants] + list(trace.invars)
        variables += [var for use in trace.states for var in use.reads]
        results = [*trace.result, *(atom for use in trace.states for atom in use.writes or ())]
        inner = repr(self._survey.occurrences).encode()
        return inner + jaxprs.uses(trace.eqns, variables, results)

    def _fingerprint(self, told: list[object]) -> str:
        atoms = [var for var, _ in self.trace.constants] + self.trace.invars
        atoms = [*atoms, *(var for use in self.states for var in use.reads), *self.outs]
        atoms = [atom for atom in atoms if not any(atom is one for one in self.dropped)]
        numbers = {id(one): number for number, one in enumerate(self._arrays)}
        return jaxprs.fingerprint(self.eqns, atoms, told, self.drop, numbers)
