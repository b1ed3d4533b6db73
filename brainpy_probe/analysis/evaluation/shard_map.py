"""Evaluates the body of a ``shard_map``, which computes a part of each array on each device.

Each operation is evaluated for all devices of the mesh before the next one, so that a collective
operation finds the values of all devices. The mesh and the axes are in Shardy's notation (jaxlib
0.10.2, 0.12.0). Up to 0.4.30 XLA writes a ``shard_map`` as custom calls, which are not evaluated.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from brainpy_probe.analysis.evaluation.arrays import CannotEvaluate, chosen_branch, combination
from brainpy_probe.analysis.explanation.attributes import integers
from brainpy_probe.analysis.explanation.order import in_order
from brainpy_probe.analysis.explanation.terms import Function, Term
from brainpy_probe.format.arrays import Array

__all__ = ["DeviceEvaluator", "shard_map"]

# Maximum number of devices: more take NumPy too long.
_MAX_DEVICES = 64
_AXIS = re.compile(r'"([^"\\]+)"=(\d+)')
_NAME = re.compile(r'"([^"\\]+)"')
_SHARDING = re.compile(r"<@([\w.$-]+), \[([^\[\]]*)\](?:, replicated=\{[^{}]*\})?>")
_ALONG = re.compile(
    r'mesh = @([\w.$-]+), axes = \[((?:#stablehlo\.axis_ref<name = "[^"]+">(?:, )?)+)\]'
)
# Maximum number of iterations of a loop with collective operations: more take too long, and
# rounding errors accumulate.
_MAX_ITERATIONS = 50

Within = Callable[[Function, Sequence[Array]], "DeviceEvaluator"]


class DeviceEvaluator(Protocol):
    """An evaluator of the operations of one device."""

    moved: float

    def knows(self, term: Term) -> bool:
        """Return whether the value of a term is known."""

    def known(self, term: Term) -> Array:
        """Return the known value of a term."""

    def assign(self, term: Term, value: Array) -> None:
        """Set the value of a term."""

    def evaluate(self, term: Term) -> Array:
        """Evaluate a term whose operands are known."""

    def within(self, function: Function, arguments: Sequence[Array]) -> DeviceEvaluator:
        """Return an evaluator of a region, for some arguments."""

    def reducer(self, function: Function) -> Callable[..., Array]:
        """Return the function of a region."""


@dataclass(frozen=True)
class _Mesh:
    """A mesh of devices, numbered in the order of its axes."""

    sizes: Mapping[str, int]

    @classmethod
    def of(cls, meshes: Mapping[str, str], name: str) -> _Mesh:
        printed = meshes.get(name, "")
        found = _AXIS.findall(printed)
        sizes = {axis: int(size) for axis, size in found}
        axes = ", ".join(f'"{axis}"={size}' for axis, size in found)
        if printed != f"<[{axes}]>":  # it may list device numbers
            raise CannotEvaluate(f"its mesh can't be read: {printed or name}")
        if math.prod(sizes.values()) > _MAX_DEVICES:
            raise CannotEvaluate(f"a shard_map over more than {_MAX_DEVICES} devices")
        return cls(sizes)

    @property
    def devices(self) -> list[dict[str, int]]:
        """The place of each device along the axes."""
        places = itertools.product(*map(range, self.sizes.values()))
        return [dict(zip(self.sizes, place, strict=True)) for place in places]

    def place(self, device: Mapping[str, int], axes: Sequence[str]) -> int:
        """Return the number of a device among the devices along some axes."""
        number = 0
        for axis in axes:
            number = number * self.sizes[axis] + device[axis]
        return number

    def along(self, axes: Sequence[str]) -> list[list[int]]:
        """Return the groups of devices whose places differ only along some axes."""
        found: dict[tuple[int, ...], dict[int, int]] = {}
        for number, device in enumerate(self.devices):
            rest = tuple(place for axis, place in device.items() if axis not in axes)
            found.setdefault(rest, {})[self.place(device, axes)] = number
        return [[group[place] for place in sorted(group)] for group in found.values()]


def shard_map(
    term: Term, operands: Sequence[Array], meshes: Mapping[str, str], within: Within
) -> list[Array]:
    """Return all results of a ``shard_map``.

    Parameters
    ----------
    term : Term
        One of its results.
    operands : sequence of ndarray
        The values of its operands.
    meshes : mapping
        The axes of the program's meshes by their names: ``{"mesh": '<["n"=4]>'}``.
    within : callable
        Returns an evaluator of its body for some arguments.

    Raises
    ------
    CannotEvaluate
        If its mesh or an operation in it is not supported.
    """
    names = {name for name, _ in _SHARDING.findall(term.attributes["out_shardings"])}
    if len(names) != 1:
        raise CannotEvaluate("a shard_map over several meshes")
    mesh = _Mesh.of(meshes, names.pop())
    count = len(mesh.devices)
    parts: list[_Parts] = [[operand] * count for operand in operands]
    return [made[0] for made in _Body(mesh, meshes).results(term, parts, [within] * count)]


# A value on each device.
_Parts = Sequence[Array]
# For each axis of an array, the axes of the mesh that divide it.
_Axes = Sequence[Sequence[str]]


@dataclass(frozen=True)
class _Body:
    mesh: _Mesh
    meshes: Mapping[str, str]

    def results(
        self, term: Term, operands: Sequence[_Parts], within: Sequence[Within]
    ) -> list[_Parts]:
        """Return the results of a ``shard_map`` on each device, from its operands on each."""
        manual = _NAME.findall(term.attributes["manual_axes"])
        given, made = (
            _divisions(term.attributes[name], manual) for name in ("in_shardings", "out_shardings")
        )
        (function,) = term.regions
        devices = self.mesh.devices
        parts = [
            [self._part(array, axes, device) for array, device in zip(arrays, devices, strict=True)]
            for arrays, axes in zip(operands, given, strict=True)
        ]
        found = self._region(function, parts, within)
        return [
            self._joined(result, axes, manual) for result, axes in zip(found, made, strict=True)
        ]

    def _region(
        self, function: Function, arguments: Sequence[_Parts], within: Sequence[Within]
    ) -> list[_Parts]:
        """Return the results of a region on each device, from its arguments on each."""
        evaluators = [
            make(function, [parts[number] for parts in arguments])
            for number, make in enumerate(within)
        ]
        controls: dict[tuple[int, ...], list[_Parts]] = {}
        for term in in_order(function.results):
            if evaluators[0].knows(term):
                continue
            if term.op == "shard_map" or _communicates(term):
                key = tuple(map(id, (*term.regions, *term.operands)))
                if key not in controls:
                    controls[key] = self._control(term, evaluators)
                found = controls[key][term.result]
            elif term.op == "partition_id":
                found = [np.asarray(number, term.dtype) for number in range(len(evaluators))]
            elif term.op in _COLLECTIVES:
                found = self._collective_results(term, evaluators)
            else:
                found = [each.evaluate(term) for each in evaluators]
            for evaluator, value in zip(evaluators, found, strict=True):
                evaluator.assign(term, value)
        return [[each.known(result) for each in evaluators] for result in function.results]

    def _control(self, term: Term, evaluators: Sequence[DeviceEvaluator]) -> list[_Parts]:
        """Return all results of an inner ``shard_map``, call, loop or condition on each device."""
        operands: list[_Parts] = [[each.known(o) for each in evaluators] for o in term.operands]
        within = [each.within for each in evaluators]
        if term.op == "shard_map":
            return self.results(term, operands, within)
        if term.op == "call":
            return self._region(term.regions[0], operands, within)
        if term.op == "while":
            condition, body = term.regions
            for _ in range(_MAX_ITERATIONS):
                if not _common_scalar(self._region(condition, operands, within)[0]):
                    return operands
                operands = self._region(body, operands, within)
            raise CannotEvaluate("a loop with collective operations runs too long")
        return self._region(chosen_branch(term, _common_scalar(operands[0])), [], within)

    def _part(self, array: Array, axes: _Axes, device: Mapping[str, int]) -> Array:
        for axis, names in enumerate(axes):
            count = math.prod(self.mesh.sizes[name] for name in names)
            array = np.split(array, count, axis)[self.mesh.place(device, names)]
        return array

    def _joined(self, parts: Sequence[Array], axes: _Axes, manual: Sequence[str]) -> list[Array]:
        """Return the whole array on each device, from the parts of a body's result."""
        found = list(parts)
        for group in self.mesh.along(manual):
            counts = [math.prod(self.mesh.sizes[n] for n in names) for names in axes]
            pieces = np.empty(counts, object)
            for number in reversed(group):  # if parts are equal, take the first
                device = self.mesh.devices[number]
                pieces[tuple(self.mesh.place(device, names) for names in axes)] = parts[number]
            whole = np.block(pieces.tolist()) if counts else parts[group[0]]
            for number in group:
                found[number] = np.asarray(whole, parts[0].dtype)
        return found

    # --- Collective operations ------------------------------------------------------------------

    def _collective_results(self, term: Term, evaluators: Sequence[DeviceEvaluator]) -> list[Array]:
        """Return the result of a collective operation on each device."""
        # A collective operation on several arrays has a result for each.
        parts = [each.known(term.operands[term.result]) for each in evaluators]
        if term.op == "collective_permute":
            return _permuted(term, parts)
        combine = combination(term.regions[0], evaluators[0].reducer) if term.regions else None
        found = [np.empty(0)] * len(parts)
        for group in self._groups(term):
            given = [parts[number] for number in group]
            made = _COLLECTIVES[term.op](term, given, combine)
            if evaluators[0].moved and combine is not None and given[0].dtype.kind == "f":
                # XLA may add in another order, as in a sum.
                sizes = _COLLECTIVES[term.op](term, list(map(np.abs, given)), combine)
                moved = given[0].dtype.type(evaluators[0].moved)
                made = [value + size * moved for value, size in zip(made, sizes, strict=True)]
            for number, value in zip(group, made, strict=True):
                found[number] = value
        if any(value.shape != term.shape for value in found):
            raise CannotEvaluate(f"the groups of {term.op} do not fit its result")
        return found

    def _groups(self, term: Term) -> list[list[int]]:
        """Return the groups of devices that exchange their parts."""
        printed = term.attributes["replica_groups"]
        along = _ALONG.search(printed)
        if along and _Mesh.of(self.meshes, along[1]).sizes == self.mesh.sizes:
            return self.mesh.along(_NAME.findall(along[2]))
        # If the operation has a channel, the numbers are those of partitions.
        by_number = "channel_handle" in term.attributes and (
            term.op == "all_to_all" or "use_global_device_ids" in term.attributes
        )
        if not by_number:
            raise CannotEvaluate(f"the groups of {term.op} can't be read: {printed}")
        return [[n for n in group if n >= 0] for group in _parse_matrix(printed)]


