"""Compares a program with its run one step at a time, so that differences do not grow.

Each step begins with the states that the run itself recorded. What differs then is the rounding of
one step, or the program is another one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from brainpy_probe.analysis.comparison import is_float
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.program_records import ProgramRecord, TensorSpec
from brainpy_probe.ir.recorded_states import Loop, read_loop

__all__ = ["AGREES", "ANOTHER", "Stepwise", "compare_steps"]

Arrays = Mapping[str, Array]
Run = Callable[[bytes, Sequence[Sequence[Array]]], Sequence[Sequence[Array]]]

# The most ulps by which two compilations of one program are apart after a step. XLA contracts a
# product and a sum, or takes another approximation of exp: 1 or 2 ulps each.
AGREES = 4
# The ulps after a step from which on no rounding explains a difference. In between it may be
# either: sums of many numbers in another order, or a constant that was changed a little.
ANOTHER = 1 << 10
# Below this fraction of an array's largest magnitude a difference is measured in the ulps of that:
# next to a zero crossing every difference has many ulps.
_FLOOR = 1e-3
_MOST = float(1 << 62)


class Stepwise(msgspec.Struct, frozen=True, kw_only=True):
    """How far a program is from its run, each step begun with the run's own states.

    Attributes
    ----------
    ulps : int
        The largest difference of a float, in units in the last place of it, or of a thousandth of
        its array's largest magnitude where that is more.
    farthest : str
        The result with that difference; empty if no float differs.
    flipped : tuple of str
        The results of booleans and integers that differ.
    read : tuple of str
        The states that each step took from the run.
    hidden : tuple of str
        The states that pass differences on from step to step, because no result records them.
    another : tuple of str
        The results with a difference that no rounding of the states before the step explains.
    problem : str
        Why the program can't be run from the run's states; else empty.
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
        """Whether the two differ by the rounding of a step alone."""
        return self.ulps <= AGREES and not self.flipped and not self.problem


def compare_steps(
    record: ProgramRecord, content: bytes, given: Sequence[Array], expected: Arrays, run: Run
) -> Stepwise:
    """Run a program with the states that its run recorded, and compare.

    A float that differs by more than :data:`ANOTHER` ulps may come of a threshold that the state
    passes on one side or the other. So the program runs again with all floats of its states a
    little off, up and down: what the run gave lies within what these give, or is another program's.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its VHLO bytecode, or its StableHLO text.
    given : sequence of ndarray
        Its arguments, in order.
    expected : mapping
        What the run gave, by group and name, as far as it was captured.
    run : callable
        ``run(content, rows)`` compiles a program once, runs it on each row of arguments, and
        returns the results of each.
    """
    loop = read_loop(content) if record.kind == "loop" else None
    recorded = {} if loop is None else _recorded(record, loop, expected)
    growing = {} if loop is None else loop.accumulating(recorded)
    if loop is not None and recorded:
        content = loop.with_recorded(recorded)
    paths = [spec.path for spec in record.results]
    arrays = [*given, *recorded.values()]
    states = [number for number, spec in enumerate(record.arguments) if spec.role == "state"]
    states += range(len(given), len(arrays))
    (results,) = run(content, [arrays])
    made = dict(zip(paths, results, strict=True))
    found = Stepwise(
        **_measured(made, expected),
        read=tuple(record.arguments[position].name for position in recorded),
        hidden=tuple(record.arguments[n].name for n, passed_on in growing.items() if passed_on),
    )
    if found.ulps <= ANOTHER and not found.flipped:
        return found
    nudged = [dict(zip(paths, one, strict=True)) for one in run(content, _nudged(arrays, states))]
    first = bool(found.hidden) or (record.kind == "loop" and loop is None)
    unsure = {f"state/{record.arguments[position].name}" for position in growing}
    another = []
    for spec in record.results:
        if spec.path not in expected or spec.path in unsure or (first and spec.axis is None):
            continue
        arrays = [_entries(one[spec.path], spec, first) for one in (expected, made, *nudged)]
        if _is_another(*arrays):
            another.append(spec.path)
    return msgspec.structs.replace(found, another=tuple(another))


