"""The colours of a model's components: one hue for each group of components."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

from brainpy_probe.format import component_names

__all__ = ["Colours"]

# Successive hues differ most with the golden ratio. The first one is a blue.
_STEP, _START = 0.618033988749895, 0.58
_NEUTRAL = "#d9d9de"


class Colours:
    """Gives each component the colour of the group to which it belongs.

    Parameters
    ----------
    groups : mapping
        The group of each component, in a fixed order. Components without a group, such as the
        runner's, are grey.
    """

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._groups = groups
        found = dict.fromkeys(groups.values())
        self._hues = {group: (_START + _STEP * n) % 1.0 for n, group in enumerate(found)}

    def fill(self, component: str) -> str:
        """Return a light colour, on which black text has a contrast of more than 7.

        The backward pass of a component has the component's.
        """
        component = component_names.forward(component)
        if component not in self._groups:
            return _NEUTRAL
        rgb = colorsys.hls_to_rgb(self._hues[self._groups[component]], 0.8, 0.65)
        return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)