def _divisions(printed: str, manual: Sequence[str]) -> list[_Axes]:
    """Return the axes of the mesh that divide each array, given the shardings of several arrays."""
    found = _SHARDING.findall(printed)
    if ":(" in printed or "unreduced" in printed or printed.count("<@") != len(found):
        raise CannotEvaluate(f"its shardings can't be read: {printed}")
    return [
        [
            [name for name in _NAME.findall(axes) if name in manual]
            for axes in re.findall(r"\{([^{}]*)\}", divided)
        ]
        for _, divided in found
    ]


def _communicates(term: Term) -> bool:
    """Return whether a call, loop or condition has collective operations."""
    return term.op in ("call", "while", "if", "case") and any(
        inner.op in _COLLECTIVES
        or inner.op in ("shard_map", "partition_id")
        or _communicates(inner)
        for region in term.regions
        for inner in in_order(region.results)
    )


def _common_scalar(values: _Parts) -> int:
    """Return a scalar that must be the same on all devices."""
    found = {int(value) for value in values}
    if len(found) != 1:
        raise CannotEvaluate("the devices take different branches with collective operations")
    return found.pop()


def _parse_matrix(printed: str) -> list[list[int]]:
    """Return the rows of a printed matrix of integers."""
    try:
        rows = json.loads(printed.partition(" : ")[0])
    except ValueError as error:  # MLIR prints many elements as bytes
        raise CannotEvaluate(f"it can't be read: {printed[:80]}") from error
    return [row if isinstance(row, list) else [row] for row in rows]


