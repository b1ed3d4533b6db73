"""Medians, spreads and exponents; knows nothing of what they are of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

__all__ = ["Spread", "exponent", "spread"]


class Spread(msgspec.Struct, frozen=True):
    """A median with the least and the greatest of what it is the median of."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the least and the greatest of some values."""
    return Spread(statistics.median(values), min(values), max(values))


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Fit ``y = c * x**p`` by least squares in the logarithms, and return ``p``.

    Parameters
    ----------
    points : sequence of (float, float)
        At least two different positive ``x``, each with its positive ``y``.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    known = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in known}) < 2:
        raise ValueError(f"no exponent can be fitted to {list(points)}")
    return statistics.linear_regression(*zip(*known, strict=True)).slope
