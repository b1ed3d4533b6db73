"""What a finding is, and the one where a component takes more than half; knows only records."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from brainpy_probe.format import component_names
from brainpy_probe.format.cost_records import Costs, Measured

__all__ = ["Finding", "dominant"]

# A component that takes more than this share is what to look at first.
DOMINANT = 0.5
# What BrainPy offers in the place of a component, by its class.
_OFFERED = {
    "MaskedLinear": (
        "It multiplies with a dense matrix in each step. bp.dnn.EventCSRLinear(conn, weight) as "
        "its comm reads only the synapses of neurons that have fired, bp.dnn.CSRLinear(conn, "
        "weight) only those that there are; of bp.synapses, comp_method='sparse' does that."
    ),
    "CSRLinear": (
        "It reads every synapse in each step. If its input is spikes, bp.dnn.EventCSRLinear(conn, "
        "weight) as its comm reads only the synapses of neurons that have fired."
    ),
    "EventCSRLinear": (
        "It reads the synapses of the neurons that have fired. Another backend may be faster: "
        'brainevent.config.set_backend("cpu", "jax_raw") or "numba" before the run, from BrainPy '
        "2.7 on; it clears all of JAX's caches."
    ),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth knowing or doing.

    Attributes
    ----------
    slug : str
        The kind of finding.
    sentence : str
        What was found, with figures.
    remedy : str
        What to do about it.
    model : str
        The model's class; empty if it is about no model.
    count : int
        How often that was found.
    seconds : float or None
        What it took in all, where that was measured.
    programs : tuple of int
        The programs that it is about.
    """

    slug: str
    sentence: str
    remedy: str
    model: str = ""
    count: int = 1
    seconds: float | None = None
    programs: tuple[int, ...] = ()


def dominant(
    components: Mapping[str, str],
    measured: Measured | None,
    costs: Costs | None = None,
    links: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Finding | None:
    """Return a finding where one component takes more than half.

    Parameters
    ----------
    components : mapping
        The class of each component of the model by its name, the model first.
    measured : Measured or None
        How long each ran.
    costs : Costs, optional
        What each costs by XLA's count, for where nothing was measured: bytes read and written,
        those of custom calls included.
    links : mapping, optional
        Of each projection the names of the components that it connects.
    """
    if measured is not None:
        own = {one.component: one.seconds for one in measured.components}
        whole, what = measured.loop, f"of the loop's time ({measured.loop:.2f} s)"
    elif costs is not None:
        own = {
            one.component: one.step.read + one.step.written + one.custom_bytes
            for one in costs.components
        }
        whole, what = sum(own.values()), "of the bytes that a step reads and writes"
    else:
        return None
    if not whole > 0:
        return None
    sums = dict.fromkeys(components, 0.0)
    for name, cost in own.items():
        while name in sums:
            sums[name] += cost
            above = component_names.enclosing_component(name, components)
            name = "" if above == name else above
    root = next(iter(components), "")
    most = [name for name, cost in sums.items() if name != root and cost > DOMINANT * whole]
    if not most:
        return None
    name = max(most, key=lambda one: one.count("."))  # the innermost one
    share = 100 * sums[name] / whole
    label = component_names.label(name, links)
    return Finding(
        slug="dominant-component",
        sentence=f"{label}, {components[name]}, takes {share:.0f} % {what}.",
        seconds=None if measured is None else sums[name],
        remedy=_OFFERED.get(
            components[name],
            "It is what to make faster first; brainpy-probe costs --trace FILE shows its ops.",
        ),
    )
