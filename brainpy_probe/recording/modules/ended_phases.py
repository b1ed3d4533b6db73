"""Assigns the phases that ended in a thread (trace, lower, numba) to the modules they led to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from brainpy_probe.recording.modules.timing import Phase, Span, seconds_by_phase

__all__ = ["EndedPhase", "add_phase", "take_phases"]

# Maximum number of phases that are kept. The last phases before a module led to it.
_MAX_PENDING = 64


@dataclass(frozen=True)
class EndedPhase:
    """A phase that has ended, and the phases within it.

    Attributes
    ----------
    name : str
        JAX's name of the function, ``f`` or ``jit(f)``; empty up to JAX 0.4.30, which reports none.
    spans : tuple of Span
        Its own span first.
    """

    name: str
    spans: tuple[Span, ...]

    @property
    def phase(self) -> Phase:
        """The phase's kind."""
        return self.spans[0][0]

    @property
    def ended(self) -> float:
        """When it ended, by ``time.perf_counter``."""
        return self.spans[0][2]


def add_phase(pending: Sequence[EndedPhase], span: Span, name: str) -> tuple[EndedPhase, ...]:
    """Return the pending phases of a thread and one more, which ends now."""
    _, begin, _ = span
    # The phases of a thread nest: a phase that ended after this one began ran within it.
    within = [phase for phase in pending if phase.ended > begin]
    before = [phase for phase in pending if phase.ended <= begin]
    spans = (span, *(inner for phase in within for inner in phase.spans))
    return (*before[-_MAX_PENDING:], EndedPhase(name, spans))


def take_phases(
    pending: Sequence[EndedPhase], module: str, *, all_traces: bool
) -> tuple[dict[Phase, float] | None, tuple[EndedPhase, ...]]:
    """Split pending phases into those that led to a module, and the remaining ones.

    Parameters
    ----------
    pending : sequence of EndedPhase
        The phases that have ended in the thread, in their order.
    module : str
        The module's name.
    all_traces : bool
        Whether all earlier traces led to the module, as in a run of BrainPy.

    Returns
    -------
    dict or None
        The seconds, by phase, that led to the module. None if the module was lowered in
        another thread, or before the probe listened.
    tuple of EndedPhase
        The other phases.
    """
    numbers = range(len(pending))
    lowered = [
        n
        for n in numbers
        if pending[n].phase == "lower"
        and (not pending[n].name or _key(pending[n].name) == _key(module))
    ]
    if not lowered:
        return None, tuple(pending)
    last = lowered[-1]
    before = [n for n in numbers if n < last and pending[n].phase == "trace"]
    if not all_traces:
        # A JAX that reports no names reports only traces that are lowered right after.
        before = [
            n
            for n in before
            if (_leads_to(pending[n].name, module) if pending[n].name else n == last - 1)
        ][-1:]
    chosen = {last, *before}
    spans = [span for n in sorted(chosen) for span in pending[n].spans]
    return seconds_by_phase(spans), tuple(pending[n] for n in numbers if n not in chosen)


def _key(name: str) -> str:
    """Return a function's name as JAX spells it in module names: ``jit_lambda`` for a lambda."""
    return re.sub(r"[\W_]+", "_", name).strip("_")


def _leads_to(function: str, module: str) -> bool:
    return _key(module).endswith(f"_{_key(function)}")
