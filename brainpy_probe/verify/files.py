"""Checks a capture's files and arrays against its manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.arrays import check_array, read_arrays
from brainpy_probe.format.atomic import is_temporary
from brainpy_probe.format.digests import digest_of_file
from brainpy_probe.format.folder import JOURNAL, MANIFEST
from brainpy_probe.format.index import named_files
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import (
    Fidelity,
    ProgramRecord,
    StepProgram,
    TensorSpec,
)
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.format.nofollow import files_below, open_below
from brainpy_probe.settings import Settings
from brainpy_probe.verify.checks import Check, failed, noted, passed, undecided

__all__ = ["check_arrays", "check_dialects", "check_files"]

_SUBJECT = "files"


def check_files(folder: Path, manifest: Manifest) -> Iterator[Check]:
    """Check that each file exists and is unchanged; list files that the manifest does not name.

    A file that the manifest does not name is not a fault: ``graph`` draws pictures next to dot
    files, and nothing in the capture depends on them.
    """
    # Programs that share a file all name it.
    files = list({(f.path, f.size, f.digest): f for f in named_files(manifest)}.values())
    named = {MANIFEST, JOURNAL, *(file.path for file in files)}
    # A writer that was killed leaves temporary files, which were never part of the capture.
    unnamed = {name for name in files_below(folder) if name not in named and not is_temporary(name)}
    wrong = 0
    for file in files:
        fault = _fault(folder, file)
        if fault:
            wrong += 1
            fault += _new_name(folder, file, fault, unnamed)
            yield failed(_SUBJECT, "size and digest", fault)
    if not wrong:
        reason = f"{len(files)} files have the size and the digest in the manifest"
        yield passed(_SUBJECT, "size and digest", reason)
    if unnamed:
        reason = f"not in the manifest and not checked: {', '.join(sorted(unnamed))}"
        yield noted(_SUBJECT, "nothing else", reason)
    else:
        yield passed(_SUBJECT, "nothing else", "the manifest names every file in the folder")


def _fault(folder: Path, file: WrittenFile) -> str:
    try:
        with open_below(folder, file.path) as (descriptor, size):
            if size != file.size:
                return f"{file.path} has {size:,} bytes instead of {file.size:,}"
            if digest_of_file(descriptor) != file.digest:
                return f"{file.path} was changed: its digest differs"
    except FileNotFoundError:
        return f"{file.path} is missing"
    except OSError as error:  # a link, a pipe, missing permissions
        return f"{file.path} can't be read: {error}"
    return ""


def _new_name(folder: Path, file: WrittenFile, fault: str, unnamed: set[str]) -> str:
    """Return a phrase with the new name of a missing file, if its content is in the folder."""
    if not fault.endswith(" is missing"):
        return ""
    for name in sorted(unnamed):
        with contextlib.suppress(OSError), open_below(folder, name) as (descriptor, size):
            if size == file.size and digest_of_file(descriptor) == file.digest:
                return f"; {name} has its content"
    return ""


_NAME = "dialects"


def check_dialects(program: ProgramRecord, settings: Settings) -> Iterator[Check]:
    """Check that the manifest has a text in each dialect, or a reason for each missing text."""
    subject = f"program {program.index}"
    yield from _check_program(subject, program, settings)
    if program.step is not None:
        yield from _check_program(f"{subject}, step", program.step, settings)
    elif settings.step and program.kind == "loop":
        yield failed(f"{subject}, step", _NAME, _MISSING)


_MISSING = "it was requested, but the manifest does not have it"


def _check_program(
    subject: str, program: ProgramRecord | StepProgram, settings: Settings
) -> Iterator[Check]:
    yield from _checks_of_texts(subject, program.fidelity, program.files, settings)
    subject = f"{subject}, portable"
    if program.portable is not None:
        portable = program.portable
        yield from _checks_of_texts(subject, portable.fidelity, portable.files, settings)
    elif settings.portable and program.files:
        yield failed(subject, _NAME, _MISSING)


def _checks_of_texts(
    subject: str, fidelity: Fidelity, files: tuple[WrittenFile, ...], settings: Settings
) -> list[Check]:
    """Check that each requested dialect has a text or a reason."""
    checks = []
    kinds = {file.kind for file in files}
    for dialect in settings.dialects:
        check = fidelity.checks.get(dialect)
        if dialect in kinds:
            continue
        if check is not None and check.detail:
            checks.append(noted(subject, _NAME, f"{dialect}: {check.detail}"))
        elif not kinds and fidelity.notes:
            checks.append(noted(subject, _NAME, f"{dialect}: {' '.join(fidelity.notes)}"))
        else:
            reason = f"the manifest has no text in {dialect}, and gives no reason"
            checks.append(failed(subject, _NAME, reason))
    if not checks:
        checks.append(passed(subject, _NAME, f"a text in {', '.join(settings.dialects)}"))
    return checks


def check_arrays(folder: Path, program: ProgramRecord) -> Iterator[Check]:
    """Check shape, dtype and digest of each stored array of a program."""
    subject, name = f"program {program.index}", "arrays"
    stored: dict[str, list[TensorSpec]] = {}
    for spec in (*program.arguments, *program.results):
        for one in (spec, *(part.spec(spec) for part in spec.parts)):
            if one.file:
                stored.setdefault(one.file, []).append(one)
    if not stored:
        yield undecided(subject, name, "no arrays are stored: capture(data='none')")
        return
    faults = [fault for path in stored for fault in _faults(folder, program, path, stored[path])]
    for fault in faults:
        yield failed(subject, name, fault)
    if not faults:
        count = sum(map(len, stored.values()))
        reason = f"{count} arrays have the shape, dtype and digest in the manifest"
        yield passed(subject, name, f"{reason}, in {', '.join(stored)}")


def _faults(
    folder: Path, program: ProgramRecord, path: str, specs: list[TensorSpec]
) -> Iterator[str]:
    """Yield the arrays of a file that differ from the manifest."""
    file = next((file for file in program.files if file.path == path), None)
    if file is None:
        yield f"the manifest does not list {path} among the program's files"
        return
    try:
        arrays = read_arrays(folder, file)
    except DamagedCapture as error:
        yield error.message
        return
    for spec in specs:
        try:
            check_array(folder / path, spec, arrays)
        except DamagedCapture as error:
            yield error.message
