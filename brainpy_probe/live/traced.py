"""A step that BrainPy traced, its states and arrays named, to be evaluated again; knows no loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from brainpy_probe.errors import CannotCapture
from brainpy_probe.live import jaxprs, seams
from brainpy_probe.live.calls import RunningCall, StepTrace
from brainpy_probe.live.leaves import Leaves, form, named_leaves, unused
from brainpy_probe.live.modeltree import ModelNames

__all__ = ["TracedStep"]


class TracedStep:
    """A traced step whose equations can be chosen and which can be run inside another trace.

    Parameters
    ----------
    call : RunningCall
        The call in which it ran.
    trace : StepTrace
        What BrainPy traced.

    Attributes
    ----------
    jaxpr : jaxpr
        The step's open jaxpr: arguments, then states, to result, then written states.
    eqns : list of equations
        Those that :meth:`run` evaluates; at first all of them.
    dropped : list of Var
        Arguments and results of the jaxpr that are no part of the program.
    written : list of bool
        For each state whether the step writes it.
    notes : list of str
        What a reader of the program must know.

    Raises
    ------
    CannotCapture
        If the call ran inside another JAX transformation.
    """

    def __init__(self, call: RunningCall, trace: StepTrace) -> None:
        entered = jax.tree_util.tree_leaves((trace.values, trace.args, call.xs))
        if any(isinstance(one, jax.core.Tracer) for one in entered):
            raise CannotCapture(
                "predict ran inside another JAX transformation (jit, vmap, grad, a loop), "
                "so that it has no program of its own.",
                "Capture a predict call that is made from plain Python.",
            )
        self.call, self.trace = call, trace
        self.notes: list[str] = []
        key = trace.stateful.get_arg_cache_key(*trace.args, **trace.kwargs)
        closed = trace.stateful.get_jaxpr_by_cache(key)
        states = trace.stateful.get_state_trace_by_cache(key)
        self.jaxpr, self._consts = closed.jaxpr, list(closed.consts)
        self.eqns: list[Any] = list(self.jaxpr.eqns)
        self.dropped: list[Any] = []
        self.written = seams.is_written(states)
        self._out_tree = trace.stateful.get_out_treedef_by_cache(key)
        outer = {id(array) for array in self._consts}
        inner = jaxprs.inner_constants(self.jaxpr)
        self._hidden = [array for array in inner if id(array) not in outer]
        names = ModelNames(call.runner.target, call.runner)
        taken: set[str] = set()
        self._state_names = [
            unused(names.state(one) or getattr(one, "name", None) or "variable", taken)
            for one in states.states
        ]
        taken.clear()
        arrays = [*self._consts, *self._hidden]
        constant_names = [unused(names.array(one) or "array", taken) for one in arrays]
        self.constants: Leaves = dict(zip(constant_names, arrays, strict=True))
        self.state = self.state_leaves(trace.values)

    @property
    def outer_constants(self) -> int:
        """How many arrays the step itself closes over, those within its inner jaxprs left out."""
        return len(self._consts)

    def state_leaves(self, values: Sequence[Any]) -> Leaves:
        """Return the leaves of the states' values by name."""
        named: Leaves = {}
        for name, value in zip(self._state_names, values, strict=True):
            named |= named_leaves(name, value)
        return named

    def state_values(self, state: Leaves) -> list[Any]:
        """Return the states' values, as trees, given their leaves by name."""
        return [
            jax.tree_util.tree_unflatten(
                jax.tree_util.tree_structure(value),
                [state[leaf] for leaf in named_leaves(name, value)],
            )
            for name, value in zip(self._state_names, self.trace.values, strict=True)
        ]

    def run(
        self,
        constants: Leaves,
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
            The value of each state.
        read : callable, optional
            Called in the end with a function from the jaxpr's variables to their values.

        Returns
        -------
        result, states, read
            The step's result, the new value of each state, and what ``read`` returned.
        """
        values = [constants[name] for name in self.constants]
        arrays = [*self._consts, *self._hidden]
        outs, extra = jaxprs.evaluate(
            self.jaxpr,
            values[: len(self._consts)],
            [*args, *jax.tree_util.tree_leaves(list(states))],
            {id(array): value for array, value in zip(arrays, values, strict=True)},
            self.eqns,
            read,
        )
        result, made = jax.tree_util.tree_unflatten(self._out_tree, outs)
        new = [m if w else old for m, w, old in zip(made, self.written, states, strict=True)]
        return result, new, extra

    def fingerprint(self, *extra: object) -> str:
        """Return a digest of the step and of what else tells its program from others."""
        atoms = [*self.jaxpr.constvars, *self.jaxpr.invars, *self.jaxpr.outvars]
        atoms = [atom for atom in atoms if not any(atom is one for one in self.dropped)]
        forms = [(k, form(v)) for k, v in (self.constants | self.state).items()]
        model = type(self.call.runner.target).__name__
        return jaxprs.fingerprint(
            self.eqns, atoms, [model, self._state_names, self.written, forms, self.notes, *extra]
        )
