"""Makes the specs of a program's arguments and results for the program's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from brainpy_probe.compat.types import Array
from brainpy_probe.format.manifest.part_records import Part
from brainpy_probe.format.manifest.program_records import TensorSpec
from brainpy_probe.ir.dialects import Lowered
from brainpy_probe.recording.program import tensors
from brainpy_probe.recording.program.closed import ClosedProgram, NamedValue

__all__ = ["argument_specs", "part_entry", "result_specs"]


def argument_specs(
    closed: ClosedProgram, lowered: Lowered, stored: Mapping[str, tensors.Stored]
) -> tuple[TensorSpec, ...]:
    """Return the specs of a program's tokens, then of its arguments.

    Parameters
    ----------
    closed : ClosedProgram
        The program.
    lowered : Lowered
        Its StableHLO module.
    stored : mapping
        The places of values, by group and name.
    """
    return _specs(closed.arguments, lowered, lowered.argument_shardings, stored)


def result_specs(
    closed: ClosedProgram, lowered: Lowered, stored: Mapping[str, tensors.Stored]
) -> tuple[TensorSpec, ...]:
    """Return the specs of the results, with the step axis of results that have one.

    Parameters
    ----------
    closed, lowered, stored
        As for :func:`argument_specs`.
    """
    specs = []
    for spec in _specs(closed.results, lowered, lowered.result_shardings, stored):
        key = spec.role, spec.name
        records = closed.records.get(key)
        if records is not None:
            axis = 1 if key in closed.swapped else 0
            spec = replace(spec, axis=axis if closed.kind == "loop" else None, records=records)
        specs.append(spec)
    return tuple(specs)


def _specs(
    group: Sequence[NamedValue],
    lowered: Lowered,
    shardings: Sequence[str],
    stored: Mapping[str, tensors.Stored],
) -> tuple[TensorSpec, ...]:
    tokens = lowered.token_types
    token_specs = [
        TensorSpec(name=f"token.{n}", role="token", shape=shape, dtype=dtype, nbytes=0)
        for n, (shape, dtype) in enumerate(tokens)
    ]
    own = zip(group, shardings[len(tokens) :], strict=True)
    return (*token_specs, *(_spec(item, sharding, stored) for item, sharding in own))


def _spec(item: NamedValue, sharding: str, stored: Mapping[str, tensors.Stored]) -> TensorSpec:
    """Return the spec of an argument or result."""
    shape, dtype, nbytes, key = tensors.lowered_type(item.value)
    spec = TensorSpec(
        name=item.name,
        role=item.role,
        shape=shape,
        dtype=dtype,
        unit=item.unit,
        nbytes=nbytes,
        key=key,
        loop_path=item.loop_path,
        loop_axis=item.loop_axis,
        sharding=sharding,
    )
    parts = tuple(
        _part(start, value, stored[part_entry(item, start)])
        for start, value in tensors.own_parts(item.value).items()
        if part_entry(item, start) in stored and item.loop_axis is None
    )
    spec = replace(spec, parts=parts)
    place = stored.get(item.loop_path or item.path)
    if place is None or item.loop_axis is not None:
        return spec
    file = "" if place.file is None else place.file.path
    return replace(spec, digest=place.digest, file=file, entry=place.entry)


def part_entry(item: NamedValue, start: Sequence[int]) -> str:
    """Return the name in a file of a part of an array: ``state/x@4,0``."""
    return f"{item.loop_path or item.path}@{','.join(map(str, start))}"


def _part(start: Sequence[int], value: Array, place: tensors.Stored) -> Part:
    file = "" if place.file is None else place.file.path
    return Part(
        start=tuple(start), shape=value.shape, digest=place.digest, file=file, entry=place.entry
    )