def _recorded(record: ProgramRecord, loop: Loop, expected: Arrays) -> dict[int, Array]:
    """Return the recorded values of states after each step, by the states' positions."""
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
    """Return an array; or its entry of the first step, which alone began as the run's did."""
    return array.take(0, axis=spec.axis) if first and spec.axis is not None else array


def _measured(made: Arrays, expected: Arrays) -> dict[str, Any]:
    """Return how far floats are apart, and which booleans and integers differ."""
    ulps, farthest, flipped = 0, "", []
    for path, array in expected.items():
        parts = _parts(array), _parts(made[path])
        if not is_float(parts[0].dtype):
            if (parts[0] != parts[1]).any():
                flipped.append(path)
            continue
        most = int(_ulps(*parts).max(initial=0))
        if most > ulps:
            ulps, farthest = most, path
    return {"ulps": ulps, "farthest": farthest, "flipped": tuple(flipped)}


def _parts(array: Array) -> Array:
    """Return an array of real numbers: of complex ones their parts."""
    if array.dtype.kind != "c":
        return array
    return np.ascontiguousarray(array).reshape(-1).view(f"f{array.dtype.itemsize // 2}")


def _ulps(one: Array, other: Array) -> Array:
    """Return how many ulps floats are apart, rounded up; very many where one alone is NaN."""
    import ml_dtypes  # also of bfloat16 and its kin

    a, b = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(a), np.abs(b))
        finite = np.where(np.isfinite(size), size, 0.0)
        size = np.maximum(finite, _FLOOR * finite.max(initial=0.0))
        _, exponent = np.frexp(size)
        apart = np.abs(a - b) / np.ldexp(1.0, exponent - 1 - ml_dtypes.finfo(one.dtype).nmant)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.where(same, 0.0, np.where(np.isnan(apart), _MOST, apart))
    ulps: Array = np.minimum(np.ceil(apart), _MOST).astype(np.int64)
    return ulps


def _nudged(arrays: Sequence[Array], states: Sequence[int]) -> list[list[Array]]:
    """Return four rows of arguments: the floats of the states are some ulps up, down, or either."""
    random = np.random.RandomState(0)
    signs = {n: np.where(random.rand(*arrays[n].shape) < 0.5, 1.0, -1.0) for n in states}
    ways: list[dict[int, Any]] = [dict.fromkeys(states, way) for way in (1.0, -1.0)]
    ways += [{n: way * signs[n] for n in states} for way in (1.0, -1.0)]
    return [
        [_off(array, way[n]) if n in way else array for n, array in enumerate(arrays)]
        for way in ways
    ]


def _off(array: Array, way: Any) -> Array:
    import ml_dtypes

    kind = _parts(array).dtype
    if not is_float(kind):
        return array
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    moved = array.astype(wide) * (1.0 + way * AGREES * float(ml_dtypes.finfo(kind).eps))
    return np.asarray(moved.astype(array.dtype))


def _is_another(run: Array, *made: Array) -> bool:
    """Whether what a run gave is beyond all that the program gives, rounding left aside."""
    expected, *others = map(_parts, (run, *made))
    if not is_float(expected.dtype):
        low, high = functools.reduce(np.minimum, others), functools.reduce(np.maximum, others)
        return bool(((expected < low) | (expected > high)).any())
    low, high = functools.reduce(np.fmin, others), functools.reduce(np.fmax, others)
    nearest = np.where(expected < low, low, np.where(expected > high, high, expected))
    # Where one alone is NaN in all, that is beyond.
    nearest = np.where(np.isnan(expected) | np.isnan(low), others[0], nearest)
    explained = functools.reduce(np.logical_or, map(np.isnan, others)) & np.isnan(expected)
    return bool(((_ulps(expected, nearest) > ANOTHER) & ~explained).any())
