"""Compares a program with its run one step at a time, so that differences do not accumulate.

Each step starts from the states that the run itself recorded. A difference after a step is then
either the rounding of one step, or a sign of a different program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from brainpy_probe.analysis.comparison import is_float
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import ProgramRecord, TensorSpec
from brainpy_probe.ir.recorded_states import Loop

__all__ = ["AGREES", "ANOTHER", "Stepwise", "compare_steps", "ulps_between"]

Arrays = Mapping[str, Array]
Run = Callable[[Sequence[int], Sequence[Sequence[Array]]], Sequence[Sequence[Array]]]

# The largest difference in ulps after a step between two compilations of the same program. XLA may
# contract a product and a sum, or use another approximation of exp: 1 or 2 ulps each.
AGREES = 4
# Differences after a step above this number of ulps are not caused by rounding. Differences in
# between may have either cause: another order of long sums, or a slightly changed constant.
ANOTHER = 1 << 10
# Below this fraction of an array's largest magnitude, a difference is measured in ulps of that
# fraction: next to a zero crossing every difference has many ulps.
_FLOOR = 1e-3
_MAX_ULPS = float(1 << 62)


class Stepwise(msgspec.Struct, frozen=True, kw_only=True):
    """The difference between a program and its run when each step starts from the run's states.

    Attributes
    ----------
    ulps : int
        The largest difference of a float, in units in the last place of the float, or of a
        thousandth of its array's largest magnitude if that is more.
    farthest : str
        The result with that difference; empty if no float differs.
    flipped : tuple of str
        The results of booleans and integers that differ.
    read : tuple of str
        The states that each step took from the run.
    hidden : tuple of str
        The states that pass differences on from step to step, because no result records them.
    another : tuple of str
        The results with a difference that rounding of the states before the step does not explain.
    problem : str
        Why the program can't run from the run's states; otherwise empty.
    """

    ulps: int = 0
    farthest: str = ""
    flipped: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    another: tuple[str, ...] = ()
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether program and run differ only by the rounding of one step."""
        return self.ulps <= AGREES and not self.flipped and not self.problem


def compare_steps(
    record: ProgramRecord,
    loop: Loop | None,
    arguments: Sequence[Array],
    expected: Arrays,
    run: Run,
) -> Stepwise:
    """Run a program with the states that its run recorded, and compare.

    A float may differ by more than :data:`ANOTHER` ulps because the state crosses a threshold or
    does not. Therefore the program also runs with all floats of its states slightly changed, up and
    down. If the results of the run are not within the range of these results, the program is a
    different one.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    loop : Loop or None
        Its loop over time, if it is known.
    arguments : sequence of ndarray
        Its arguments, in order.
    expected : mapping
        The captured results of the run, by group and name.
    run : callable
        ``run(positions, rows)`` runs the program on each row. A row has its arguments, and the
        recorded values of the states at these positions: each step but the first starts with these
        values. It returns the results of each row.
    """
    recorded = {} if loop is None else _recorded(record, loop, expected)
    growing = {} if loop is None else loop.accumulating(recorded)
    paths = [spec.path for spec in record.results]
    arrays = [*arguments, *recorded.values()]
    states = [number for number, spec in enumerate(record.arguments) if spec.role == "state"]
    states += range(len(arguments), len(arrays))
    positions = tuple(recorded)
    (row,) = run(positions, [arrays])
    results = dict(zip(paths, row, strict=True))
    found = Stepwise(
        **_largest_differences(results, expected),
        read=tuple(record.arguments[position].name for position in recorded),
        hidden=tuple(record.arguments[n].name for n, passed_on in growing.items() if passed_on),
    )
    if found.ulps <= ANOTHER and not found.flipped:
        return found
    rows = run(positions, _perturbed(arrays, states))
    perturbed = [dict(zip(paths, row, strict=True)) for row in rows]
    first = bool(found.hidden) or (record.kind == "loop" and loop is None)
    unsure = {f"state/{record.arguments[position].name}" for position in growing}
    another = []
    for spec in record.results:
        if spec.path not in expected or spec.path in unsure or (first and spec.axis is None):
            continue
        arrays = [
            _entries(found_results[spec.path], spec, first)
            for found_results in (expected, results, *perturbed)
        ]
        if _is_unexplained(*arrays):
            another.append(spec.path)
    return msgspec.structs.replace(found, another=tuple(another))


