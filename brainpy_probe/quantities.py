"""Formats numbers, times, sizes and names for reading: ``45.3 KB``, ``1.2 s``, ``calls 1-3``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

__all__ = ["amount", "duration", "ranges", "seconds", "shortened", "size"]

_GAP = "..."


def duration(value: float | None) -> str:
    """Format seconds with a fitting unit: ``320 us``, ``45 ms``, ``1.2 s``, ``3 min 20 s``."""
    if value is None:
        return "an unknown time"
    for limit, factor, unit in ((0.9995e-3, 1e6, "us"), (0.9995, 1e3, "ms"), (99.95, 1, "s")):
        if value < limit:
            return f"{_figures(value * factor)} {unit}"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def seconds(value: float | None) -> str:
    """Format seconds for a table column with the unit in its header; ``-`` if unknown."""
    if value is None:
        return "-"
    return f"{value:.{3 if value < 10 else 2 if value < 100 else 1}f}"


def size(nbytes: float) -> str:
    """Format a number of bytes: ``812 B``, ``45.3 KB``, ``1.2 MB``; a KB has 1000 bytes."""
    return _scaled(nbytes, ("B", "KB", "MB", "GB", "TB"))


def amount(number: float) -> str:
    """Format a number of operations: ``812``, ``45.3 k``, ``1.2 M``."""
    return _scaled(number, ("", "k", "M", "G", "T")).rstrip()


def _scaled(number: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(number) < 999.5:
            return f"{_figures(number) if unit not in ('', 'B') else f'{number:.0f}'} {unit}"
        number /= 1000
    return f"{_figures(number)} {units[-1]}"


def _figures(number: float) -> str:
    """Format a number with one decimal below 100, and none above."""
    return f"{number:.0f}" if number >= 99.95 or number == int(number) else f"{number:.1f}"


def ranges(numbers: Iterable[int]) -> str:
    """Format numbers as ranges: ``0, 2-5``."""
    parts = []
    # Successive numbers differ from their position by the same amount.
    ordered = enumerate(sorted(set(numbers)))
    for _, group in itertools.groupby(ordered, key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}")
    return ", ".join(parts)


def shortened(text: str, width: int) -> str:
    """Shorten a text to at most ``width`` characters by omitting its middle."""
    if len(text) <= width:
        return text
    kept = max(width - len(_GAP), 2)
    head = kept // 2
    return f"{text[:head]}{_GAP}{text[len(text) - (kept - head) :]}"
