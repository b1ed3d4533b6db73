"""Writes a capture folder: its files, its journal and its manifest."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from brainpy_probe.errors import FolderRemoved
from brainpy_probe.format.atomic import append_at, make_folders, write_atomically
from brainpy_probe.format.digests import digest_in_background, digest_of, with_digest
from brainpy_probe.format.index import Index, named_files
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.records import Addition, Manifest

__all__ = ["JOURNAL", "MANIFEST", "RunFolder", "safe_name"]

MANIFEST = "manifest.json"
# The file in which an open capture records its additions, one line each.
JOURNAL = "journal.jsonl"
# Minimum number of digits of the numbers in folder names.
_DIGITS: dict[Literal["programs", "modules"], int] = {"programs": 3, "modules": 4}
# Maximum length of a name in a path. Systems allow 255 characters; the probe adds to some names.
_MAX_NAME = 120


class RunFolder:
    """The folder of one capture while it is being written.

    Every file is written under a temporary name and then renamed, so that a reader never finds an
    incomplete file under a final name, even if the process is killed. Until the capture ends, each
    addition is one line of the journal, so that its cost does not grow with the capture. A
    truncated last line is ignored.

    The index in memory changes only after the disk has changed. A path is reserved only once, even
    if its files could not be written.

    Parameters
    ----------
    parent : str or path
        The folder in which the capture folder is created; missing parents are created too.
    rank : int, optional
        JAX's process index, if several processes run one program.

    Attributes
    ----------
    path : Path
        The folder.
    index : Index
        The records on disk; available after :meth:`write_manifest`.

    Raises
    ------
    OSError
        If the folder can't be created.
    """

    index: Index

    def __init__(self, parent: str | os.PathLike[str], rank: int | None = None) -> None:
        self.path = _new_folder(Path(parent).absolute(), rank)
        self._made = _identity(self.path)
        self._next = dict.fromkeys(_DIGITS, 0)
        self._reserved: list[str] = []

    def reserve(self, kind: Literal["programs", "modules"], number: int, name: str) -> str:
        """Return a path below the folder that was never reserved before.

        Parameters
        ----------
        kind : str
            ``programs`` or ``modules``.
        number : int
            The number of the record. The path contains it, or a higher number if it is taken.
        name : str
            The last part of the path.

        Raises
        ------
        FolderRemoved
            If the folder is missing.
        """
        self._check()
        number = max(number, self._next[kind])
        self._next[kind] = number + 1
        reserved = f"{kind}/{number:0{_DIGITS[kind]}d}-{name}"
        self._reserved.append(reserved)
        return reserved

    @contextlib.contextmanager
    def rollback_on_error(self, *reserved: str) -> Iterator[None]:
        """If the block raises, remove the files at the paths that it reserved.

        Files at the earlier ``reserved`` paths are removed as well. Nothing is removed if the index
        changed, because the exception was then an interrupt after the addition, or if the journal
        has a line that could not be removed and that may name the files.
        """
        others = [path for path in self._reserved if path not in reserved]
        self._reserved = [*others, *reserved]
        before, size = len(others), self.index.journal_size
        try:
            yield
        except BaseException:
            if self.index.journal_size == size and self._journal_ends_with_index():
                for path in self._reserved[before:]:
                    shutil.rmtree(self.path / path, ignore_errors=True)
            del self._reserved[before:]
            raise

    def discard(self, reserved: str) -> None:
        """Remove the files at a reserved path that no record will name."""
        shutil.rmtree(self.path / reserved, ignore_errors=True)
        self._reserved = [other for other in self._reserved if other != reserved]

    def write(self, name: str, kind: str, content: bytes) -> WrittenFile:
        """Write one file at a path relative to the folder."""
        return self.write_pieces(name, kind, [content])[0]

    def write_pieces(
        self, name: str, kind: str, pieces: Sequence[bytes | memoryview]
    ) -> tuple[WrittenFile, list[str]]:
        """Write one file from several pieces; also return the digest of each piece."""
        with digest_in_background(pieces) as digests:
            make_folders(self.path, name)
            write_atomically(self.path / name, *pieces)
            whole, each = digests()
        size = sum(len(piece) for piece in pieces)
        return WrittenFile(path=name, kind=kind, size=size, digest=whole), each

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest of a capture that begins."""
        self._write_manifest(manifest)
        self.index = Index(manifest)

    def _write_manifest(self, manifest: Manifest) -> None:
        content = msgspec.json.format(msgspec.json.encode(replace(manifest, digest="")), indent=1)
        write_atomically(self.path / MANIFEST, with_digest(content))

    def append(self, addition: Addition) -> None:
        """Add records to the index, first on disk and then in memory.

        Parameters
        ----------
        addition : Addition
            The records, numbered from the next free number.

        Raises
        ------
        FolderRemoved
            If the folder or the journal is missing.
        OSError
            If the line can't be written; the index is then unchanged.
        """
        self._check()
        line = with_digest(msgspec.json.encode(replace(addition, digest=""))) + b"\n"
        try:
            size = append_at(self.path / JOURNAL, self.index.journal_size, line)
        except FileNotFoundError as error:
            raise FolderRemoved(self.path) from error
        self.index.add(addition, journal_size=size)
        self._reserved.clear()

    def finish(self, addition: Addition) -> None:
        """Write the complete manifest with a last addition, and remove the journal.

        Raises
        ------
        FolderRemoved
            If the folder is missing; or if some of its files are, after the manifest was written.
        OSError
            If the manifest can't be written; the index is then unchanged.
        """
        self._check()
        ended = Index(self.index.manifest)
        ended.add(addition, complete=True)
        manifest = ended.manifest
        self._write_manifest(manifest)
        self.index.add(addition, complete=True)
        with contextlib.suppress(OSError):  # a complete manifest has all records of the journal
            (self.path / JOURNAL).unlink()
        missing = sorted(
            {file.path for file in named_files(manifest) if not (self.path / file.path).exists()}
        )
        if missing:
            raise FolderRemoved(self.path, missing)

    def remove(self) -> None:
        """Remove the folder, as far as possible."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _check(self) -> None:
        """Raise an error if the path no longer refers to the folder that was created."""
        try:
            same = _identity(self.path) == self._made
        except FileNotFoundError:
            same = False
        if not same:
            raise FolderRemoved(self.path)

    def _journal_ends_with_index(self) -> bool:
        try:
            return (self.path / JOURNAL).stat().st_size <= self.index.journal_size
        except FileNotFoundError:
            return True
        except OSError:
            return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def safe_name(name: str) -> str:
    """Return a name that is valid in a path on any system; a long name is cut and gets a digest."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "unnamed"
    if len(safe) <= _MAX_NAME:
        return safe
    digest = digest_of(name.encode(errors="surrogateescape"))[:8]
    return f"{safe[: _MAX_NAME - 1 - len(digest)]}-{digest}"


def _new_folder(parent: Path, rank: int | None) -> Path:
    """Create a folder with a name that no other capture has."""
    parent.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname()) or "host"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = f"run-{stamp}-{host}-{os.getpid()}"
    if rank is not None:
        name += f"-rank{rank}"
    for attempt in range(1, 1_000_000):
        folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{parent / name} and a million folders with that prefix exist already")
