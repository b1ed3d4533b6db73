"""Compares a result with the expected one, within a tolerance for results of other compilers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainpy_probe.analysis.comparison import Difference, difference, differing_elements
from brainpy_probe.format.arrays import Array

__all__ = ["TOLERANCE", "Agreement", "agreement"]


# The relative difference within which floats of two compilers agree. Another order of additions, or
# another approximation of exp, changes a value by some ulps per step.
TOLERANCE = 1e-3
# Floats of a coarser dtype (bfloat16, float16) agree within this number of ulps.
_ULPS = 4
# Below this fraction of an array's largest magnitude, a difference is relative to that fraction:
# next to a zero crossing, as in the upstroke of a spike, every relative difference is large.
_FLOOR = 1e-2


@dataclass(frozen=True)
class Agreement:
    """The comparison of an array with the expected array.

    Attributes
    ----------
    exact : bool
        Whether the dtype must be equal exactly: booleans and integers.
    size : int
        The number of elements.
    difference : Difference or None
        The difference; None if the arrays are equal.
    relative : float
        The largest difference relative to the larger of the two elements, or to a hundredth of the
        largest magnitude in the arrays if that is larger. Infinite if only one element is NaN.
    step : int or None
        The first time step with a difference, if the array is recorded over time.
    fault : str
        Why the arrays can't be compared.
    """

    exact: bool
    size: int = 0
    difference: Difference | None = None
    relative: float = 0.0
    step: int | None = None
    fault: str = ""

    @property
    def close(self) -> bool:
        """Whether the arrays agree: exactly, or for floats within the tolerance."""
        if self.fault or self.difference is None:
            return not self.fault
        if self.exact or self.relative == float("inf"):
            return False
        return self.relative <= TOLERANCE or (self.difference.ulps or 0) <= _ULPS

    def __str__(self) -> str:
        if self.fault or self.difference is None:
            return self.fault or "equal"
        where = "" if self.step is None else f", first at step {self.step}"
        text = f"{self.difference.elements:,} of {self.size:,} differ{where}"
        if self.difference.ulps is None:
            return text
        text += (
            f"; up to {self.difference.ulps:,} ulps, {self.difference.largest:.2g}, "
            f"relative {self.relative:.2g}"
        )
        if self.difference.nans:
            text += f"; {self.difference.nans:,} NaN in only one of the two"
        return text


def agreement(expected: Array, found: Array, steps: int | None = None) -> Agreement:
    """Compare an array with the expected array.

    Parameters
    ----------
    expected, found : ndarray
        The arrays.
    steps : int, optional
        The number of time steps, if the array is recorded over time.
    """
    exact = expected.dtype.kind in "biu"
    if expected.shape != found.shape or expected.dtype != found.dtype:
        fault = f"it is {found.dtype} {found.shape} instead of {expected.dtype} {expected.shape}"
        return Agreement(exact=exact, fault=fault)
    differences = difference(found, expected)
    if differences is None:
        return Agreement(exact=exact, size=expected.size)
    return Agreement(
        exact=exact,
        size=expected.size,
        difference=differences,
        relative=0.0 if exact else _relative(expected, found),
        step=_first_step(expected, found, steps),
    )


def _relative(expected: Array, found: Array) -> float:
    kind = np.complex128 if expected.dtype.kind == "c" else np.float64
    left, right = (array.astype(kind).reshape(-1) for array in (expected, found))
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    left, right = left[~same], right[~same]
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(left), np.abs(right))
        magnitudes = np.abs(expected.astype(kind))
        largest = np.max(np.where(np.isfinite(magnitudes), magnitudes, 0.0))
        relative = np.abs(left - right) / np.maximum(size, _FLOOR * largest)
    # NaN where one of the two is infinite or NaN.
    return float(np.max(np.where(np.isnan(relative), np.inf, relative), initial=0.0))


def _first_step(expected: Array, found: Array, steps: int | None) -> int | None:
    if steps is None or steps not in expected.shape[:2]:
        return None
    # The time axis is the second one if the runner swaps the axes.
    axis = expected.shape.index(steps)
    others = tuple(n for n in range(expected.ndim) if n != axis)
    return int(np.argmax(differing_elements(expected, found).any(axis=others)))
