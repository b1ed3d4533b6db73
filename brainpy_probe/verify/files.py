"""Checks a capture's files against its manifest; knows no compiler and reads no content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.arrays import check_array, read_arrays
from brainpy_probe.format.atomic import is_temporary
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.digests import digest_of_file
from brainpy_probe.format.folder import JOURNAL, MANIFEST
from brainpy_probe.format.index import named_files
from brainpy_probe.format.nofollow import files_below, open_below
from brainpy_probe.format.program_records import Fidelity, ProgramRecord, TensorSpec
from brainpy_probe.format.records import Manifest
from brainpy_probe.settings import Settings
from brainpy_probe.verify.checks import Check, failed, noted, passed, undecided

__all__ = ["check_arrays", "check_files", "check_forms"]

_SUBJECT = "files"


def check_files(folder: Path, manifest: Manifest) -> Iterator[Check]:
    """Check that each file is there and is the one that was written; name what else is there.

    A file that the manifest does not name is no fault: a picture that ``graph`` draws lies beside
    its source, and nothing that the capture says rests on it.
    """
    # A file that several programs share is named by each.
    files = list({(f.path, f.size, f.digest): f for f in named_files(manifest)}.values())
    named = {MANIFEST, JOURNAL, *(file.path for file in files)}
    # A writer that was killed has left temporary files: they were never part of the capture.
    unnamed = {name for name in files_below(folder) if name not in named and not is_temporary(name)}
    wrong = 0
    for file in files:
        fault = _fault(folder, file)
        if fault:
            wrong += 1
            fault += _renamed(folder, file, fault, unnamed)
            yield failed(_SUBJECT, "size and digest", fault)
    if not wrong:
        reason = f"{len(files)} files have the size and the digest that the manifest says"
        yield passed(_SUBJECT, "size and digest", reason)
    if unnamed:
        reason = f"not in the manifest, and not checked: {', '.join(sorted(unnamed))}"
        yield noted(_SUBJECT, "nothing else", reason)
    else:
        yield passed(_SUBJECT, "nothing else", "the manifest names every file in the folder")


def _fault(folder: Path, file: WrittenFile) -> str:
    try:
        with open_below(folder, file.path) as (descriptor, size):
            if size != file.size:
                return f"{file.path} has {size:,} bytes instead of {file.size:,}"
            if digest_of_file(descriptor) != file.digest:
                return f"{file.path} has another digest"
    except FileNotFoundError:
        return f"{file.path} is missing"
    except OSError as error:  # a link, a pipe, a folder that may not be read
        return f"{file.path} can't be read: {error}"
    return ""


def _renamed(folder: Path, file: WrittenFile, fault: str, unnamed: set[str]) -> str:
    """Return the sentence's end, if a file that is missing lies there under another name."""
    if not fault.endswith(" is missing"):
        return ""
    for name in sorted(unnamed):
        with contextlib.suppress(OSError), open_below(folder, name) as (descriptor, size):
            if size == file.size and digest_of_file(descriptor) == file.digest:
                return f"; {name} has its content"
    return ""


_NAME = "forms"


def check_forms(program: ProgramRecord, settings: Settings) -> Iterator[Check]:
    """Check that the manifest has a text in each dialect, or says why there is none."""
    subject = f"program {program.index}"
    given = [_form(subject, program.fidelity, program.files, settings)]
    if program.portable is not None:
        portable = program.portable
        name = f"{subject}, portable"
        given.append(_form(name, portable.fidelity, portable.files, settings))
    elif settings.portable:
        reason = "it was asked for, and the manifest has none"
        given.append([failed(f"{subject}, portable", _NAME, reason)])
    for form in given:
        yield from form


def _form(
    subject: str, fidelity: Fidelity, files: tuple[WrittenFile, ...], settings: Settings
) -> list[Check]:
    found = []
    there = {file.kind for file in files}
    for dialect in settings.dialects:
        check = fidelity.checks.get(dialect)
        if dialect in there:
            continue
        if check is not None and check.detail:
            found.append(noted(subject, _NAME, f"{dialect}: {check.detail}"))
        elif not there and fidelity.notes:
            found.append(noted(subject, _NAME, f"{dialect}: {' '.join(fidelity.notes)}"))
        else:
            reason = f"the manifest has no text in {dialect}, and does not say why"
            found.append(failed(subject, _NAME, reason))
    if not found:
        found.append(passed(subject, _NAME, f"a text in {', '.join(settings.dialects)}"))
    return found


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
            check_array(folder / path, spec, raw)
        except DamagedCapture as error:
            yield error.message
