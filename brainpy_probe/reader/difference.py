"""Compares two captures, each program explained in a worker process."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from typing import get_args

from msgspec.structs import replace

from brainpy_probe.analysis.difference.compare import Side
from brainpy_probe.analysis.difference.programs import compare, old_name
from brainpy_probe.analysis.difference.records import Aspect, CostChange, Difference
from brainpy_probe.errors import BadSetting, ProbeError, first_line
from brainpy_probe.reader.capture import Capture, load
from brainpy_probe.reader.program import Program

__all__ = ["diff"]

_ASPECTS: tuple[Aspect, ...] = get_args(Aspect)


def diff(
    old: str | os.PathLike[str] | Capture,
    new: str | os.PathLike[str] | Capture,
    *,
    program: int = 0,
    ignore: Collection[str] = (),
) -> Difference:
    """Compare one program of two captures: what changed, and at which level.

    Parameters
    ----------
    old, new : path or Capture
        The captures.
    program : int
        The number of the program in both captures.
    ignore : collection of str
        Aspects that do not make the programs different: ``data`` (the values of constants),
        ``constants`` (in the expressions), ``shapes``, ``costs``.

    Returns
    -------
    Difference
        The changes. Printed, it is a text; ``same`` is True if there are none.

    Raises
    ------
    BadSetting
        If there is no such program, or ``ignore`` has another word.
    CannotReplay, DamagedCapture, Stopped
        If a program can't be explained; see :meth:`Program.explain`.
    """
    unknown = sorted(set(ignore) - set(_ASPECTS))
    if unknown:
        raise BadSetting(
            f"ignore={', '.join(unknown)!r} is not allowed.", f"Allowed: {', '.join(_ASPECTS)}."
        )
    first, second = (one if isinstance(one, Capture) else load(one) for one in (old, new))
    return _diff(first, second, program, tuple(a for a in _ASPECTS if a in ignore))


def _diff(old: Capture, new: Capture, number: int, ignored: tuple[Aspect, ...]) -> Difference:
    """Compare a program of two captures."""
    before, after = (_program(capture, number) for capture in (old, new))
    difference, names = compare(
        Side(before.record, before.explain()),
        Side(after.record, after.explain()),
        lambda record: dataclasses.replace(after, record=record).explain(),
        ignored,
    )
    notes = list(difference.notes)
    costs: list[CostChange] = []
    if "costs" not in ignored:
        try:
            costs = list(_costs(before, after, names))
        except ProbeError as error:
            notes.append(f"The costs were not compared: {first_line(error)}")
    return replace(
        difference,
        old=str(old.path),
        new=str(new.path),
        costs=tuple(costs),
        modules=(_modules(old), _modules(new)),
        environment=dict(_environment(before, after)),
        notes=tuple(notes),
    )


def _program(capture: Capture, number: int) -> Program:
    programs = capture.programs
    if not 0 <= number < len(programs):
        raise BadSetting(
            f"{capture.path} has no program {number}.",
            f"It has {len(programs)}, numbered from 0.",
        )
    return programs[number]


def _costs(old: Program, new: Program, names: Mapping[str, str]) -> Iterator[CostChange]:
    """Yield the components whose costs differ."""
    before = {row.component: row.step for row in old.costs.components}
    after = {old_name(row.component, names): row.step for row in new.costs.components}
    for name in {**before, **after}:
        a, b = before.get(name), after.get(name)
        pair = [(row.flops, row.read + row.written) if row else (0.0, 0.0) for row in (a, b)]
        if pair[0] != pair[1]:
            yield CostChange(
                component=name,
                old_flops=pair[0][0],
                new_flops=pair[1][0],
                old_bytes=int(pair[0][1]),
                new_bytes=int(pair[1][1]),
            )


def _modules(capture: Capture) -> tuple[int, float]:
    modules = capture.manifest.modules
    return len(modules), round(sum(module.seconds.compile or 0.0 for module in modules), 3)


def _environment(before: Program, after: Program) -> Iterator[tuple[str, tuple[str, str]]]:
    old, new = before.environment, after.environment
    pairs = {"python": (old.python, new.python), "backend": (old.backend, new.backend)}
    pairs["devices"] = str(before.fidelity.placement), str(after.fidelity.placement)
    pairs["processor"] = old.processor, new.processor
    pairs["XLA_FLAGS"] = old.xla_flags or "", new.xla_flags or ""
    for name in {**old.versions, **new.versions}:
        pairs[name] = old.versions.get(name, ""), new.versions.get(name, "")
    for name, (a, b) in pairs.items():
        if a != b:
            yield name, (a, b)
