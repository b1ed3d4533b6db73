"""Names the leaves of pytrees: arguments, states and results."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model
from brainpy_probe.compat.types import DType, NamedArrays, Pytree

__all__ = [
    "leaf_names",
    "leaf_units",
    "named_arguments",
    "named_inputs",
    "named_leaves",
    "named_results",
    "shape_and_dtype",
    "signature",
    "unique_name",
    "units",
]


def named_leaves(*named: tuple[str, Any]) -> NamedArrays:
    """Return the leaves of pytrees by name.

    A pytree that is one leaf has its own name; other leaves have the name and their path. The names
    are unique and depend only on the structure. If two paths would get the same name, as in
    ``{"a": {"b": x}, "a.b": y}``, the shortest path gets it, and the others are written as in
    Python: ``a['b']``.

    Parameters
    ----------
    *named : (str, pytree)
        The pytrees with their names, which may be empty.
    """
    flat = [(name, path, leaf) for name, tree in named for path, leaf in _flat(tree)]
    names = [_joined(name, path) for name, path, _ in flat]
    if len(set(names)) < len(names):
        names = _disambiguated(names, [(name, path) for name, path, _ in flat])
    return dict(zip(names, (leaf for _, _, leaf in flat), strict=True))


def units(*named: tuple[str, Any]) -> dict[str, str]:
    """Return the units of the leaves of pytrees by name, for the leaves that have units."""
    plain = (jax.Array, np.ndarray)  # most states: a known call must cost little
    if brainpy_model.quantity_class() is None or all(isinstance(tree, plain) for _, tree in named):
        return {}
    leaves = [leaf for _, tree in named for _, leaf in _flat_values(tree)]
    return {
        name: str(leaf.unit)
        for name, leaf in zip(named_leaves(*named), leaves, strict=True)
        if _is_quantity(leaf)
    }


def leaf_names(named: Sequence[tuple[str, Any]]) -> list[list[str]]:
    """Return the names of :func:`named_leaves`, as one list for each pytree."""
    names = iter(named_leaves(*named))
    return [list(itertools.islice(names, len(_flat(tree)))) for _, tree in named]


def _flat(tree: Pytree) -> list[tuple[tuple[Any, ...], Any]]:
    """Return a pytree's leaves in JAX's order, each with its path."""
    array = brainpy_model.array_classes()
    return [
        (path, leaf.value if isinstance(leaf, array) else _mantissa(leaf))
        for path, leaf in _flat_values(tree)
    ]


def _flat_values(tree: Pytree) -> list[tuple[tuple[Any, ...], Any]]:
    """Return a pytree's leaves with their paths. A BrainPy Array or a Quantity is one leaf."""
    if isinstance(tree, (jax.Array, np.ndarray)):
        return [((), tree)]
    if isinstance(tree, dict) and type(tree) is not dict:
        return _flat_entries(tree)
    array = brainpy_model.array_classes()
    flat, _ = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda x: isinstance(x, array) or _is_quantity(x)
    )
    return [(tuple(map(_key, path)), leaf) for path, leaf in flat]


def _is_quantity(value: Any) -> bool:
    """Return whether a value is a number or array with a unit."""
    quantity = brainpy_model.quantity_class()
    if quantity is None or not isinstance(value, quantity):
        return False
    return len(jax.tree_util.tree_leaves(value)) == 1


def _mantissa(leaf: Any) -> Any:
    return jax.tree_util.tree_leaves(leaf)[0] if _is_quantity(leaf) else leaf


