"""Two arrays: the same bit for bit, or how far apart; knows no program."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from brainpy_probe.format.arrays import Array

__all__ = ["Difference", "difference", "unlike"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How far apart two arrays of one shape and type are.

    Attributes
    ----------
    elements : int
        How many elements differ in their bits.
    largest : float
        The largest difference in value, of complex numbers in a part; NaN is left out.
    ulps : int or None
        The same in units in the last place: how many floats it is from one to the other. None for
        booleans and integers.
    nans : int
        How many elements are NaN in one of the two alone.
    """

    elements: int
    largest: float
    ulps: int | None = None
    nans: int = 0


def unlike(one: Array, other: Array) -> Array:
    """Return where two arrays of one shape and type differ in their bits."""
    size = one.dtype.itemsize
    bits = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (one, other)]
    differing: Array = bits[0] != bits[1]
    return differing.reshape(-1, size).any(axis=1).reshape(one.shape)


def difference(one: Array, other: Array) -> Difference | None:
    """Return how far apart two arrays of one shape and type are, or None if they are the same."""
    where = unlike(one, other)
    count = int(where.sum())
    if not count:
        return None
    a, b = one[where], other[where]
    if a.dtype.kind == "c":
        parts = np.dtype(f"f{a.dtype.itemsize // 2}")
        a, b = a.view(parts), b.view(parts)
    if not _is_float(a.dtype):
        return Difference(elements=count, largest=float(_apart(a, b).max()))
    empty = [np.isnan(x.astype(np.float64)) for x in (a, b)]
    numbers = ~(empty[0] | empty[1])
    a, b = a[numbers], b[numbers]
    with np.errstate(invalid="ignore"):  # infinity less infinity
        values = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return Difference(
        elements=count,
        largest=float(np.nanmax(values, initial=0.0)),
        ulps=int(_apart(_place(a), _place(b)).max(initial=0)),
        nans=int((empty[0] ^ empty[1]).sum()),
    )


def _apart(one: Array, other: Array) -> Array:
    """Return the differences of integers; modulo 2**64 they are right whatever their signs."""
    kind = np.uint64 if one.dtype == np.uint64 else np.int64
    one, other = one.astype(kind), other.astype(kind)
    greater, smaller = np.maximum(one, other), np.minimum(one, other)
    apart: Array = greater.view(np.uint64) - smaller.view(np.uint64)
    return apart


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
