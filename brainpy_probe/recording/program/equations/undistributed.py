"""Evaluates what a model computes on several devices as on one device.

The body of a ``shard_map`` or ``pmap`` computes one part of each array, and reads other parts by
collective operations such as ``psum``. ``jax.vmap`` with the names of the mesh's axes computes all
parts, and has the same collective operations.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from brainpy_probe.recording.program.equations.evaluation import Body, Rule
from brainpy_probe.recording.types import Equation

__all__ = ["RULES"]

# For each axis of an array, the axes of the mesh over which it is distributed.
_Axes: TypeAlias = Sequence[Sequence[str]]


def _shard_map(eqn: Equation, operands: Sequence[Any], bodies: Sequence[Body]) -> list[Any]:
    """Compute all parts of a ``shard_map``.

    Parameters ``in_specs``, ``out_specs`` and ``newly_manual_axes`` on JAX 0.10.2 and 0.12.0,
    ``in_names``, ``out_names`` and ``auto`` on 0.4.23 and 0.4.30.
    """
    params = eqn.params
    sizes = dict(params["mesh"].shape)
    if params.get("auto") or len(params.get("newly_manual_axes", sizes)) < len(sizes):
        raise NotImplementedError("shard_map is over some of the axes of its mesh only")
    inputs, outputs = (
        params.get(f"{kind}_specs", params.get(f"{kind}_names")) for kind in ("in", "out")
    )
    given = [_axes(spec, x.aval.ndim) for spec, x in zip(inputs, eqn.invars, strict=True)]
    made = [_axes(spec, x.aval.ndim) for spec, x in zip(outputs, eqn.outvars, strict=True)]
    (function,) = bodies
    for name in reversed(sizes):
        in_axes = [0 if name in itertools.chain(*axes) else None for axes in given]
        function = jax.vmap(function, in_axes, 0, axis_name=name, axis_size=sizes[name])
    parts = function(*[_split(x, axes, sizes) for x, axes in zip(operands, given, strict=True)])
    return [_join(part, axes, list(sizes)) for part, axes in zip(parts, made, strict=True)]


def _axes(spec: Any, ndim: int) -> _Axes:
    """Return the mesh axes for each axis of an array from a PartitionSpec, or from a dict."""
    if isinstance(spec, Mapping):  # up to JAX 0.4.30
        return [tuple(spec.get(axis, ())) for axis in range(ndim)]
    entries = [*spec, *[None] * ndim][:ndim]
    return [() if e is None else (e,) if isinstance(e, str) else tuple(e) for e in entries]


def _split(array: Any, axes: _Axes, sizes: Mapping[str, int]) -> Any:
    """Return the parts of an array, with the axes of the mesh first, in their order."""
    shape: list[int] = []
    places: dict[str, int] = {}
    for size, names in zip(array.shape, axes, strict=True):
        for name in names:
            places[name] = len(shape)
            shape.append(sizes[name])
            size //= sizes[name]
        shape.append(size)
    moved = [places[name] for name in sizes if name in places]
    return jnp.moveaxis(array.reshape(shape), moved, range(len(moved)))


def _join(parts: Any, axes: _Axes, mesh: Sequence[str]) -> Any:
    """Return an array from its parts, which have all axes of the mesh first."""
    used = list(itertools.chain(*axes))
    for place in reversed(range(len(mesh))):
        if mesh[place] not in used:  # all parts along this axis are equal
            parts = jax.lax.index_in_dim(parts, 0, place, keepdims=False)
    first = [name for name in mesh if name in used]
    order: list[int] = []
    shape: list[int] = []
    for axis, names in enumerate(axes):
        order += [*map(first.index, names), len(first) + axis]
        shape.append(parts.shape[len(first) + axis])
        for name in names:
            shape[-1] *= parts.shape[first.index(name)]
    return parts.transpose(order).reshape(shape)


def _pmap(eqn: Equation, operands: Sequence[Any], bodies: Sequence[Body]) -> list[Any]:
    """Compute all parts of a ``pmap``, which has a primitive of its own up to JAX 0.4.30."""
    params, (body,) = eqn.params, bodies
    names = {"axis_name": params["axis_name"], "axis_size": params["axis_size"]}
    return list(jax.vmap(body, params["in_axes"], list(params["out_axes"]), **names)(*operands))


def _psum(eqn: Equation, operands: Sequence[Any], _: Sequence[Body]) -> list[Any]:
    """Sum over axes of the mesh, also where the primitive needs to know what varies along them."""
    groups = eqn.params.get("axis_index_groups")
    psum: Any = jax.lax.psum
    return list(psum(tuple(operands), eqn.params["axes"], axis_index_groups=groups))


def _all_gather(eqn: Equation, operands: Sequence[Any], _: Sequence[Body]) -> list[Any]:
    params, (array,) = eqn.params, operands
    axis = params["all_gather_dimension"]
    return [jax.lax.all_gather(array, params["axis_name"], axis=axis, tiled=params["tiled"])]


def _unchanged(_: Equation, operands: Sequence[Any], __: Sequence[Body]) -> list[Any]:
    return list(operands)


# By the name of the primitive. JAX 0.10.2, 0.12.0: psum_invariant, all_gather_invariant, pvary;
# 0.4.23, 0.4.30: psum2, pbroadcast, xla_pmap.
RULES: Mapping[str, Rule] = {
    "shard_map": _shard_map,
    "xla_pmap": _pmap,
    "psum_invariant": _psum,
    "psum2": _psum,
    "all_gather_invariant": _all_gather,
    "pvary": _unchanged,
    "pbroadcast": _unchanged,
}
