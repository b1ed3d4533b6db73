"""Findings about programs: dominant components, opaque custom calls, callbacks into Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from brainpy_probe.analysis.finding import (
    Finding,
    program_numbers,
    program_phrase,
    programs_by_model,
)
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.cost_records import Costs, Measured
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.format.manifest.records import Manifest

__all__ = ["dominant", "dominant_component", "host_callback", "opaque_custom_call"]

# The share of time or bytes above which a component is dominant.
DOMINANT = 0.5
# Alternatives that BrainPy has for a component, by the component's class.
_ALTERNATIVES = {
    "MaskedLinear": (
        "It multiplies with a dense matrix in each step. With bp.dnn.EventCSRLinear(conn, weight) "
        "as comm, only the synapses of neurons that fired are read; with bp.dnn.CSRLinear(conn, "
        "weight), only existing synapses. In bp.synapses, use comp_method='sparse'."
    ),
    "CSRLinear": (
        "It reads every synapse in each step. If its input is spikes, use bp.dnn.EventCSRLinear("
        "conn, weight) as comm, which reads only the synapses of neurons that fired."
    ),
    "EventCSRLinear": (
        "It reads the synapses of the neurons that fired. Another backend may be faster: "
        'brainevent.config.set_backend("{platform}", ...) with {backends} before the run, from '
        "BrainPy 2.7 on. This clears all of JAX's caches."
    ),
}


def dominant_component(manifest: Manifest) -> Iterator[Finding]:
    """Find models in which one component takes more than half of the measured time."""
    for model, programs in programs_by_model(manifest).items():
        # Only the longest program of a model is reported.
        longest = max(
            programs, key=lambda program: program.measured.loop if program.measured else 0.0
        )
        finding = dominant(
            longest.components,
            longest.measured,
            links=longest.links,
            platform=longest.fidelity.placement.platform,
        )
        if finding is not None:
            yield replace(finding, model=model, programs=(longest.index,))


def dominant(
    components: Mapping[str, str],
    measured: Measured | None,
    costs: Costs | None = None,
    links: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    platform: str = "cpu",
) -> Finding | None:
    """Return a finding if one component takes more than half of the time or of the bytes.

    Parameters
    ----------
    components : mapping
        The class of each component of the model by name, the model first.
    measured : Measured or None
        The run time of each component.
    costs : Costs, optional
        XLA's counts for each component, used if nothing was measured: bytes read and written,
        including those of custom calls.
    links : mapping, optional
        The names of the two components that each projection connects.
    platform : str
        JAX's name of the platform for which the program is lowered.
    """
    if measured is not None:
        own = {time.component: time.seconds for time in measured.components}
        total, unit = measured.loop, f"of the loop's time ({measured.loop:.2f} s)"
    elif costs is not None:
        own = {
            cost.component: cost.step.read + cost.step.written + cost.custom_bytes
            for cost in costs.components
        }
        total, unit = sum(own.values()), "of the bytes that a step reads and writes"
    else:
        return None
    if not total > 0:
        return None
    sums = dict.fromkeys(components, 0.0)
    for name, value in own.items():
        while name in sums:
            sums[name] += value
            parent = component_names.enclosing_component(name, components)
            name = "" if parent == name else parent
    root = next(iter(components), "")
    candidates = [name for name, value in sums.items() if name != root and value > DOMINANT * total]
    if not candidates:
        return None
    name = max(candidates, key=lambda candidate: candidate.count("."))  # the innermost one
    share = 100 * sums[name] / total
    label = component_names.label(name, links)
    return Finding(
        slug="dominant-component",
        sentence=f"{label}, {components[name]}, takes {share:.0f} % {unit}.",
        seconds=None if measured is None else sums[name],
        remedy=_ALTERNATIVES.get(
            components[name],
            "Optimise it first; brainpy-probe costs --trace FILE shows its ops.",
        ).format(platform=_brainevent_platform(platform), backends=_backends(platform)),
    )


def _brainevent_platform(platform: str) -> str:
    """Return brainevent's name of a platform of JAX's."""
    return {"": "cpu", "cpu": "cpu", "tpu": "tpu"}.get(platform, "gpu")


def _backends(platform: str) -> str:
    """Return the backends of brainevent's event-driven kernels on a platform (0.2.1, 0.3.0)."""
    others = {"cpu": ' or "numba"', "gpu": ' or "cuda_raw"', "tpu": ""}
    return f'"jax_raw"{others[_brainevent_platform(platform)]}'


