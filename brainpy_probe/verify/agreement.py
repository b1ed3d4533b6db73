"""Whether what another compiler's program gives counts as the same; knows no program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainpy_probe.analysis.comparison import Difference, difference, differing_elements
from brainpy_probe.format.arrays import Array

__all__ = ["TOLERANCE", "Agreement", "agreement"]


# The relative difference up to which floats of two compilers count as the same. Sums in another
# order and other approximations of exp are off by some ulps a step.
TOLERANCE = 1e-3
# ... and so do neighbours of a type that is coarser than that: bfloat16, float16.
_NEIGHBOURS = 4
# Below this fraction of an array's largest magnitude, a difference is measured against it: next to
# a zero crossing every relative difference is large.
_FLOOR = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How far an array is from the one that was expected.

    Attributes
    ----------
    exact : bool
        Whether the element type is one that has to be equal: booleans and integers.
    size : int
        The number of elements.
    difference : Difference or None
        How far the two are apart; None if they are the same.
    relative : float
        The largest difference relative to the greater of both elements, or to a thousandth of the
        largest magnitude in the arrays where that is more. Infinite where one alone is NaN.
    step : int or None
        The first time step of a difference, if the array is recorded over time.
    fault : str
        Why they can't be compared.
    """

    exact: bool
    size: int = 0
    difference: Difference | None = None
    relative: float = 0.0
    step: int | None = None
    fault: str = ""

    @property
    def close(self) -> bool:
        """Whether they count as the same: exactly, or for floats within the tolerance."""
        if self.fault or self.difference is None:
            return not self.fault
        if self.exact or self.relative == float("inf"):
            return False
        return self.relative <= TOLERANCE or (self.difference.ulps or 0) <= _NEIGHBOURS

    def __str__(self) -> str:
        if self.fault or self.difference is None:
            return self.fault or "equal"
        where = "" if self.step is None else f", first at step {self.step}"
        told = f"{self.difference.elements:,} of {self.size:,} differ{where}"
        if self.difference.ulps is None:
            return told
        told += (
            f"; up to {self.difference.ulps:,} ulps, {self.difference.largest:.2g}, "
            f"relative {self.relative:.2g}"
        )
        return (
            f"{told}; {self.difference.nans:,} NaN in one alone" if self.difference.nans else told
        )


def agreement(expected: Array, found: Array, steps: int | None = None) -> Agreement:
    """Compare an array with the one that was expected.

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
    apart = difference(found, expected)
    if apart is None:
        return Agreement(exact=exact, size=expected.size)
    return Agreement(
        exact=exact,
        size=expected.size,
        difference=apart,
        relative=0.0 if exact else _relative(expected, found),
        step=_first_step(expected, found, steps),
    )


def _relative(expected: Array, found: Array) -> float:
    kind = np.complex128 if expected.dtype.kind == "c" else np.float64
    one, other = (array.astype(kind).reshape(-1) for array in (expected, found))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    one, other = one[~same], other[~same]
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(one), np.abs(other))
        magnitudes = np.abs(expected.astype(kind))
        largest = np.max(np.where(np.isfinite(magnitudes), magnitudes, 0.0))
        relative = np.abs(one - other) / np.maximum(size, _FLOOR * largest)
    # From or to infinity or NaN.
    return float(np.max(np.where(np.isnan(relative), np.inf, relative), initial=0.0))


def _first_step(expected: Array, found: Array, steps: int | None) -> int | None:
    if steps is None or steps not in expected.shape[:2]:
        return None
    # Batch-first where the runner swaps the axes.
    axis = expected.shape.index(steps)
    others = tuple(n for n in range(expected.ndim) if n != axis)
    return int(np.argmax(differing_elements(expected, found).any(axis=others)))
