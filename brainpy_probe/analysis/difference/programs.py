"""Compares two programs as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from brainpy_probe.analysis.difference.compare import (
    Side,
    changed_components,
    changed_data,
    changed_signature,
    changed_starts,
    changed_updates,
    renamed_components,
)
from brainpy_probe.analysis.difference.records import Aspect, Difference
from brainpy_probe.analysis.explanation.records import Explanation
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = ["compare", "old_name"]


def compare(
    old: Side,
    new: Side,
    explain: Callable[[ProgramRecord], Explanation],
    ignored: tuple[Aspect, ...] = (),
) -> tuple[Difference, dict[str, str]]:
    """Compare two programs.

    Parameters
    ----------
    old, new : Side
        The programs.
    explain : callable
        Explains the new program, given its record with other names.
    ignored : tuple of str
        Aspects that do not make the programs different.

    Returns
    -------
    Difference
        The difference, without folders, costs, modules and environment.
    dict
        The old name of each renamed component, by its new name.
    """
    names = renamed_components(old, new)
    identities = old.record.identity, new.record.identity
    if names:
        record = _renamed(new.record, names)
        new = Side(record, explain(record))
    signature = changed_signature(old.record, new.record)
    updates = changed_updates(old, new)
    components = changed_components(old.record, new.record, names)
    data, unknown = changed_data(old.record, new.record)
    counted = [c for c in signature if not ("shapes" in ignored and c.kind == "reshaped")]
    counted_updates = [u for u in updates if not set(u.levels) <= set(ignored)]
    counted_data = data if "data" not in ignored else []
    common = old.explanation.digests.keys() & new.explanation.digests.keys()
    difference = Difference(
        old="",
        new="",
        same=not (counted or counted_updates or components or counted_data),
        same_program=not (signature or updates),
        old_identity=identities[0],
        new_identity=identities[1],
        ignored=ignored,
        signature=tuple(signature),
        updates=tuple(updates),
        compared=len(common),
        components=tuple(components),
        data=tuple(data),
        notes=tuple(_notes(old, new, unknown if "data" not in ignored else [])),
    )
    return difference, names


def _notes(old: Side, new: Side, unknown: list[str]) -> Iterator[str]:
    if unknown:
        yield f"Not compared, since a digest is missing: {', '.join(unknown)}."
    starts = changed_starts(old.record, new.record)
    if starts:
        yield f"Other values at the start: {', '.join(starts)}."


def old_name(name: str, names: Mapping[str, str]) -> str:
    """Return the old name of a component or value, given the renamed components."""
    for new, old in names.items():
        if name == new or name.startswith(f"{new}."):
            return old + name[len(new) :]
    return name


def _renamed(record: ProgramRecord, names: Mapping[str, str]) -> ProgramRecord:
    """Return a program's record with the old names of renamed components."""
    return replace(
        record,
        arguments=tuple(
            replace(spec, name=old_name(spec.name, names)) for spec in record.arguments
        ),
        results=tuple(
            replace(spec, name=old_name(spec.name, names)) if spec.role == "state" else spec
            for spec in record.results
        ),
        components={old_name(name, names): cls for name, cls in record.components.items()},
    )