def _flat_entries(tree: dict[Any, Any]) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the leaves of a subclass of dict with its keys, which JAX may not report.

    An example is BrainPy's DotDict, which flattens its entries in a different order.
    """
    flat = [
        ((key, *path), leaf) for key, value in tree.items() for path, leaf in _flat_values(value)
    ]
    leaves = jax.tree_util.tree_leaves(tree)
    same = [_mantissa(leaf) is other for (_, leaf), other in zip(flat, leaves, strict=False)]
    if len(flat) == len(leaves) and all(same):
        return flat
    return [((position,), leaf) for position, leaf in enumerate(leaves)]


def _key(entry: Any) -> Any:
    """Return the key, index or name of an entry of a JAX key path."""
    key = next((getattr(entry, k) for k in ("key", "idx", "name") if hasattr(entry, k)), entry)
    if isinstance(key, tuple) and key and all(isinstance(part, (str, int)) for part in key):
        return ".".join(map(str, key))  # an optimizer's state, named by the paths of the parameters
    return key


def _joined(name: str, path: Sequence[Any]) -> str:
    parts = map(str, path)
    return ".".join([name, *parts] if name else parts) or "value"


def _disambiguated(names: Sequence[str], paths: Sequence[tuple[str, tuple[Any, ...]]]) -> list[str]:
    """Return a unique name for each path, given names that may be equal."""
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
            name = unique_name("".join([*first, *(f"[{key!r}]" for key in rest)]), taken)
        found.append(name)
    return found


def named_inputs(
    xs: tuple[Any, ...], user_inputs: int | None, leading: tuple[str, str]
) -> NamedArrays:
    """Name the inputs of a step or a loop: BrainPy's times and indices, then the user's inputs.

    Parameters
    ----------
    xs : tuple
        All inputs.
    user_inputs : int or None
        The number of the user's inputs in ``xs``; None if the runner passes no index.
    leading : (str, str)
        Names for the time and the index. A runner passes the index first, and up to BrainPy 2.3
        the time before the index.
    """
    own = 0 if user_inputs is None else len(xs) - user_inputs
    if own not in (1, 2):
        own = 0
    rest = xs[own:]
    named = dict(zip(leading[-own:], xs, strict=False)) if own else {}
    return named | named_leaves(("inputs", rest[0] if len(rest) == 1 else rest))


def named_arguments(args: tuple[Any, ...], parameters: Sequence[str]) -> Sequence[tuple[str, Any]]:
    """Name the arguments of a user's function after its parameters; otherwise ``inputs``."""
    if len(args) > len(parameters):
        return [("inputs", args[0] if len(args) == 1 else args)]
    return list(zip(parameters, args, strict=False))


def leaf_units(tree: Pytree) -> list[str]:
    """Return the unit of each leaf of a pytree, in JAX's order; empty for a leaf without one."""
    leaves = jax.tree_util.tree_leaves(tree, is_leaf=_is_quantity)
    return [str(leaf.unit) if _is_quantity(leaf) else "" for leaf in leaves]


def named_results(result: Pytree, *, monitored: bool = True) -> dict[str, NamedArrays]:
    """Name the results of a step: ``(outputs, monitors)``, where monitors are a dict or None.

    A run without a runner has no monitors.
    """
    match result:
        case (outputs, (dict() | None) as monitors) if monitored:
            pass
        case outputs:
            monitors = None
    return {"outputs": named_leaves(("outputs", outputs)), "monitors": named_leaves(("", monitors))}


def unique_name(name: str, taken: set[str]) -> str:
    """Return the name, or the name with the first number that makes it unique; add it to taken."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    taken.add(chosen)
    return chosen


@functools.lru_cache(maxsize=1024)
def shape_and_dtype(shape: tuple[int, ...], dtype: DType) -> jax.ShapeDtypeStruct:
    """Return a shape and dtype, cached because a run has few and JAX creates them slowly."""
    made: jax.ShapeDtypeStruct = jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]
    return made


def signature(value: Any) -> tuple[object, ...]:
    """Return a value's shape, dtype and device, for comparison.

    The device is included if it is not the default one. For an array on several devices it is the
    sharding.
    """
    dtype = getattr(value, "dtype", None)
    sharding = _printed_sharding(value.sharding) if isinstance(value, jax.Array) else ""
    return np.shape(value), type(value).__name__ if dtype is None else _printed(dtype), sharding


@functools.lru_cache(maxsize=256)
def _printed_sharding(sharding: jax.sharding.Sharding) -> str:
    """Print a sharding; a single device by its platform, or as "" if it is the default device."""
    if not isinstance(sharding, jax.sharding.SingleDeviceSharding):
        return str(sharding)
    (device,) = sharding.device_set
    platform = str(device.platform)  # type: ignore[attr-defined]
    return "" if platform == jax.default_backend() else platform


@functools.lru_cache(maxsize=256)
def _printed(dtype: DType) -> str:
    """Print a dtype, cached because a model has few dtypes and NumPy prints them slowly."""
    return str(dtype)
