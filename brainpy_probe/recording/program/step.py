"""A traced step with named states and arrays, which can be evaluated within another trace."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from brainpy_probe.compat import brainevent_kernels, brainpy_transforms
from brainpy_probe.compat.types import Array, Atom, Equation, NamedArrays, Pytree, Var, Variable
from brainpy_probe.errors import InsideTransformation
from brainpy_probe.format.digests import digest_of
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model.pytrees import (
    leaf_names,
    named_leaves,
    shape_and_dtype,
    signature,
    unique_name,
    units,
)
from brainpy_probe.recording.model.scopes import names_of
from brainpy_probe.recording.program.equations import jaxprs
from brainpy_probe.recording.program.equations.evaluation import evaluate
from brainpy_probe.recording.program.fingerprint import fingerprint
from brainpy_probe.recording.tracing.callables import callable_key
from brainpy_probe.recording.tracing.traces import StepTrace

__all__ = ["FingerprintCache", "TracedStep", "aval_of", "refuse_tracers"]

_leaves = jax.tree_util.tree_leaves
# The name of an array that no object of the model holds, such as one that the step creates.
_UNNAMED = "unnamed"


def refuse_tracers(*trees: Pytree) -> None:
    """Check that no value of a run is a tracer.

    Raises
    ------
    InsideTransformation
        If a value is a tracer: the run is part of another function's trace.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in _leaves(trees)):
        raise InsideTransformation


def aval_of(atom: Atom) -> jax.ShapeDtypeStruct:
    """Return the shape and dtype of a variable or a literal of a jaxpr."""
    return shape_and_dtype(atom.aval.shape, atom.aval.dtype)


@dataclass(frozen=True)
class FingerprintCache:
    """The fingerprints of the steps of one capture.

    Attributes
    ----------
    fingerprints : dict
        Fingerprints by the digest of the compiled module, and a digest of everything else.
    traced : mapping
        Fingerprints by the jaxpr, for as long as the jaxpr exists.
    called : dict
        For each fingerprint, the Python functions that its programs call, each with a number.
    """

    fingerprints: dict[Hashable, str] = field(default_factory=dict)
    traced: weakref.WeakKeyDictionary[Any, dict[Hashable, str]] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    called: dict[str, dict[Hashable, int]] = field(default_factory=dict)


