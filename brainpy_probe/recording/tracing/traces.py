"""What is noted of a traced function and of a loop; knows neither how it is seen nor what for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax

from brainpy_probe.recording.modules.compilation import Compilation

__all__ = ["Given", "Inside", "LoopRun", "StateUse", "StepTrace", "is_same"]


@dataclass(frozen=True)
class StateUse:
    """A Variable that a traced function reads or writes.

    Attributes
    ----------
    variable : Any
        The Variable itself.
    value : Any
        Its value before, an array or a tree of arrays.
    reads : list of Var
        Where the leaves of the value enter the jaxpr.
    writes : list of Var or Literal, or None
        Where they leave it; None if the function does not write the Variable.
    splits : bool
        Whether the Variable is a random state that the runner splits before the function runs:
        the function takes the first half, the Variable keeps the second one.
    """

    variable: Any
    value: Any
    reads: list[Any]
    writes: list[Any] | None
    splits: bool = False


@dataclass(frozen=True)
class Given:
    """What a native loop or function gave.

    Attributes
    ----------
    results : list of arrays
        The leaves of what it returned, in the order of the trace's ``result``.
    after : list
        The value of each Variable after it; None for one that it does not write.
    """

    results: list[Any]
    after: list[Any]


@dataclass(frozen=True)
class StepTrace:
    """A function that BrainPy has traced: its equations, and the Variables that it touches.

    Attributes
    ----------
    eqns : sequence of equations
        In their order.
    constants : list of (Var, array)
        What the function closes over.
    args, kwargs
        What it was called with.
    invars : list of Var
        The leaves of its arguments.
    states : list of StateUse
        The Variables, in the order in which the trace has them.
    result : list of Var or Literal
        The leaves of what it returns.
    result_tree : PyTreeDef
        Their tree.
    jaxpr : Jaxpr or None
        What was traced, if one object stands for one trace: JAX never changes it.
    compilation : Compilation or None
        The module that JAX compiled for it in this call, if it did and that is certain.
    whole : bool
        Whether the function is the whole run, its loop included.
    given : Given or None
        What the native function gave, if that is known.
    """

    eqns: Sequence[Any]
    constants: list[tuple[Any, Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    invars: list[Any]
    states: list[StateUse]
    result: list[Any]
    result_tree: Any
    jaxpr: Any = None
    compilation: Compilation | None = None
    whole: bool = False
    given: Given | None = None


@dataclass(frozen=True)
class LoopRun:
    """One outermost ``jax.lax.scan`` of a call.

    Attributes
    ----------
    step : StepTrace
        The traced body; it takes the carry and the entry of ``xs``, and gives the next carry and
        the entry of ``ys``.
    carry : tree of arrays
        The first carry, apart from the Variables.
    xs : tree of arrays
        What is scanned over.
    options : dict
        ``length``, ``reverse``, ``unroll``.
    carried : list of int
        The Variables, by number, that the native loop carries, in its order; it closes over the
        others.
    given : Given or None
        What the native loop gave: the last carry, and the results of all steps.
    """

    step: StepTrace
    carry: Any
    xs: Any
    options: dict[str, Any]
    carried: list[int]
    given: Given | None = None

    @property
    def length(self) -> int:
        """The number of steps."""
        length = self.options["length"]
        if length is None:
            length = len(jax.tree_util.tree_leaves(self.xs)[0])
        return int(length)


def is_same(coming: LoopRun | StepTrace, run: LoopRun | StepTrace) -> bool:
    """Whether what was about to run is what ran: the very same objects, but for what it gave."""
    if type(coming) is not type(run):
        return False
    later = {"compilation", "given"}
    names = [field.name for field in fields(coming) if field.name not in later]
    pairs = [(getattr(coming, name), getattr(run, name)) for name in names]
    return all(
        is_same(a, b) if isinstance(a, StepTrace) and isinstance(b, StepTrace) else a is b
        for a, b in pairs
    )


@dataclass
class Inside:
    """What is noted within an outermost loop or compiled function, up to BrainPy 2.6.

    Attributes
    ----------
    scan : tuple or None
        The operands and the parameters of the scan that ran last outside of any trace.
    split : dict or None
        The values of a compiled function's Variables just before its random states were split.
    """

    scan: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    split: dict[Any, Any] | None = None
