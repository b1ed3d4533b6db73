"""The table of ``show --compiles``: the compilations caused by each of the user's lines."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from brainpy_probe.analysis.compile_causes import Cause, causes
from brainpy_probe.format.manifest.records import Manifest, Reason
from brainpy_probe.output import FittingTable
from brainpy_probe.quantities import seconds, shortened

__all__ = ["REASONS", "compiles_table", "notes_on"]

# The meaning of each reason, in two or three words.
REASONS: dict[Reason, str] = {
    "first": "first time",
    "same": "same again",
    "backend": "another backend",
    "shape": "another shape",
    "dtype": "another dtype",
    "values": "other constants",
    "code": "other code",
}
_NAME_WIDTH = 24


def compiles_table(manifest: Manifest) -> Group:
    """Return a table with a row for each line of the user's code and reason.

    Parameters
    ----------
    manifest : Manifest
        The records of the capture.
    """
    rows = causes(manifest)
    table = FittingTable(
        "line", "why", "modules", "trace", "lower", "compile", "cached", "wasted",
        names=2, spare=("trace", "lower"),
    )  # fmt: skip
    for cause in rows:
        table.add_row(
            shortened(cause.place or "unknown", _NAME_WIDTH),
            REASONS[cause.reason],
            f"{len(cause.modules)}",
            *(seconds(getattr(cause.seconds, name)) for name in ("trace", "lower", "compile")),
            f"{cause.cached}" if cause.cached else "",
            seconds(cause.saves) if cause.saves != 0.0 else "",
        )
    return Group(table, *(Text(note, style="dim") for note in notes_on(rows)))


def notes_on(rows: Sequence[Cause]) -> list[str]:
    """Return notes that explain the rows."""
    notes = [
        "In seconds. A line is the innermost one outside of site-packages when JAX compiled; "
        "wasted is what was spent on modules that had been compiled before.",
    ]
    quick = sum(cause.quick for cause in rows)
    if quick:
        notes.append(
            f"{quick} module{'s' * (quick > 1)} compiled too quickly for JAX's persistent cache to "
            "keep (jax_persistent_cache_min_compile_time_secs): every process compiles them again."
        )
    return notes
