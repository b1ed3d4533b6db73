"""Finds facts about a capture on which the user may want to act, from its records alone.

There is one finding for each cause and model class. The tests run each remedy that is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from brainpy_probe.analysis import call_findings, compile_findings, program_findings
from brainpy_probe.analysis.finding import Finding
from brainpy_probe.format.manifest.records import Manifest

__all__ = ["find"]

# The costliest kinds first.
_FINDERS: tuple[Callable[[Manifest], Iterator[Finding]], ...] = (
    call_findings.variable_lost,
    compile_findings.recompiled_identical,
    compile_findings.recompiled_outside,
    compile_findings.recompiled_shape,
    compile_findings.slow_compile,
    compile_findings.quick_compiles,
    program_findings.dominant_component,
    call_findings.numba_missing,
    call_findings.jit_disabled,
    program_findings.opaque_custom_call,
    compile_findings.host_callback,
    program_findings.host_callback,
    compile_findings.large_constants_inlined,
    compile_findings.cache_hit_no_dump,
)


def find(manifest: Manifest) -> tuple[Finding, ...]:
    """Return the findings of a capture.

    Parameters
    ----------
    manifest : Manifest
        The records of the capture.
    """
    return tuple(finding for finder in _FINDERS for finding in finder(manifest))
