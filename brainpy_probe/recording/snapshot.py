"""The values of a model's Variables before and after a run, compared by identity.

No value is copied. A ``jax.Array`` is immutable, so a run assigns a new array to each Variable that
it changes. Other values are left out: an unused random state has its seed in a NumPy array, and
makes a key of it at the first read (brainstate 0.5.4, 0.6.0: random).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model
from brainpy_probe.compat.types import Pytree, Variable

__all__ = ["Snapshot", "copy_containers", "have_same_leaves"]


class Snapshot:
    """The values of Variables at the beginning and at the end of a run.

    Parameters
    ----------
    variables : iterable of (str, Variable)
        The Variables with their names.

    Attributes
    ----------
    names : dict
        The name of each Variable by its ``id``.
    """

    def __init__(self, variables: Iterable[tuple[str, Variable]]) -> None:
        self.names: dict[int, str] = {}
        # Kept alive, so that no other object gets one of these ids.
        self._variables: list[Variable] = []
        self._before: dict[int, Any] = {}
        for name, variable in variables:
            value = _value(variable)
            if isinstance(value, jax.Array) or _consists_of_arrays(value):
                self.names[id(variable)] = name
                self._variables.append(variable)
                self._before[id(variable)] = value
        self._after: dict[int, Any] | None = None

    def end(self) -> None:
        """Store the values at the end of the run."""
        self._after = {id(variable): _value(variable) for variable in self._variables}

    @property
    def ended(self) -> bool:
        """Whether the values at the end are stored."""
        return self._after is not None

    def final_values(self) -> list[Pytree]:
        """Return the values at the end of the run; an empty list before that."""
        return list((self._after or {}).values())

    def includes(self, variable: Variable) -> bool:
        """Return whether the snapshot includes a Variable."""
        return id(variable) in self.names

    def before(self, variable: Variable) -> Pytree:
        """Return a Variable's value before the run."""
        return self._before[id(variable)]

    def after(self, variable: Variable) -> Pytree:
        """Return a Variable's value after the run."""
        return (self._after or {})[id(variable)]

    def changed(self) -> list[Variable]:
        """Return the Variables whose value is a different object after the run."""
        if self._after is None:
            return []
        after = self._after
        return [
            variable
            for variable in self._variables
            if not have_same_leaves(self._before[id(variable)], after[id(variable)])
        ]


def copy_containers(tree: Pytree) -> Pytree:
    """Copy a pytree's containers, not its leaves: predict adds ``ts`` to the dict of monitors."""
    return jax.tree_util.tree_map(lambda leaf: leaf, tree)


def have_same_leaves(first: Pytree, second: Pytree) -> bool:
    """Return whether two pytrees have the same array objects as leaves."""
    if first is second:
        return True
    if isinstance(first, jax.Array) or isinstance(second, jax.Array):
        return False
    a_leaves, b_leaves = jax.tree_util.tree_leaves(first), jax.tree_util.tree_leaves(second)
    same_number = len(a_leaves) == len(b_leaves)
    return same_number and all(a is b for a, b in zip(a_leaves, b_leaves, strict=True))


def _consists_of_arrays(tree: Pytree) -> bool:
    return all(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(tree))


def _value(variable: Variable) -> Pytree:
    """Return a Variable's value; copy the containers of a pytree, because a run may change them."""
    value = brainpy_model.raw_value(variable)
    if isinstance(value, jax.Array):
        return value
    return jax.tree_util.tree_map(lambda leaf: leaf, value)
