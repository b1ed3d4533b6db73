"""Checks a capture's files against its manifest; knows no compiler and reads no content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from brainpy_probe.digests import digest_of
from brainpy_probe.errors import DamagedCapture
from brainpy_probe.index import named_files
from brainpy_probe.offline.checks import Check, failed, noted, passed
from brainpy_probe.reading import read_file
from brainpy_probe.records import Manifest, WrittenFile
from brainpy_probe.store import JOURNAL, MANIFEST

__all__ = ["check_files"]

_SUBJECT = "files"


def check_files(folder: Path, manifest: Manifest) -> Iterator[Check]:
    """Check that each file is there and is the one that was written; name what else is there.

    A file that the manifest does not name is no fault: a picture that ``graph`` draws lies beside
    its source, and nothing that the capture says rests on it.
    """
    # A file that several programs share is named by each.
    files = list({(f.path, f.size, f.digest): f for f in named_files(manifest)}.values())
    unnamed = _unnamed(folder, files)
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
    target = folder / file.path
    try:
        if not target.is_file():
            return f"{file.path} is {'no file' if target.exists() else 'missing'}"
        size = target.stat().st_size
    except OSError as error:  # a name that is too long, a folder that may not be read
        return f"{file.path} can't be read: {error}"
    if size != file.size:
        return f"{file.path} has {size:,} bytes instead of {file.size:,}"
    try:
        read_file(folder, file)
    except DamagedCapture as error:
        unreadable = error.__cause__
        return f"{file.path} has another digest" if unreadable is None else str(unreadable)
    return ""


def _unnamed(folder: Path, files: list[WrittenFile]) -> set[str]:
    named = {MANIFEST, JOURNAL, *(file.path for file in files)}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return there - named


def _renamed(folder: Path, file: WrittenFile, fault: str, unnamed: set[str]) -> str:
    """Return the sentence's end, if a file that is missing lies there under another name."""
    if not fault.endswith(" is missing"):
        return ""
    for name in sorted(unnamed):
        other = folder / name
        if other.stat().st_size == file.size and digest_of(other.read_bytes()) == file.digest:
            return f"; {name} has its content"
    return ""
