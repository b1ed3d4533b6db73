"""Which of the phases that have ended in a thread led to a module; knows no JAX and no module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from brainpy_probe.recording.modules.timing import Phase, Span, by_phase

__all__ = ["Ended", "noted", "taken"]

# What leads to a module are the last phases before it; traces that lead to none are forgotten.
_MOST = 64


@dataclass(frozen=True)
class Ended:
    """A phase that has ended, and those within it.

    Attributes
    ----------
    name : str
        JAX's name for the function, ``f`` or ``jit(f)``; empty where JAX tells none (up to 0.4.30).
    spans : tuple of Span
        Its own span first.
    """

    name: str
    spans: tuple[Span, ...]

    @property
    def phase(self) -> Phase:
        """Which phase it is."""
        return self.spans[0][0]


def noted(pending: Sequence[Ended], span: Span, name: str) -> tuple[Ended, ...]:
    """Return the phases that have ended in a thread, with one that ends now."""
    _, begin, _ = span
    # The phases of a thread nest: what ended after this one began lies within it.
    within = [one for one in pending if one.spans[0][2] > begin]
    before = [one for one in pending if one.spans[0][2] <= begin]
    spans = (span, *(inner for one in within for inner in one.spans))
    return (*before[-_MOST:], Ended(name, spans))


def taken(
    pending: Sequence[Ended], module: str, *, whole: bool
) -> tuple[dict[Phase, float] | None, tuple[Ended, ...]]:
    """Return the seconds that led to a module, by phase, and the phases that did not.

    Parameters
    ----------
    pending : sequence of Ended
        The phases that have ended in the thread, in their order.
    module : str
        The module's name.
    whole : bool
        Whether whatever was traced before it led to it, as in a run of BrainPy's.

    Returns
    -------
    dict or None
        The seconds; None if it was lowered elsewhere, or before anybody listened.
    tuple of Ended
        What is left.
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
    if not whole:
        # JAX that tells no names tells of no other traces either: what is traced is lowered next.
        before = [
            n
            for n in before
            if (_leads_to(pending[n].name, module) if pending[n].name else n == last - 1)
        ][-1:]
    chosen = {last, *before}
    spans = [span for n in sorted(chosen) for span in pending[n].spans]
    return by_phase(spans), tuple(pending[n] for n in numbers if n not in chosen)


def _key(name: str) -> str:
    """Return a name as it may stand in a module's: ``jit(<lambda>)`` is ``jit__lambda``."""
    return re.sub(r"[\W_]+", "_", name).strip("_")


def _leads_to(function: str, module: str) -> bool:
    return _key(module).endswith(f"_{_key(function)}")
