"""The leaves of trees by name: arguments, states and results; knows no trace and no program."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from brainpy_probe.live import seams

__all__ = ["Leaves", "form", "named_inputs", "named_leaves", "named_results", "shaped", "unused"]

Leaves = dict[str, Any]


def named_leaves(name: str, tree: Any) -> Leaves:
    """Return a tree's leaves by name: the tree's own where it is one leaf, else with its path."""
    if isinstance(tree, (jax.Array, np.ndarray)):
        return {name or "value": tree}
    if isinstance(tree, dict) and type(tree) is not dict:
        return _named_entries(name, tree)
    array = seams.take("array")
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: isinstance(x, array))
    return {
        _joined(name, path): leaf.value if isinstance(leaf, array) else leaf for path, leaf in flat
    }


def _named_entries(name: str, tree: dict[Any, Any]) -> Leaves:
    """Name the leaves of a dict of another class by its keys, which JAX may not know.

    BrainPy's DotDict is such a one; it flattens its entries in their own order.
    """
    named: Leaves = {}
    for key, value in tree.items():
        named |= named_leaves(f"{name}.{key}" if name else str(key), value)
    leaves = jax.tree_util.tree_leaves(tree)
    same = [a is b for a, b in zip(named.values(), leaves, strict=False)]
    if len(named) == len(leaves) and all(same):
        return named
    return {f"{name}.{position}": leaf for position, leaf in enumerate(leaves)}


def _joined(name: str, path: Sequence[Any]) -> str:
    parts = [str(getattr(p, "key", getattr(p, "idx", getattr(p, "name", p)))) for p in path]
    return ".".join([name, *parts] if name else parts) or "value"


def named_inputs(xs: tuple[Any, ...], user_inputs: int | None, leading: tuple[str, str]) -> Leaves:
    """Name what a step or a loop takes: BrainPy's own times and indices, then the user's inputs.

    Parameters
    ----------
    xs : tuple
        All of it.
    user_inputs : int or None
        How many entries of ``xs`` are the user's; None if the runner gave no index.
    leading : (str, str)
        Names for the time and the index. The index leads, and up to BrainPy 2.3 the time before
        it, where a runner gives them.
    """
    own = 0 if user_inputs is None else len(xs) - user_inputs
    if own not in (1, 2):
        own = 0
    rest = xs[own:]
    named = dict(zip(leading[-own:], xs, strict=False)) if own else {}
    return named | named_leaves("inputs", rest[0] if len(rest) == 1 else rest)


def named_results(result: Any) -> dict[str, Leaves]:
    """Name what a step returns: ``(outputs, monitors)``, the monitors being a dict or None."""
    match result:
        case (outputs, (dict() | None) as monitors):
            pass
        case outputs:
            monitors = None
    return {"outputs": named_leaves("outputs", outputs), "monitors": named_leaves("", monitors)}


def unused(name: str, taken: set[str]) -> str:
    """Return the name, or the name with the first number that makes it new, and take it."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    taken.add(chosen)
    return chosen


@functools.lru_cache(maxsize=1024)
def shaped(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Return the form of a value that is not known; a run has few, and JAX takes long for one."""
    made: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]
    return made


def form(value: Any) -> tuple[object, ...]:
    """Return a value's shape, dtype and, over several devices, its place, for comparison."""
    dtype = getattr(value, "dtype", None)
    place = _place(value) if isinstance(value, jax.Array) else ""
    return np.shape(value), type(value).__name__ if dtype is None else _printed(dtype), place


def _place(array: jax.Array) -> str:
    sharding = array.sharding
    return "" if isinstance(sharding, jax.sharding.SingleDeviceSharding) else str(sharding)


@functools.lru_cache(maxsize=256)
def _printed(dtype: Any) -> str:
    """Print an element type: NumPy takes long for it, and a model has few."""
    return str(dtype)
