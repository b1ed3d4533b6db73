"""Compares two arrays bit for bit, and measures their differences."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from brainpy_probe.format.arrays import Array

__all__ = ["Difference", "difference", "differing_elements", "is_float"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The differences between two arrays of the same shape and dtype.

    Attributes
    ----------
    elements : int
        Number of elements whose bits differ.
    largest : float
        The largest difference in value, of complex numbers in one part; NaN is ignored.
    ulps : int or None
        The largest difference in units in the last place: the number of floats between the two.
        None for booleans and integers.
    nans : int
        Number of elements that are NaN in only one of the two arrays.
    """

    elements: int
    largest: float
    ulps: int | None = None
    nans: int = 0


def differing_elements(left: Array, right: Array) -> Array:
    """Return a mask of the elements whose bits differ in two arrays of one shape and dtype."""
    size = left.dtype.itemsize
    bits = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (left, right)]
    differing: Array = bits[0] != bits[1]
    return differing.reshape(-1, size).any(axis=1).reshape(left.shape)


def difference(left: Array, right: Array) -> Difference | None:
    """Return the differences of two arrays of one shape and dtype; None if they are equal."""
    where = differing_elements(left, right)
    count = int(where.sum())
    if not count:
        return None
    a, b = left[where], right[where]
    if a.dtype.kind == "c":
        parts = np.dtype(f"f{a.dtype.itemsize // 2}")
        a, b = a.view(parts), b.view(parts)
    if not is_float(a.dtype):
        return Difference(elements=count, largest=float(_distance(a, b).max()))
    nan = [np.isnan(x.astype(np.float64)) for x in (a, b)]
    numbers = ~(nan[0] | nan[1])
    a, b = a[numbers], b[numbers]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        values = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return Difference(
        elements=count,
        largest=float(np.nanmax(values, initial=0.0)),
        ulps=int(_distance(_ordinal(a), _ordinal(b)).max(initial=0)),
        nans=int((nan[0] ^ nan[1]).sum()),
    )


def _distance(left: Array, right: Array) -> Array:
    """Return the absolute differences of integers, computed modulo 2**64 to avoid overflow."""
    dtype = np.uint64 if left.dtype == np.uint64 else np.int64
    left, right = left.astype(dtype), right.astype(dtype)
    greater, smaller = np.maximum(left, right), np.minimum(left, right)
    distance: Array = greater.view(np.uint64) - smaller.view(np.uint64)
    return distance


def is_float(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is a real floating-point type of NumPy or ml_dtypes."""
    if dtype.kind in "biu":
        return False
    if dtype.kind == "f" and dtype.isbuiltin == 1:
        return True
    import ml_dtypes  # bfloat16 and the float8 types

    try:
        ml_dtypes.finfo(dtype)
    except ValueError:
        return False
    return True


def _ordinal(floats: Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the positions of floats in ascending order; adjacent floats differ by 1."""
    size = floats.dtype.itemsize
    bits = floats.view(f"u{size}").astype(np.uint64)
    sign = np.uint64(1 << (8 * size - 1))
    magnitude = bits & (sign - np.uint64(1))
    return np.where(bits & sign != 0, sign - magnitude, sign + magnitude)
