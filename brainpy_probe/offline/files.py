"""Checks a capture's files against its manifest; knows no compiler and reads no content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from brainpy_probe.atomic import is_left
from brainpy_probe.below import files_below, open_below
from brainpy_probe.digests import digest_of_file
from brainpy_probe.index import named_files
from brainpy_probe.offline.checks import Check, failed, noted, passed
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
    named = {MANIFEST, JOURNAL, *(file.path for file in files)}
    # A writer that was killed has left temporary files: they were never part of the capture.
    unnamed = {name for name in files_below(folder) if name not in named and not is_left(name)}
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