def _recorded(record: ProgramRecord, loop: Loop, expected: Arrays) -> dict[int, Array]:
    """Return the recorded values of states after each step, by the positions of the states."""
    places = {spec.path: number for number, spec in enumerate(record.arguments)}
    found: dict[int, Array] = {}
    for spec in record.results:
        position = places.get(f"state/{spec.records}")
        if position in loop.carried and spec.axis is not None and spec.path in expected:
            values = np.moveaxis(expected[spec.path], spec.axis, 0)
            state = record.arguments[position]
            if values.shape == (loop.steps, *state.shape) and spec.dtype == state.dtype:
                found.setdefault(position, values)
    return found


def _entries(array: Array, spec: TensorSpec, first: bool) -> Array:
    """Return an array; with ``first``, only its first step, which started from the run's state."""
    return array.take(0, axis=spec.axis) if first and spec.axis is not None else array


def _largest_differences(results: Arrays, expected: Arrays) -> dict[str, Any]:
    """Return the largest difference of floats, and the booleans and integers that differ."""
    ulps, farthest, flipped = 0, "", []
    for path, array in expected.items():
        parts = _real_parts(array), _real_parts(results[path])
        if not is_float(parts[0].dtype):
            if (parts[0] != parts[1]).any():
                flipped.append(path)
            continue
        most = int(ulps_between(*parts).max(initial=0))
        if most > ulps:
            ulps, farthest = most, path
    return {"ulps": ulps, "farthest": farthest, "flipped": tuple(flipped)}


def _real_parts(array: Array) -> Array:
    """Return an array of real numbers: the parts of complex numbers."""
    if array.dtype.kind != "c":
        return array
    return np.ascontiguousarray(array).reshape(-1).view(f"f{array.dtype.itemsize // 2}")


def ulps_between(left: Array, right: Array) -> Array:
    """Return the differences of floats in ulps, rounded up; the maximum if only one is NaN."""
    import ml_dtypes  # its finfo also supports bfloat16 and the float8 types

    a, b = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(a), np.abs(b))
        finite = np.where(np.isfinite(size), size, 0.0)
        size = np.maximum(finite, _FLOOR * finite.max(initial=0.0))
        _, exponent = np.frexp(size)
        distance = np.abs(a - b) / np.ldexp(1.0, exponent - 1 - ml_dtypes.finfo(left.dtype).nmant)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    distance = np.where(same, 0.0, np.where(np.isnan(distance), _MAX_ULPS, distance))
    ulps: Array = np.minimum(np.ceil(distance), _MAX_ULPS).astype(np.int64)
    return ulps


def _perturbed(arrays: Sequence[Array], states: Sequence[int]) -> list[list[Array]]:
    """Return four rows of arguments, with the states' floats some ulps up, down, or mixed."""
    random = np.random.RandomState(0)
    signs = {n: np.where(random.rand(*arrays[n].shape) < 0.5, 1.0, -1.0) for n in states}
    directions: list[dict[int, Any]] = [dict.fromkeys(states, sign) for sign in (1.0, -1.0)]
    directions += [{n: sign * signs[n] for n in states} for sign in (1.0, -1.0)]
    return [
        [
            _perturb(array, direction[n]) if n in direction else array
            for n, array in enumerate(arrays)
        ]
        for direction in directions
    ]


def _perturb(array: Array, direction: Any) -> Array:
    import ml_dtypes

    dtype = _real_parts(array).dtype
    if not is_float(dtype):
        return array
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    moved = array.astype(wide) * (1.0 + direction * AGREES * float(ml_dtypes.finfo(dtype).eps))
    return np.asarray(moved.astype(array.dtype))


def _is_unexplained(run: Array, *results: Array) -> bool:
    """Return whether a result of the run is outside the range of the program's results."""
    expected, *others = map(_real_parts, (run, *results))
    if not is_float(expected.dtype):
        low, high = functools.reduce(np.minimum, others), functools.reduce(np.maximum, others)
        return bool(((expected < low) | (expected > high)).any())
    low, high = functools.reduce(np.fmin, others), functools.reduce(np.fmax, others)
    nearest = np.where(expected < low, low, np.where(expected > high, high, expected))
    # If only one of both is NaN in all runs, the result is outside.
    nearest = np.where(np.isnan(expected) | np.isnan(low), others[0], nearest)
    explained = functools.reduce(np.logical_or, map(np.isnan, others)) & np.isnan(expected)
    return bool(((ulps_between(expected, nearest) > ANOTHER) & ~explained).any())
