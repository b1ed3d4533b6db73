"""The leaves of trees by name: arguments, states and results; knows no trace and no program."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model

__all__ = [
    "Leaves",
    "form",
    "leaf_names",
    "named_inputs",
    "named_leaves",
    "named_results",
    "shaped",
    "unused",
]

Leaves = dict[str, Any]


def named_leaves(*named: tuple[str, Any]) -> Leaves:
    """Return the leaves of trees by name: the tree's own where it is one leaf, else with its path.

    Each leaf has a name of its own, which depends on the trees' structure alone. Where two paths
    are written alike, as those of ``{"a": {"b": x}, "a.b": y}``, the shortest keeps that name, and
    the others are written as Python has them: ``a['b']``.

    Parameters
    ----------
    *named : (str, tree)
        Trees, each with its name, which may be empty.
    """
    flat = [(name, path, leaf) for name, tree in named for path, leaf in _flat(tree)]
    names = [_joined(name, path) for name, path, _ in flat]
    if len(set(names)) < len(names):
        names = _told_apart(names, [(name, path) for name, path, _ in flat])
    return dict(zip(names, (leaf for _, _, leaf in flat), strict=True))


def leaf_names(named: Sequence[tuple[str, Any]]) -> list[list[str]]:
    """Return for each tree the names that its leaves have among those of :func:`named_leaves`."""
    names = iter(named_leaves(*named))
    return [list(itertools.islice(names, len(_flat(tree)))) for _, tree in named]


def _flat(tree: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return a tree's leaves in JAX's order, each with its path."""
    if isinstance(tree, (jax.Array, np.ndarray)):
        return [((), tree)]
    if isinstance(tree, dict) and type(tree) is not dict:
        return _flat_entries(tree)
    array = brainpy_model.take("array")
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: isinstance(x, array))
    return [
        (tuple(map(_key, path)), leaf.value if isinstance(leaf, array) else leaf)
        for path, leaf in flat
    ]


def _flat_entries(tree: dict[Any, Any]) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the leaves of a dict of another class by its keys, which JAX may not know.

    BrainPy's DotDict is such a one; it flattens its entries in their own order.
    """
    flat = [((key, *path), leaf) for key, value in tree.items() for path, leaf in _flat(value)]
    leaves = jax.tree_util.tree_leaves(tree)
    same = [one is other for (_, one), other in zip(flat, leaves, strict=False)]
    if len(flat) == len(leaves) and all(same):
        return flat
    return [((position,), leaf) for position, leaf in enumerate(leaves)]


def _key(entry: Any) -> Any:
    """Return the key, index or name that an entry of one of JAX's paths has."""
    for kind in ("key", "idx", "name"):
        if hasattr(entry, kind):
            return getattr(entry, kind)
    return entry


def _joined(name: str, path: Sequence[Any]) -> str:
    parts = map(str, path)
    return ".".join([name, *parts] if name else parts) or "value"


def _told_apart(names: Sequence[str], paths: Sequence[tuple[str, tuple[Any, ...]]]) -> list[str]:
    """Return a name for each path, where some are written alike."""
    shortest: dict[str, int] = {}
    for number, name in enumerate(names):
        known = shortest.setdefault(name, number)
        if len(paths[number][1]) < len(paths[known][1]):
            shortest[name] = number
    taken = set(shortest)
    found = []
    for number, name in enumerate(names):
        if shortest[name] != number:
            base, path = paths[number]
            first = [base] if base else list(map(str, path[:1]))
            rest = path[len(first) - bool(base) :]
            name = unused("".join([*first, *(f"[{key!r}]" for key in rest)]), taken)
        found.append(name)
    return found


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
    return named | named_leaves(("inputs", rest[0] if len(rest) == 1 else rest))


def named_results(result: Any) -> dict[str, Leaves]:
    """Name what a step returns: ``(outputs, monitors)``, the monitors being a dict or None."""
    match result:
        case (outputs, (dict() | None) as monitors):
            pass
        case outputs:
            monitors = None
    return {"outputs": named_leaves(("outputs", outputs)), "monitors": named_leaves(("", monitors))}


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
