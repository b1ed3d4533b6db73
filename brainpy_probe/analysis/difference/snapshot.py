"""A snapshot of a program for later comparisons, as JSON that a person can review."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from brainpy_probe.analysis.difference.compare import Side
from brainpy_probe.analysis.explanation.records import Equation, Explanation
from brainpy_probe.errors import ProbeError, describe_error
from brainpy_probe.format.manifest.program_records import Fidelity, ProgramRecord

__all__ = ["Snapshot", "read_snapshot", "snapshot_of", "write_snapshot"]

_VERSION = 1


class ProgramSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A program without its values, files and lines."""

    record: ProgramRecord
    explanation: Explanation


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of a capture, in the order in which they first ran."""

    version: int = _VERSION
    programs: tuple[ProgramSnapshot, ...] = ()

    @property
    def sides(self) -> list[Side]:
        """The programs in the form in which they are compared."""
        return [Side(program.record, program.explanation) for program in self.programs]


def snapshot_of(sides: Sequence[Side]) -> Snapshot:
    """Return the snapshot of some programs."""
    return Snapshot(
        programs=tuple(
            ProgramSnapshot(record=_bare(side.record), explanation=_reviewed(side.explanation))
            for side in sides
        )
    )


def _bare(record: ProgramRecord) -> ProgramRecord:
    """Return a record with only what a comparison needs: names, types, components and identity."""
    return ProgramRecord(
        index=record.index,
        name=record.name,
        kind=record.kind,
        fingerprint="",
        identity=record.identity,
        arguments=tuple(replace(spec, digest="", file="", entry="") for spec in record.arguments),
        results=tuple(replace(spec, digest="", file="", entry="") for spec in record.results),
        fidelity=Fidelity(),
        files=(),
        components=record.components,
        links=record.links,
    )


def _reviewed(explanation: Explanation) -> Explanation:
    """Return an explanation without LaTeX, lines, docstrings and parameters."""

    def short(equations: Sequence[Equation]) -> tuple[Equation, ...]:
        return tuple(replace(equation, latex="", operations=()) for equation in equations)

    return replace(
        explanation,
        components=tuple(
            replace(
                part,
                equations=short(part.equations),
                definition=None,
                derivatives=(),
                parameters=(),
            )
            for part in explanation.components
        ),
        shared=short(explanation.shared),
        recorded=short(explanation.recorded),
    )


def write_snapshot(snapshot: Snapshot) -> bytes:
    """Return a snapshot as JSON, equal for equal programs."""
    return msgspec.json.format(msgspec.json.encode(snapshot), indent=1) + b"\n"


def read_snapshot(content: bytes) -> Snapshot:
    """Read a snapshot.

    Raises
    ------
    ProbeError
        If the content is not a snapshot, or another version of the package wrote it.
    """
    try:
        found = msgspec.json.decode(content, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise ProbeError(
            f"It is not a snapshot: {describe_error(error)}", "Run pytest --probe-update."
        ) from error
    if found.version != _VERSION:
        raise ProbeError(
            f"It has version {found.version}; this brainpy-probe reads version {_VERSION}.",
            "Run pytest --probe-update.",
        )
    return found