class TracedStep:
    """A traced step. Equations can be removed from it, and it can run inside another trace.

    Parameters
    ----------
    call : RunningCall
        The call in which the step ran.
    trace : StepTrace
        The trace.
    cache : FingerprintCache
        The fingerprints of the capture's earlier steps.

    Attributes
    ----------
    states : list of StateUse
        The Variables, in the order of their names, which is also the program's order.
    names : list of str
        The names of the Variables.
    units, constant_units : dict
        The units of the Variables' leaves by name, for leaves with units; and the units of the
        model's arrays.
    written : list of bool
        For each Variable, whether the step writes it.
    outs : list of Var or Literal
        The leaves of the step's return value, then of the Variables that it writes.
    eqns : list of equations
        The equations that :meth:`run` evaluates; initially all.
    callers : frozenset of int
        The ``id`` of each equation that calls Python at run time, at any depth.
    drop : callable or None
        Returns whether an equation, at any depth, is left out.
    dropped : list of Var
        Arguments and results of the step that are not part of the program.
    removed : list of str
        The parts of the step that were removed because they call Python.
    reasons : list of str
        Further reasons why XLA may compile the program to code that rounds differently from the
        run's.
    notes : list of str
        Limitations of the program.

    Raises
    ------
    InsideTransformation
        If the call ran inside another JAX transformation.
    """

    def __init__(self, call: RunningCall, trace: StepTrace, cache: FingerprintCache) -> None:
        self.call, self.trace = call, trace
        self._cache = cache
        self.notes: list[str] = []
        self.removed: list[str] = []
        self.reasons: list[str] = []
        self.dropped: list[Var] = []
        self.drop: jaxprs.Predicate | None = None
        self.eqns: list[Equation] = list(trace.eqns)
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
        # Sorted by name, which is the same in every process. BrainPy's own order may depend on the
        # addresses of the objects (2.4.6, 2.6.0: object_transform/controls.py, dicts keyed by id).
        self._order = sorted(range(len(names)), key=names.__getitem__)
        self.states = self.in_order(trace.states)
        self.names = self.in_order(names)
        self.written = [use.writes is not None or use.splits for use in self.states]
        self.outs = list(trace.result)
        self.outs += [atom for use in self.states for atom in use.writes or ()]
        taken.clear()
        constants = [unique_name(name or _UNNAMED, taken) for name in found.arrays]
        self.constants: NamedArrays = dict(zip(constants, self._arrays, strict=True))
        self.constant_units = {
            constant: found.units[name]
            for constant, name in zip(constants, found.arrays, strict=True)
            if name in found.units
        }
        values = [use.value for use in self.states]
        self._leaf_names = leaf_names(list(zip(self.names, values, strict=True)))
        self.state = self.state_leaves(values)
        self.units = units(*zip(self.names, values, strict=True))

    @property
    def components(self) -> dict[str, str]:
        """The class of each component by its name."""
        return {} if self.call.components is None else self.call.components.classes

    @property
    def links(self) -> dict[str, tuple[str, str]]:
        """The names of the components that each projection connects."""
        return {} if self.call.components is None else self.call.components.links

    def in_order(self, values: Sequence[Pytree]) -> list[Pytree]:
        """Reorder one value per Variable from the trace's order to the order of the names."""
        return [values[position] for position in self._order]

    def as_traced(self, values: Sequence[Pytree]) -> list[Pytree]:
        """Reorder one value per Variable from the order of the names to the trace's order."""
        by_position = dict(zip(self._order, values, strict=True))
        return [by_position[position] for position in range(len(by_position))]

    def names_of(self, positions: Sequence[int]) -> list[str]:
        """Return the names of the leaves of Variables, by the Variables' positions in the trace."""
        names = {position: number for number, position in enumerate(self._order)}
        chosen = [names[position] for position in positions]
        return [name for number in chosen for name in self._leaf_names[number]]

    def final_state_avals(self) -> NamedArrays:
        """Return the shapes and dtypes of the Variables' values after the step, by name."""
        avals: NamedArrays = {}
        for leaves, use in zip(self._leaf_names, self.states, strict=True):
            atoms = use.reads if use.writes is None else use.writes
            avals |= dict(zip(leaves, map(aval_of, atoms), strict=True))
        return avals

    def writes(self) -> list[tuple[Atom, str]]:
        """Return the atoms that the step writes, each with the name of the state's leaf."""
        return [
            (atom, leaf)
            for leaves, use in zip(self._leaf_names, self.states, strict=True)
            for atom, leaf in zip(use.writes or (), leaves, strict=False)
        ]

    def state_leaves(self, values: Sequence[Pytree]) -> NamedArrays:
        """Return the leaves of the Variables' values by name."""
        return named_leaves(*zip(self.names, values, strict=True))

    def state_values(self, state: NamedArrays) -> list[Pytree]:
        """Return the Variables' values, as pytrees, given their leaves by name."""
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
        args: Sequence[Array],
        states: Sequence[Variable],
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
            Called at the end with a function that returns the value of a jaxpr variable.

        Returns
        -------
        result, states, read
            The step's result, the new value of each Variable, and the result of ``read``.
        """
        arrays = [constants[name] for name in self.constants]
        constvars = [var for var, _ in self.trace.constants]
        inputs = [
            *zip(constvars, arrays[: len(constvars)], strict=True),
            *zip(self.trace.invars, args, strict=True),
        ]
        new: list[Pytree] = []
        for use, value in zip(self.states, states, strict=True):
            used, kept = brainpy_transforms.split_key(value) if use.splits else (value, value)
            new.append(kept)
            inputs += zip(use.reads, _leaves(used), strict=True)
        lifted = {id(a): value for a, value in zip(self._arrays, arrays, strict=True)}
        value_of = evaluate(self.eqns, inputs, lifted, self.drop)
        for number, use in enumerate(self.states):
            if use.writes is not None:
                tree: Pytree = jax.tree_util.tree_structure(use.value)
                new[number] = tree.unflatten(map(value_of, use.writes))
        result = self.trace.result_tree.unflatten(map(value_of, self.trace.result))
        return result, new, read(value_of)

    def fingerprint(self, *extra: object) -> str:
        """Return a digest of everything on which the program depends, and of its arguments.

        If this run compiled the step, the digest of the compiled module replaces the digest of the
        equations, together with the use of each argument: equal equations give equal modules, and
        the module's digest is already known. Programs that call different Python functions have
        different fingerprints: functions can't be digested, so they are numbered in the order of
        their runs.

        Parameters
        ----------
        *extra
            Further objects on which the program depends; their ``repr`` is included.
        """
        model = self.call.title
        signatures = [(k, signature(v)) for k, v in (self.constants | self.state).items()]
        splits = [use.splits for use in self.states]
        properties: list[object] = [model, self.names, self.written, splits, signatures]
        properties += [self.notes, *extra, self.removed, self.reasons]
        properties += [self.components, brainevent_kernels.lowering_settings()]
        compilation, known = self.trace.compilation, self._cache.fingerprints
        others = repr([*properties, self._order]).encode()
        key: Hashable
        if compilation is not None:
            key = compilation.digest, digest_of(others + self._uses())
        elif self.trace.jaxpr is not None:
            # The jaxpr and the remaining equations are the same: the program depends on nothing
            # else.
            known = self._cache.traced.setdefault(self.trace.jaxpr, {})
            kept = tuple(map(id, self.eqns)), tuple(map(id, self.dropped)), self.drop is None
            key = digest_of(others), kept
        else:
            return self._numbered(self._fingerprint(properties))
        if key not in known:
            known[key] = self._fingerprint(properties)
        return self._numbered(known[key])

    def _numbered(self, found: str) -> str:
        """Extend a fingerprint by the number of the Python functions that the program calls."""
        calling = [eqn for eqn in self.eqns if id(eqn) in self.callers]
        called = tuple(
            callable_key(callback)
            for eqn in calling
            for callback in jaxprs.callbacks(eqn, self.drop)
        )
        if not calling:
            return found
        numbers = self._cache.called.setdefault(found, {})
        number = numbers.setdefault(called, len(numbers))
        return found if number == 0 else digest_of(f"{found} {number}".encode())

    def _uses(self) -> bytes:
        """Return which arguments each equation uses, as bytes."""
        trace = self.trace
        variables = [var for var, _ in trace.constants] + list(trace.invars)
        variables += [var for use in trace.states for var in use.reads]
        results = [*trace.result, *(atom for use in trace.states for atom in use.writes or ())]
        inner = repr(self._survey.occurrences).encode()
        return inner + jaxprs.uses(trace.eqns, variables, results)

    def _fingerprint(self, properties: list[object]) -> str:
        atoms = [var for var, _ in self.trace.constants] + self.trace.invars
        atoms = [*atoms, *(var for use in self.states for var in use.reads), *self.outs]
        atoms = [atom for atom in atoms if not any(atom is var for var in self.dropped)]
        numbers = {id(array): number for number, array in enumerate(self._arrays)}
        return fingerprint(self.eqns, atoms, properties, self.drop, numbers)
