"""Checks a program's stored arrays against the manifest; knows no compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from brainpy_probe.arrays import read_arrays, restored
from brainpy_probe.errors import DamagedCapture
from brainpy_probe.offline.checks import Check, failed, passed, undecided
from brainpy_probe.records import ProgramRecord, TensorSpec

__all__ = ["check_arrays"]


def check_arrays(folder: Path, program: ProgramRecord) -> Iterator[Check]:
    """Check shape, element type and digest of each array that is stored for a program."""
    subject, name = f"program {program.index}", "arrays"
    held: dict[str, list[TensorSpec]] = {}
    for spec in (*program.arguments, *program.results):
        if spec.file:
            held.setdefault(spec.file, []).append(spec)
    if not held:
        yield undecided(subject, name, "none are stored: capture(data='none')")
        return
    faults = [one for path in held for one in _faults(folder, program, path, held[path])]
    for fault in faults:
        yield failed(subject, name, fault)
    if not faults:
        count = sum(map(len, held.values()))
        reason = f"{count} have the shape, element type and digest that the manifest says"
        yield passed(subject, name, f"{reason}, in {', '.join(held)}")


def _faults(
    folder: Path, program: ProgramRecord, path: str, specs: list[TensorSpec]
) -> Iterator[str]:
    file = next((file for file in program.files if file.path == path), None)
    if file is None:
        yield f"{path} is not among the program's files in the manifest"
        return
    try:
        raw = read_arrays(folder, file)
    except DamagedCapture as error:
        yield error.message
        return
    for spec in specs:
        try:
            restored(folder / path, spec, raw)
        except DamagedCapture as error:
            yield error.message
