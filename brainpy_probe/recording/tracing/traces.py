"""The records of a traced function and of a loop: jaxpr, Variables, arguments, results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax

from brainpy_probe.compat.types import (
    Args,
    Array,
    Atom,
    Equation,
    Jaxpr,
    Kwargs,
    Pytree,
    PyTreeDef,
    Var,
    Variable,
)
from brainpy_probe.recording.modules.compilation import Compilation

__all__ = ["InnerEvents", "LoopRun", "NativeResults", "StateUse", "StepTrace", "is_same_run"]


@dataclass(frozen=True)
class StateUse:
    """A Variable that a traced function reads or writes.

    Attributes
    ----------
    variable : Any
        The Variable itself.
    value : Any
        Its value before the function ran, an array or a pytree of arrays.
    reads : list of Var
        The jaxpr's input variables for the leaves of the value.
    writes : list of Var or Literal, or None
        The jaxpr's outputs for the new leaves; None if the function does not write the Variable.
    splits : bool
        Whether the Variable is a random state that BrainPy splits before the function runs: the
        function takes the first half, and the Variable keeps the second half.
    """

    variable: Variable
    value: Pytree
    reads: list[Var]
    writes: list[Atom] | None
    splits: bool = False


@dataclass(frozen=True)
class NativeResults:
    """The results of a native loop or function.

    Attributes
    ----------
    results : list of arrays
        The leaves of its return value, in the order of the trace's ``result``.
    after : list
        The value of each Variable afterwards; None for a Variable that it does not write.
    """

    results: list[Array]
    after: list[Pytree]


@dataclass(frozen=True)
class StepTrace:
    """A function that BrainPy has traced: its equations, and the Variables that it uses.

    Attributes
    ----------
    eqns : sequence of equations
        The equations, in their order.
    constants : list of (Var, array)
        The arrays that the function closes over.
    args, kwargs
        The arguments of the traced call.
    invars : list of Var
        The input variables for the leaves of the arguments.
    states : list of StateUse
        The Variables, in the order of the trace.
    result : list of Var or Literal
        The leaves of the return value.
    result_tree : PyTreeDef
        The structure of the return value.
    jaxpr : Jaxpr or None
        The jaxpr, if this object belongs to this trace alone. JAX never changes it.
    compilation : Compilation or None
        The module that JAX compiled for the function in this call, if there is exactly one.
    includes_loop : bool
        Whether the function is the whole run, with its loop over time.
    native : NativeResults or None
        The results of the native function, if they are known.
    """

    eqns: Sequence[Equation]
    constants: list[tuple[Var, Array]]
    args: Args
    kwargs: Kwargs
    invars: list[Var]
    states: list[StateUse]
    result: list[Atom]
    result_tree: PyTreeDef
    jaxpr: Jaxpr | None = None
    compilation: Compilation | None = None
    includes_loop: bool = False
    native: NativeResults | None = None


@dataclass(frozen=True)
class LoopRun:
    """One outermost ``jax.lax.scan`` of a call.

    Attributes
    ----------
    step : StepTrace
        The traced body: it takes the carry and an entry of ``xs``, and returns the next carry and
        an entry of ``ys``.
    carry : pytree of arrays
        The initial carry, without the Variables.
    xs : pytree of arrays
        The scanned arrays.
    options : dict
        ``length``, ``reverse`` and ``unroll``.
    carried : list of int
        The positions of the Variables that the native loop carries, in its order. The loop closes
        over the other Variables.
    native : NativeResults or None
        The results of the native loop: the last carry, and the results of all steps.
    """

    step: StepTrace
    carry: Pytree
    xs: Pytree
    options: dict[str, Any]
    carried: list[int]
    native: NativeResults | None = None

    @property
    def length(self) -> int:
        """The number of steps."""
        length = self.options["length"]
        if length is None:
            length = len(jax.tree_util.tree_leaves(self.xs)[0])
        return int(length)


def is_same_run(upcoming: LoopRun | StepTrace, run: LoopRun | StepTrace) -> bool:
    """Return whether two records have the same objects, apart from compilation and results."""
    if type(upcoming) is not type(run):
        return False
    later = {"compilation", "native"}
    names = [field.name for field in fields(upcoming) if field.name not in later]
    pairs = [(getattr(upcoming, name), getattr(run, name)) for name in names]
    return all(
        is_same_run(a, b) if isinstance(a, StepTrace) and isinstance(b, StepTrace) else a is b
        for a, b in pairs
    )


@dataclass
class InnerEvents:
    """Events within an outermost loop or compiled function, recorded up to BrainPy 2.6.

    Attributes
    ----------
    scan : tuple or None
        The operands and parameters of the last scan that ran outside of any trace.
    split : dict or None
        The values of a compiled function's Variables just before BrainPy split the random states.
    """

    scan: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    split: dict[Any, Any] | None = None
