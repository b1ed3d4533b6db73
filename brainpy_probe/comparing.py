"""Two arrays: the same bit for bit, or how far apart; knows no program."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

__all__ = ["Difference", "difference"]

Array = np.ndarray[Any, Any]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How far apart two arrays of one shape and type are.

    Attributes
    ----------
    elements : int
        How many elements differ in their bits.
    largest : float
        The largest difference in value; NaN is left out.
    ulps : int or None
        The same in units in the last place: how many floats lie between the two. None for
        booleans and integers.
    nans : int
        How many elements are NaN in one of the two alone.
    """

    elements: int
    largest: float
    ulps: int | None = None
    nans: int = 0


def difference(one: Array, other: Array) -> Difference | None:
    """Return how far apart two arrays of one shape and type are, or None if they are the same."""
    rows = [np.ascontiguousarray(a).reshape(-1) for a in (one, other)]
    bits = [row.view(np.uint8).reshape(len(row), one.dtype.itemsize) for row in rows]
    unlike = (bits[0] != bits[1]).any(axis=1)
    if not unlike.any():
        return None
    count = int(unlike.sum())
    a, b = rows[0][unlike], rows[1][unlike]
    if a.dtype.kind == "c":
        parts = np.dtype(f"f{a.dtype.itemsize // 2}")
        a, b = a.view(parts), b.view(parts)
    if not _is_float(a.dtype):
        # As Python's integers, which no difference of 64 bits overflows.
        apart = np.abs(a.astype(np.int64).astype(object) - b.astype(np.int64).astype(object))
        if a.dtype == np.uint64:
            apart = np.abs(a.astype(object) - b.astype(object))
        return Difference(elements=count, largest=float(apart.max()))
    empty = [np.isnan(x.astype(np.float64)) for x in (a, b)]
    numbers = ~(empty[0] | empty[1])
    values = [x[numbers].astype(np.float64) for x in (a, b)]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(values[0] - values[1])
    places = [_place(x[numbers]) for x in (a, b)]
    steps = np.maximum(*places) - np.minimum(*places)
    return Difference(
        elements=count,
        largest=float(np.nanmax(apart, initial=0.0)),
        ulps=int(steps.max(initial=0)),
        nans=int((empty[0] ^ empty[1]).sum()),
    )


def _is_float(dtype: np.dtype[Any]) -> bool:
    if dtype.kind in "biu":
        return False
    if dtype.kind == "f" and dtype.isbuiltin == 1:
        return True
    import ml_dtypes  # bfloat16 and its kin

    try:
        ml_dtypes.finfo(dtype)
    except ValueError:
        return False
    return True


def _place(floats: Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the places of floats in their order, neighbours one apart, both zeros alike."""
    size = floats.dtype.itemsize
    bits = floats.view(f"u{size}").astype(np.uint64)
    sign = np.uint64(1 << (8 * size - 1))
    magnitude = bits & (sign - np.uint64(1))
    return np.where(bits & sign != 0, sign - magnitude, sign + magnitude)
