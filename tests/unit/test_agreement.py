"""What counts as the same when another compiler gives it."""

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
def test_what_is_equal_is_close(dtype: Any) -> None:
    array = np.array([0, 1, 1]).astype(dtype)
    found = agreement(array, array.copy())
    assert found.close
    assert str(found) == "equal"


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint64])
def test_booleans_and_integers_have_to_be_equal(dtype: Any) -> None:
    one, other = np.zeros((4, 3), dtype), np.zeros((4, 3), dtype)
    other[2, 1] = 1
    found = agreement(one, other, steps=4)
    assert not found.close
    assert str(found) == "1 of 12 differ, first at step 2"


def test_floats_may_be_off_by_the_tolerance() -> None:
    one = _floats(1.0, 2.0)
    assert agreement(one, one * np.float32(1 + 0.9 * TOLERANCE)).close
    assert not agreement(one, one * np.float32(1 + 1.1 * TOLERANCE)).close
    assert "ulps" in str(agreement(one, one * np.float32(1 + 0.9 * TOLERANCE)))


def test_next_to_zero_the_whole_array_is_the_measure() -> None:
    assert agreement(_floats(100.0, 1e-6), _floats(100.0, -1e-6)).close
    assert not agreement(_floats(100.0, 1e-6), _floats(100.0, 1e-2)).close
    # An array of small numbers is no zero.
    assert not agreement(_floats(1e-6, 2e-6), _floats(1e-6, 3e-6)).close


@pytest.mark.parametrize(
    ("one", "other"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (3e38, INF), (INF, -INF), (INF, NAN)]
)
def test_what_is_no_number_is_close_to_nothing(one: float, other: float) -> None:
    found = agreement(_floats(one, 1.0), _floats(other, 1.0))
    assert not found.close
    assert found.relative == INF


def test_the_largest_float_is_not_close_to_infinity() -> None:
    largest = float(np.finfo(np.float32).max)
    assert not agreement(_floats(largest), _floats(INF)).close


def test_nan_and_infinity_are_equal_to_themselves() -> None:
    assert agreement(_floats(NAN, INF, -INF, 1.0), _floats(NAN, INF, -INF, 1.0001)).close


def test_both_zeros_are_the_same_number() -> None:
    assert agreement(_floats(0.0, 1.0), _floats(-0.0, 1.0)).close
    assert agreement(_floats(0.0), _floats(-0.0)).close


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_neighbours_of_a_coarse_type_are_close(dtype: Any) -> None:
    one = _floats(1.0, 2.0, dtype=dtype)
    near, far = ((one.view(np.uint16) + steps).view(dtype) for steps in (4, 40))
    assert agreement(one, near).close
    assert not agreement(one, far).close


def test_complex_numbers_are_compared_by_their_distance() -> None:
    one = np.array([1 + 1j, 100j], np.complex64)
    assert agreement(one, one * np.complex64(1 + 1e-4j)).close
    assert not agreement(one, one * np.complex64(1 + 1e-2j)).close


def test_another_shape_or_type_is_a_fault() -> None:
    one = np.zeros((2, 3), np.float32)
    for other in (np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64)):
        found = agreement(one, other)
        assert not found.close
        assert str(found) == f"it is {other.dtype} {other.shape} instead of float32 (2, 3)"


@pytest.mark.parametrize(("shape", "where"), [((5, 4), (3, 1)), ((4, 5), (1, 3)), ((5,), (3,))])
def test_the_first_step_is_found_whichever_axis_time_is(
    shape: tuple[int, ...], where: tuple[int, ...]
) -> None:
    one, other = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    other[where] = 1.0
    assert agreement(one, other, steps=5).step == 3
    assert agreement(one, other).step is None
    assert agreement(one, other, steps=7).step is None


def test_the_first_step_is_the_first_of_other_bits() -> None:
    """A zero of the other sign is none of other value, and not to be found at step 0."""
    one, other = _floats(1.0, 0.0, 0.0), _floats(1.0, 0.0, -0.0)
    assert agreement(one, other, steps=3).step == 2
    one, other = _floats(NAN, 1.0, 1.0), _floats(NAN, 1.0, NAN)
    found = agreement(one, other, steps=3)
    assert found.step == 2
    assert "1 NaN in only one of the two" in str(found)
