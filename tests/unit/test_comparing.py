"""The difference of two arrays in bits, values and ulps."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from brainpy_probe.analysis.comparison import Difference, difference

FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2]


def _array(values: Any, dtype: Any) -> Any:
    return np.array(values).astype(dtype)


def _next(array: Any, steps: int = 1) -> Any:
    """Return the floats that are this many ulps above positive ones."""
    return (array.view(f"u{array.dtype.itemsize}") + steps).view(array.dtype)


@pytest.mark.parametrize("dtype", [*FLOATS, bool, np.int8, np.uint64, np.complex64, ml_dtypes.int4])
def test_equal_bits_are_no_difference(dtype: Any) -> None:
    array = _array([[0, 1, 1], [1, 0, 1]], dtype)
    assert difference(array, array.copy()) is None
    assert difference(array[:, ::2], array[:, ::2].copy()) is None


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0)])
def test_scalars_and_empty_arrays_can_be_compared(shape: tuple[int, ...]) -> None:
    zeros, ones = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    assert difference(zeros, zeros) is None
    found = difference(zeros, ones)
    assert (found is None) == (zeros.size == 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_ulps_count_the_floats_between_two_values(dtype: Any) -> None:
    first = _array([1.0, 2.0, 0.5], dtype)
    second = first.copy()
    second[1:2] = _next(first[1:2], 3)
    found = difference(first, second)
    assert found is not None
    assert (found.elements, found.ulps, found.nans) == (1, 3, 0)
    assert found.largest == float(second[1]) - 2.0
    assert difference(second, first) == found


def test_ulps_cross_zero_and_count_both_zeros_as_one() -> None:
    tiny = np.nextafter(np.float32(0), np.float32(1))
    assert difference(_array([-tiny], np.float32), _array([tiny], np.float32)) == Difference(
        elements=1, largest=2 * float(tiny), ulps=2
    )
    # The bits differ, the values don't.
    assert difference(_array([-0.0], np.float32), _array([0.0], np.float32)) == Difference(
        elements=1, largest=0.0, ulps=0
    )


def test_infinity_is_one_ulp_from_the_largest_float() -> None:
    largest = np.finfo(np.float32).max
    found = difference(_array([largest], np.float32), _array([np.inf], np.float32))
    assert found == Difference(elements=1, largest=float("inf"), ulps=1)
    found = difference(_array([-np.inf], np.float32), _array([np.inf], np.float32))
    assert found is not None
    assert found.largest == float("inf")
    assert found.ulps == 2 * 0x7F800000


def test_nan_is_counted_and_otherwise_ignored() -> None:
    first = _array([np.nan, np.nan, 1.0, 1.0], np.float32)
    second = _array([np.nan, 2.0, np.nan, 1.5], np.float32)
    assert difference(first, second) == Difference(elements=3, largest=0.5, ulps=1 << 22, nans=2)
    # Two NaNs with other bits are a difference, but not a NaN in only one of the two.
    kinds = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert difference(kinds[:1], kinds[1:]) == Difference(elements=1, largest=0.0, ulps=0)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_compared_part_by_part(dtype: Any) -> None:
    first = _array([1 + 1j, 2 + 2j, 3 + 3j], dtype)
    second = first.copy()
    second[1] = 2 + np.nextafter(first.real.dtype.type(2), first.real.dtype.type(3)) * 1j
    second[2] = complex(float("nan"), 3)
    found = difference(first, second)
    assert found is not None
    assert (found.elements, found.ulps, found.nans) == (2, 1, 1)


@pytest.mark.parametrize(
    ("dtype", "first", "second", "distance"),
    [
        (np.int64, -(2**63), 2**63 - 1, 2**64 - 1),
        (np.uint64, 0, 2**64 - 1, 2**64 - 1),
        (np.uint64, 2**64 - 1, 2**64 - 2, 1),
        (np.int64, 2**62, 2**62 + 1, 1),
        (np.int8, -128, 127, 255),
        (np.uint32, 0, 2**32 - 1, 2**32 - 1),
        (np.bool_, False, True, 1),
        (ml_dtypes.int4, -8, 7, 15),
    ],
)
def test_integers_have_an_exact_difference(
    dtype: Any, first: int, second: int, distance: int
) -> None:
    found = difference(np.array([first, first], dtype), np.array([first, second], dtype))
    assert found == Difference(elements=1, largest=float(distance), ulps=None)
