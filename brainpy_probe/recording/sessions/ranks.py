"""The rank of this process in ``jax.distributed``, and arrays that span several processes."""

from __future__ import annotations

from collections.abc import Iterable

import jax

from brainpy_probe.compat import jax_process
from brainpy_probe.format.manifest.environment_records import Rank
from brainpy_probe.recording.program.closed import NamedValue
from brainpy_probe.recording.program.tensors import spans_processes

__all__ = ["rank", "spanning_notes"]


def rank(capture: int) -> Rank | None:
    """Return the rank of this process; None if there is only one process.

    Parameters
    ----------
    capture : int
        How many captures the process had opened before. Captures of several processes belong
        together if they have the same number in their processes.
    """
    if jax.process_count() == 1:
        return None
    return Rank(
        index=jax.process_index(),
        count=jax.process_count(),
        session=jax_process.session(),
        capture=capture,
    )


def spanning_notes(values: Iterable[NamedValue]) -> tuple[str, ...]:
    """Return a note on the arrays of which this process has only a part."""
    names = dict.fromkeys(item.name for item in values if spans_processes(item.value))
    if not names:
        return ()
    return (
        f"Each process has only a part of {', '.join(names)}, and records only that part. The "
        "program can't be replayed without the parts of the others.",
    )
