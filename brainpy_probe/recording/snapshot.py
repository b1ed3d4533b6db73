"""The values of a model's Variables before and after a run, compared by identity; copies none.

A run gives each Variable that it changes a new array, since a ``jax.Array`` never changes. What is
no ``jax.Array`` is left out: a random state that was never drawn from holds its seed in NumPy's
array, and makes a key of it when it is read (brainstate 0.5.4, 0.6.0: random).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model

__all__ = ["Snapshot", "same_leaves"]


class Snapshot:
    """The values that Variables have when this is made, and those at the end of a run.

    Parameters
    ----------
    variables : iterable of (str, Variable)
        The Variables by their names.

    Attributes
    ----------
    names : dict
        The name of each Variable by its ``id``.
    """

    def __init__(self, variables: Iterable[tuple[str, Any]]) -> None:
        self.names: dict[int, str] = {}
        # Held, so that no other object gets one of these ids meanwhile.
        self._variables: list[Any] = []
        self._before: dict[int, Any] = {}
        for name, variable in variables:
            value = _value(variable)
            if isinstance(value, jax.Array) or _consists_of_arrays(value):
                self.names[id(variable)] = name
                self._variables.append(variable)
                self._before[id(variable)] = value
        self._after: dict[int, Any] | None = None

    def end(self) -> None:
        """Take the values again: the run has ended."""
        self._after = {id(variable): _value(variable) for variable in self._variables}

    @property
    def ended(self) -> bool:
        """Whether the values at the end were taken."""
        return self._after is not None

    def ended_with(self) -> list[Any]:
        """Return the values at the end of the run; none before that."""
        return list((self._after or {}).values())

    def holds(self, variable: Any) -> bool:
        """Whether a Variable is one of these."""
        return id(variable) in self.names

    def before(self, variable: Any) -> Any:
        """Return a Variable's value before the run."""
        return self._before[id(variable)]

    def after(self, variable: Any) -> Any:
        """Return a Variable's value after the run."""
        return (self._after or {})[id(variable)]

    def changed(self) -> list[Any]:
        """Return the Variables whose value is another object after the run."""
        if self._after is None:
            return []
        after = self._after
        return [
            variable
            for variable in self._variables
            if not same_leaves(self._before[id(variable)], after[id(variable)])
        ]


def same_leaves(one: Any, other: Any) -> bool:
    """Whether two arrays, or the arrays of two trees, are the same objects."""
    if one is other:
        return True
    if isinstance(one, jax.Array) or isinstance(other, jax.Array):
        return False
    ones, others = jax.tree_util.tree_leaves(one), jax.tree_util.tree_leaves(other)
    return len(ones) == len(others) and all(a is b for a, b in zip(ones, others, strict=True))


def _consists_of_arrays(tree: Any) -> bool:
    return all(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(tree))


def _value(variable: Any) -> Any:
    """Return what a Variable holds; of a tree a copy, whose containers a run can't change."""
    value = brainpy_model.raw_value(variable)
    if isinstance(value, jax.Array):
        return value
    return jax.tree_util.tree_map(lambda leaf: leaf, value)
