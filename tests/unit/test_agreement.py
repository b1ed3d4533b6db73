"""The agreement of arrays that two compilers computed."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from brainpy_probe.verify.agreement import TOLERANCE, agreement

NAN, INF = float("nan"), float("inf")


def _floats(*values: float, dtype: Any = np.float32) -> Any:
    return np.array(values).astype(dtype)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint64, np.float32, np.complex64])
def test_equal_arrays_are_close(dtype: Any) -> None:
    array = np.array([0, 1, 1]).astype(dtype)
    found = agreement(array, array.copy())
    assert found.close
    assert str(found) == "equal"


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint64])
def test_booleans_and_integers_must_be_equal(dtype: Any) -> None:
    expected, actual = np.zeros((4, 3), dtype), np.zeros((4, 3), dtype)
    actual[2, 1] = 1
    found = agreement(expected, actual, steps=4)
    assert not found.close
    assert str(found) == "1 of 12 differ, first at step 2"


def test_floats_within_the_tolerance_are_close() -> None:
    expected = _floats(1.0, 2.0)
    assert agreement(expected, expected * np.float32(1 + 0.9 * TOLERANCE)).close
    assert not agreement(expected, expected * np.float32(1 + 1.1 * TOLERANCE)).close
    assert "ulps" in str(agreement(expected, expected * np.float32(1 + 0.9 * TOLERANCE)))


def test_values_near_zero_are_compared_with_the_whole_array() -> None:
    assert agreement(_floats(100.0, 1e-6), _floats(100.0, -1e-6)).close
    assert not agreement(_floats(100.0, 1e-6), _floats(100.0, 1e-2)).close
    # An array of small numbers is not zero.
    assert not agreement(_floats(1e-6, 2e-6), _floats(1e-6, 3e-6)).close


@pytest.mark.parametrize(
    ("expected", "actual"),
    [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (3e38, INF), (INF, -INF), (INF, NAN)],
)
def test_nan_and_infinity_are_close_to_no_other_value(expected: float, actual: float) -> None:
    found = agreement(_floats(expected, 1.0), _floats(actual, 1.0))
    assert not found.close
    assert found.relative == INF


def test_the_largest_float_is_not_close_to_infinity() -> None:
    largest = float(np.finfo(np.float32).max)
    assert not agreement(_floats(largest), _floats(INF)).close


def test_nan_and_infinity_are_equal_to_themselves() -> None:
    assert agreement(_floats(NAN, INF, -INF, 1.0), _floats(NAN, INF, -INF, 1.0001)).close


def test_positive_and_negative_zero_are_equal() -> None:
    assert agreement(_floats(0.0, 1.0), _floats(-0.0, 1.0)).close
    assert agreement(_floats(0.0), _floats(-0.0)).close


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_neighbours_of_a_coarse_dtype_are_close(dtype: Any) -> None:
    expected = _floats(1.0, 2.0, dtype=dtype)
    near, far = ((expected.view(np.uint16) + steps).view(dtype) for steps in (4, 40))
    assert agreement(expected, near).close
    assert not agreement(expected, far).close


def test_complex_numbers_are_compared_by_their_distance() -> None:
    expected = np.array([1 + 1j, 100j], np.complex64)
    assert agreement(expected, expected * np.complex64(1 + 1e-4j)).close
    assert not agreement(expected, expected * np.complex64(1 + 1e-2j)).close


def test_another_shape_or_dtype_is_no_agreement() -> None:
    expected = np.zeros((2, 3), np.float32)
    for actual in (np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64)):
        found = agreement(expected, actual)
        assert not found.close
        assert str(found) == f"it is {actual.dtype} {actual.shape} instead of float32 (2, 3)"


@pytest.mark.parametrize(("shape", "where"), [((5, 4), (3, 1)), ((4, 5), (1, 3)), ((5,), (3,))])
def test_the_first_step_is_found_on_any_time_axis(
    shape: tuple[int, ...], where: tuple[int, ...]
) -> None:
    expected, actual = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    actual[where] = 1.0
    assert agreement(expected, actual, steps=5).step == 3
    assert agreement(expected, actual).step is None
    assert agreement(expected, actual, steps=7).step is None


def test_the_first_step_is_that_of_the_first_difference() -> None:
    """Where values are equal, the first other bits count: here the sign of a zero."""
    expected, actual = _floats(1.0, 0.0, 0.0), _floats(1.0, 0.0, -0.0)
    assert agreement(expected, actual, steps=3).step == 2
    expected, actual = _floats(NAN, 1.0, 1.0), _floats(NAN, 1.0, NAN)
    found = agreement(expected, actual, steps=3)
    assert found.step == 2
    assert "1 NaN in only one of the two" in str(found)
