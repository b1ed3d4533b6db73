"""The capture folder while it is written: its layout, its index; knows only records."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from brainpy_probe.errors import FolderRemoved
from brainpy_probe.format.atomic import append_at, make_folders, write_whole
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.digests import digest_of, digesting, signed
from brainpy_probe.format.index import Index, named_files
from brainpy_probe.format.records import Addition, Manifest

__all__ = ["JOURNAL", "MANIFEST", "RunFolder", "safe_name"]

MANIFEST = "manifest.json"
# What a capture that goes on has added to its index, one line each.
JOURNAL = "journal.jsonl"
# How many digits the numbers of places have at least.
_DIGITS = {"programs": 3, "modules": 4}
# Characters of a name that stand in a path: of 255 that a system allows, the rest is ours.
_LONGEST = 120


class RunFolder:
    """The folder of one capture while it is written.

    Every file is written under a temporary name and then renamed, so that a reader, or a process
    that is killed, never leaves half a file under a final name. What a call adds to the index is a
    line of the journal until the capture ends: writing it costs the same however long the index is,
    and a line that a killed process has left unended was none.

    The index in memory changes only after the disk has. A place for files is given out once, even
    if what was to stand there could not be written.

    Parameters
    ----------
    parent : str or path
        Where the folder is made; missing parents are made too.
    rank : int, optional
        The number of this process among those that run one program together.

    Attributes
    ----------
    path : Path
        The folder.
    index : Index
        The records that the disk has; there since :meth:`write_manifest`.

    Raises
    ------
    OSError
        If the folder can't be made.
    """

    index: Index

    def __init__(self, parent: str | os.PathLike[str], rank: int | None = None) -> None:
        self.path = _new_folder(Path(parent).absolute(), rank)
        self._made = _identity(self.path)
        self._next = dict.fromkeys(_DIGITS, 0)
        self._places: list[str] = []

    def place(self, kind: str, number: int, name: str) -> str:
        """Return a path below the folder at which nothing was ever written.

        Parameters
        ----------
        kind : str
            ``programs`` or ``modules``.
        number : int
            The number of the record; the place has it too, unless a place had it before.
        name : str
            What else the path is to tell.

        Raises
        ------
        FolderRemoved
            If the folder is gone.
        """
        self._check()
        number = max(number, self._next[kind])
        self._next[kind] = number + 1
        made = f"{kind}/{number:0{_DIGITS[kind]}d}-{name}"
        self._places.append(made)
        return made

    @contextlib.contextmanager
    def adding(self, *places: str) -> Iterator[None]:
        """Remove the files at the places that a block was given, if the block fails.

        The same goes for ``places`` that were given before.

        Not if what they hold was added to the index before: then an interrupt came after that. Nor
        if the journal has a line that could not be taken back, which may name them.
        """
        others = [place for place in self._places if place not in places]
        self._places = [*others, *places]
        before, end = len(others), self.index.end
        try:
            yield
        except BaseException:
            if self.index.end == end and self._journal_ends_with_index():
                for place in self._places[before:]:
                    shutil.rmtree(self.path / place, ignore_errors=True)
            del self._places[before:]
            raise

    def give_back(self, place: str) -> None:
        """Remove the files at a place that no record will name."""
        shutil.rmtree(self.path / place, ignore_errors=True)
        self._places = [other for other in self._places if other != place]

    def write(self, name: str, kind: str, content: bytes) -> WrittenFile:
        """Write one file, given its path relative to the folder."""
        return self.write_pieces(name, kind, [content])[0]

    def write_pieces(
        self, name: str, kind: str, pieces: Sequence[bytes | memoryview]
    ) -> tuple[WrittenFile, list[str]]:
        """Write one file, given its content in pieces; return the digest of each of them, too."""
        with digesting(pieces) as digests:
            make_folders(self.path, name)
            write_whole(self.path / name, *pieces)
            whole, each = digests()
        size = sum(len(piece) for piece in pieces)
        return WrittenFile(path=name, kind=kind, size=size, digest=whole), each

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the index whole, as that of a capture that begins."""
        self._write_index(manifest)
        self.index = Index(manifest)

    def _write_index(self, manifest: Manifest) -> None:
        content = msgspec.json.format(msgspec.json.encode(replace(manifest, digest="")), indent=1)
        write_whole(self.path / MANIFEST, signed(content))

    def append(self, addition: Addition) -> None:
        """Add to the index, on disk and then in memory.

        Parameters
        ----------
        addition : Addition
            The records, numbered as the next ones.

        Raises
        ------
        FolderRemoved
            If the folder or the journal is gone.
        OSError
            If the line can't be written; the index is as before.
        """
        self._check()
        line = signed(msgspec.json.encode(replace(addition, digest=""))) + b"\n"
        try:
            end = append_at(self.path / JOURNAL, self.index.end, line)
        except FileNotFoundError as error:
            raise FolderRemoved(self.path) from error
        self.index.add(addition, end=end)
        self._places.clear()

    def finish(self, addition: Addition) -> None:
        """Write the index whole, with a last addition, and remove the journal.

        Raises
        ------
        FolderRemoved
            If the folder is gone; or if some of its files are, once the index is written.
        OSError
            If it can't be written; the index is as before.
        """
        self._check()
        ended = Index(self.index.manifest)
        ended.add(addition, complete=True)
        manifest = ended.manifest
        self._write_index(manifest)
        self.index.add(addition, complete=True)
        with contextlib.suppress(OSError):  # nobody reads it any more
            (self.path / JOURNAL).unlink()
        gone = sorted({f.path for f in named_files(manifest) if not (self.path / f.path).exists()})
        if gone:
            raise FolderRemoved(self.path, gone)

    def remove(self) -> None:
        """Remove the folder, as far as that can be done."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _check(self) -> None:
        """Raise an error if the folder is not the one that was made."""
        try:
            same = _identity(self.path) == self._made
        except FileNotFoundError:
            same = False
        if not same:
            raise FolderRemoved(self.path)

    def _journal_ends_with_index(self) -> bool:
        try:
            return (self.path / JOURNAL).stat().st_size <= self.index.end
        except FileNotFoundError:
            return True
        except OSError:
            return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def safe_name(name: str) -> str:
    """Return a name as it may stand in a path, on any system: a long one cut, with a digest."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "unnamed"
    if len(safe) <= _LONGEST:
        return safe
    digest = digest_of(name.encode(errors="surrogateescape"))[:8]
    return f"{safe[: _LONGEST - 1 - len(digest)]}-{digest}"


def _new_folder(parent: Path, rank: int | None) -> Path:
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
    raise FileExistsError(f"{parent / name} and a million folders like it exist already")
