"""Evaluates on one device a computation that a model distributes over several devices.

The body of a ``shard_map`` or ``pmap`` computes one part of each array, and reads other parts by
collective operations such as ``psum``. ``jax.vmap`` with the names of the mesh's axes computes all
parts, and supports the same collective operations. Mesh axes that are left to XLA (``auto``, or not
among ``axis_names``) do not divide the arrays of the body.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Array, Equation
from brainpy_probe.recording.program.equations.evaluation import Body, Rule

__all__ = ["RULES"]

_summed: Any = jax.lax.psum

# For each axis of an array, the axes of the mesh over which it is distributed.
_Axes: TypeAlias = Sequence[Sequence[str]]


def _shard_map(eqn: Equation, operands: Sequence[Array], bodies: Sequence[Body]) -> list[Array]:
    """Compute all parts of a ``shard_map``.

    Parameters ``in_specs``, ``out_specs`` and ``newly_manual_axes`` on JAX 0.10.2 and 0.12.0,
    ``in_names``, ``out_names`` and ``auto`` on 0.4.23 and 0.4.30.
    """
    params = eqn.params
    mesh = dict(params["mesh"].shape)
    manual = params.get("newly_manual_axes", mesh.keys() - params.get("auto", ()))
    sizes = {name: size for name, size in mesh.items() if name in manual}
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


def _split(array: Array, axes: _Axes, sizes: Mapping[str, int]) -> Array:
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


def _join(parts: Array, axes: _Axes, mesh: Sequence[str]) -> Array:
    """Join the parts of an array, which have all axes of the mesh first."""
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


def _pmap(eqn: Equation, operands: Sequence[Array], bodies: Sequence[Body]) -> list[Array]:
    """Compute all parts of a ``pmap``, which has its own primitive up to JAX 0.4.30."""
    params, (body,) = eqn.params, bodies
    names = {"axis_name": params["axis_name"], "axis_size": params["axis_size"]}
    return list(jax.vmap(body, params["in_axes"], list(params["out_axes"]), **names)(*operands))


def _psum(eqn: Equation, operands: Sequence[Array], _: Sequence[Body]) -> list[Array]:
    """Sum over axes of the mesh, even if the primitive requires values that vary along them."""
    groups = eqn.params.get("axis_index_groups")
    return list(_summed(tuple(operands), eqn.params["axes"], axis_index_groups=groups))


def _all_gather(eqn: Equation, operands: Sequence[Array], _: Sequence[Body]) -> list[Array]:
    params, (array,) = eqn.params, operands
    axis = params["all_gather_dimension"]
    parts = jnp.moveaxis(_gathered(array, _names(eqn)), 0, axis)
    return [_merged(parts, axis) if params["tiled"] else parts]


def _names(eqn: Equation) -> Sequence[str]:
    names = eqn.params["axis_name"]
    return names if isinstance(names, (tuple, list)) else (names,)


def _gathered(array: Array, names: Sequence[str]) -> Array:
    """Return the parts along some axes of the mesh as the first axis of an array."""
    shape = array.shape
    for name in reversed(names):
        array = jax.lax.all_gather(array, name)
    return array.reshape(-1, *shape)


def _merged(array: Array, axis: int) -> Array:
    """Merge an axis with the next one."""
    shape = array.shape
    return array.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _own(array: Array, names: Sequence[str], axis: int) -> Array:
    """Divide an axis into one piece for each part, and return the piece of this part."""
    place, count = jax.lax.axis_index(names), _summed(1, names)
    size = array.shape[axis] // count
    return jax.lax.dynamic_slice_in_dim(array, place * size, size, axis)


# ``jax.vmap`` computes the following collective operations only along one axis of the mesh.


def _along_several(rule: Rule) -> Rule:
    """Apply a rule along several axes, and the primitive itself along one axis."""

    def applied(eqn: Equation, operands: Sequence[Array], bodies: Sequence[Body]) -> list[Array]:
        if len(_names(eqn)) == 1:
            return jax_tracing.bind_equation(eqn, operands)
        return rule(eqn, operands, bodies)

    return applied


def _reduce_scatter(eqn: Equation, operands: Sequence[Array], _: Sequence[Body]) -> list[Array]:
    (array,), axis = operands, eqn.params["scatter_dimension"]
    part = _own(_summed(array, _names(eqn)), _names(eqn), axis)
    return [part if eqn.params["tiled"] else jax.lax.squeeze(part, [axis])]


def _all_to_all(eqn: Equation, operands: Sequence[Array], _: Sequence[Body]) -> list[Array]:
    """Exchange pieces of parts. The primitive has the rank of its operand, ``tiled`` or not."""
    (array,), joined = operands, eqn.params["concat_axis"]
    parts = _own(_gathered(array, _names(eqn)), _names(eqn), eqn.params["split_axis"] + 1)
    return [_merged(jnp.moveaxis(parts, 0, joined), joined)]


def _ppermute(eqn: Equation, operands: Sequence[Array], _: Sequence[Body]) -> list[Array]:
    (array,), names = operands, _names(eqn)
    parts = _gathered(array, names)
    sources = {target: source for source, target in eqn.params["perm"]}
    places = jnp.array([sources.get(target, -1) for target in range(len(parts))])
    source = places[jax.lax.axis_index(names)]
    return [jnp.where(source < 0, jnp.zeros_like(array), parts[source])]


def _unchanged(_: Equation, operands: Sequence[Array], __: Sequence[Body]) -> list[Array]:
    return list(operands)


# By the name of the primitive. JAX 0.10.2, 0.12.0: psum_invariant, all_gather_invariant, pvary,
# reshard, mesh_cast; 0.4.23, 0.4.30: psum2, pbroadcast, xla_pmap.
RULES: Mapping[str, Rule] = {
    "shard_map": _shard_map,
    "xla_pmap": _pmap,
    "psum_invariant": _psum,
    "psum2": _psum,
    "all_gather": _along_several(_all_gather),
    "all_gather_invariant": _all_gather,
    "reduce_scatter": _along_several(_reduce_scatter),
    "all_to_all": _along_several(_all_to_all),
    "ppermute": _along_several(_ppermute),
    "pvary": _unchanged,
    "pbroadcast": _unchanged,
    "sharding_constraint": _unchanged,
    "reshard": _unchanged,
    "mesh_cast": _unchanged,
    "device_put": _unchanged,
}