def opaque_custom_call(manifest: Manifest) -> Iterator[Finding]:
    """Find custom calls whose code is not in any form of a program."""
    for model, programs in programs_by_model(manifest).items():
        for is_brainevent in (True, False):
            components_by_target: dict[str, set[str]] = {}
            affected: list[ProgramRecord] = []
            for program in programs:
                calls = {
                    target: constants
                    for target, constants in _opaque_calls(program).items()
                    if target.startswith("brainevent") == is_brainevent
                }
                affected += [program] if calls else []
                for target, constants in calls.items():
                    components_by_target.setdefault(target, set()).update(
                        _components_of(program, constants)
                    )
            if not components_by_target:
                continue
            components = sorted(set().union(*components_by_target.values()))
            computes = f" It computes {', '.join(components)}." if components else ""
            portable = manifest.settings.portable
            platform = _brainevent_platform(affected[0].fidelity.placement.platform)
            yield Finding(
                slug="opaque-custom-call",
                sentence=(
                    f"The code of {', '.join(sorted(components_by_target))} is not in "
                    f"{program_phrase(affected)} ({model})"
                    f"{', nor in its portable program' if portable else ''}.{computes}"
                ),
                remedy=(
                    "capture(portable=True) also writes the program in plain StableHLO. "
                    f'brainevent.config.set_backend("{platform}", "jax_raw") before the run '
                    "removes the custom call from the run itself, but clears all of JAX's caches."
                    if is_brainevent and not portable
                    else "Another compiler must provide the code itself."
                ),
                model=model,
                count=len(affected),
                programs=program_numbers(affected),
            )


def _opaque_calls(program: ProgramRecord) -> dict[str, tuple[str, ...]]:
    """Return the opaque calls that the portable program does not replace, and their constants."""
    opaque = program.fidelity.custom_calls
    portable = program.portable
    if portable is None or not portable.files:
        return opaque
    remaining = portable.fidelity.custom_calls
    return {target: constants for target, constants in opaque.items() if target in remaining}


def _components_of(program: ProgramRecord, constants: Iterable[str]) -> set[str]:
    """Return the components that hold some constants; a projection instead of its parts."""
    labels = set()
    for constant in constants:
        name = (
            component_names.enclosing_component(constant, program.components)
            or constant.partition(".")[0]
        )
        projection = name
        while projection not in program.links and "." in projection:
            projection = projection.rpartition(".")[0]
        chosen = projection if projection in program.links else name
        labels.add(component_names.label(chosen, program.links))
    return labels


def host_callback(manifest: Manifest) -> Iterator[Finding]:
    """Find programs that contain callbacks into Python."""
    for model, programs in programs_by_model(manifest).items():
        affected = [program for program in programs if program.fidelity.host_callbacks]
        if affected:
            targets = sorted({t for program in affected for t in program.fidelity.host_callbacks})
            yield Finding(
                slug="host-callback",
                sentence=(
                    f"{program_phrase(affected).capitalize()} ({model}) "
                    f"{'calls' if len(affected) == 1 else 'call'} back into Python "
                    f"({', '.join(targets)}), and can't run in another process."
                ),
                remedy="Remove jax.debug.print and other callbacks from update().",
                model=model,
                count=len(affected),
                programs=program_numbers(affected),
            )