def _permuted(term: Term, parts: Sequence[Array]) -> list[Array]:
    pairs = _parse_matrix(term.attributes["source_target_pairs"])
    if "channel_handle" not in term.attributes or any(len(pair) != 2 for pair in pairs):
        raise CannotEvaluate("the pairs of collective_permute can't be read")
    found = [np.zeros_like(part) for part in parts]
    for source, target in pairs:
        found[target] = parts[source]
    return found


Combine = Callable[[Array, Array], Array] | None
Collective = Callable[[Term, Sequence[Array], Combine], Sequence[Array]]


def _axis(term: Term, name: str) -> int:
    return integers(term.attributes[name])[0]


def _all_gather(term: Term, parts: Sequence[Array], _: Combine) -> Sequence[Array]:
    return [np.concatenate(parts, _axis(term, "all_gather_dim"))] * len(parts)


def _all_reduce(_: Term, parts: Sequence[Array], combine: Combine) -> Sequence[Array]:
    if combine is None:
        raise CannotEvaluate("a collective operation without its function")
    return [functools.reduce(combine, parts)] * len(parts)


def _reduce_scatter(term: Term, parts: Sequence[Array], combine: Combine) -> Sequence[Array]:
    (whole, *_) = _all_reduce(term, parts, combine)
    return np.split(whole, len(parts), _axis(term, "scatter_dimension"))


def _all_to_all(term: Term, parts: Sequence[Array], _: Combine) -> Sequence[Array]:
    pieces = [np.split(part, len(parts), _axis(term, "split_dimension")) for part in parts]
    axis = _axis(term, "concat_dimension")
    return [np.concatenate(given, axis) for given in zip(*pieces, strict=True)]


def _broadcast(_: Term, parts: Sequence[Array], __: Combine) -> Sequence[Array]:
    return [parts[0]] * len(parts)


_COLLECTIVES: dict[str, Collective] = {
    "all_gather": _all_gather,
    "all_reduce": _all_reduce,
    "all_to_all": _all_to_all,
    "collective_broadcast": _broadcast,
    "collective_permute": _broadcast,
    "reduce_scatter": _reduce_scatter,
}
