"""The colours of a model's components: one hue for each component of the first level."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

__all__ = ["Colours"]

# Successive hues differ most with the golden ratio. The first one is a blue.
_STEP, _START = 0.618033988749895, 0.58
_NEUTRAL = "#d9d9de"


class Colours:
    """Gives each component the colour of the group to which it belongs.

    Parameters
    ----------
    groups : sequence of str
        The groups, in an order that does not change.
    """

    def __init__(self, groups: Sequence[str]) -> None:
        self._hues = {group: (_START + _STEP * n) % 1.0 for n, group in enumerate(groups)}

    def fill(self, group: str) -> str:
        """Return a light colour, on which black text has a contrast of more than 7."""
        if group not in self._hues:
            return _NEUTRAL
        rgb = colorsys.hls_to_rgb(self._hues[group], 0.8, 0.65)
        return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)
