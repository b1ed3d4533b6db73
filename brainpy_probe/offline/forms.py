"""Checks that a program is there in each form that was asked for; reads no file."""

from __future__ import annotations

from collections.abc import Iterator

from brainpy_probe.offline.checks import Check, failed, noted, passed
from brainpy_probe.records import Fidelity, ProgramRecord, WrittenFile
from brainpy_probe.settings import Settings

__all__ = ["check_forms"]

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
