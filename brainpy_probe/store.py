"""The capture folder: its layout, atomic writing, reading back; knows only records."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
import xxhash
from msgspec.structs import replace

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.records import FORMAT, VERSION, Addition, Manifest, WrittenFile

__all__ = [
    "JOURNAL",
    "MANIFEST",
    "RunFolder",
    "digest_of",
    "manifest_is_as_written",
    "named_files",
    "newest_run",
    "read_file",
    "read_manifest",
    "safe_name",
    "signed",
]

MANIFEST = "manifest.json"
# What a capture that goes on has added to its index, one line each.
JOURNAL = "journal.jsonl"
# Bytes that are still in the processor's cache when they are read again.
_CHUNK = 1 << 20


class RunFolder:
    """The folder of one capture while it is written.

    Every file is written under a temporary name and then renamed, so that a reader, or a process
    that is killed, never leaves half a file under a final name. What a call adds to the index is a
    line of the journal until the capture ends: writing it costs the same however long the index is,
    and a line that a killed process has left unended was none.

    Parameters
    ----------
    parent : str or path
        Where the folder is made; missing parents are made too.
    rank : int, optional
        The number of this process among those that run one program together.

    Raises
    ------
    OSError
        If the folder can't be made.
    """

    def __init__(self, parent: str | os.PathLike[str], rank: int | None = None) -> None:
        self.path = _new_folder(Path(parent).absolute(), rank)

    def write(self, name: str, kind: str, content: bytes) -> WrittenFile:
        """Write one file, given its path relative to the folder."""
        return self.write_pieces(name, kind, [content])[0]

    def write_pieces(
        self, name: str, kind: str, pieces: Sequence[bytes | memoryview]
    ) -> tuple[WrittenFile, list[str]]:
        """Write one file, given its content in pieces; return the digest of each of them, too."""
        with _digesting(pieces) as digests:
            _write_atomically(self.path / name, *pieces)
            whole, each = digests()
        size = sum(len(piece) for piece in pieces)
        return WrittenFile(path=name, kind=kind, size=size, digest=whole), each

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the index, replacing an earlier one and its journal."""
        content = msgspec.json.format(msgspec.json.encode(replace(manifest, digest="")), indent=1)
        _write_atomically(self.path / MANIFEST, signed(content))
        (self.path / JOURNAL).unlink(missing_ok=True)

    def append(self, addition: Addition) -> None:
        """Add to the index."""
        line = signed(msgspec.json.encode(replace(addition, digest=""))) + b"\n"
        with (self.path / JOURNAL).open("ab", buffering=0) as file:
            end = file.tell()
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError(f"{JOURNAL} took {written} bytes of {len(line)}")
            except BaseException:
                file.truncate(end)  # else the next line would begin within this one
                raise


# How an index ends.
_DIGEST = re.compile(rb'"digest":\s?"([0-9a-f]*)"\n?\}\Z')


def signed(content: bytes) -> bytes:
    """Return an index as JSON with the digest of its bytes in it, taken while that is empty."""
    found = _DIGEST.search(content)
    if found is None:
        raise ValueError("an index ends with its digest")
    before, after = content[: found.start(1)], content[found.end(1) :]
    return before + digest_of(before + after).encode() + after


def digest_of(content: bytes | memoryview) -> str:
    """Return the hexadecimal XXH3-128 of some bytes.

    It finds what was damaged or mistaken, at the speed of memory; whoever wants to forge a capture
    could write any digest that there is into it.
    """
    return str(xxhash.xxh3_128_hexdigest(content))


def _digests_of(pieces: Sequence[bytes | memoryview]) -> tuple[str, list[str]]:
    """Return the digest of the whole and that of each piece, having read them once."""
    whole, each = xxhash.xxh3_128(), []
    for piece in pieces:
        own, content = xxhash.xxh3_128(), memoryview(piece)
        for begin in range(0, len(content), _CHUNK):
            chunk = content[begin : begin + _CHUNK]
            whole.update(chunk)
            own.update(chunk)
        each.append(str(own.hexdigest()))
    return str(whole.hexdigest()), each


@contextlib.contextmanager
def _digesting(
    pieces: Sequence[bytes | memoryview],
) -> Iterator[Callable[[], tuple[str, list[str]]]]:
    """Give what digests some bytes, large ones in another thread while the block writes them.

    Both let go of Python's lock. The thread is gone in the end.
    """
    if sum(len(piece) for piece in pieces) < _CHUNK:  # starting a thread takes longer
        yield lambda: _digests_of(pieces)
        return
    with ThreadPoolExecutor(1) as thread:
        try:
            coming = thread.submit(_digests_of, pieces)
        except RuntimeError:  # the interpreter is ending: no new thread
            yield lambda: _digests_of(pieces)
        else:
            yield coming.result


def safe_name(name: str) -> str:
    """Return a name as it may stand in a path, on any system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "unnamed"


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


def _write_atomically(path: Path, *pieces: bytes | memoryview) -> None:
    """Write a file under another name, and give it its own when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def newest_run(parent: str | os.PathLike[str]) -> Path | None:
    """Return the capture folder that was made last below a folder, or None."""
    runs = [path.parent for path in Path(parent).glob(f"run-*/{MANIFEST}")]
    return max(runs, key=_when_made, default=None)


def _when_made(run: Path) -> tuple[str, int]:
    """Order runs by the second in their name, and within one by the last change."""
    indices = (run / name for name in (MANIFEST, JOURNAL))
    changes = [index.stat().st_mtime_ns for index in indices if index.exists()]
    return run.name.split("-")[1], max(changes)


def read_manifest(
    folder: str | os.PathLike[str], *, altered: bool = False
) -> tuple[Path, Manifest]:
    """Read and check the index of a capture folder.

    Parameters
    ----------
    folder : str or path
        The capture folder, or its ``manifest.json``.
    altered : bool
        Whether it may be another than was written, for who finds out what else is wrong.

    Returns
    -------
    path
        The folder, absolute.
    Manifest
        Its index.

    Raises
    ------
    FileNotFoundError
        If there is no manifest.
    DamagedCapture
        If it is cut off, altered, of a later version, or names a file outside the folder.
    """
    path = Path(folder).expanduser().absolute()
    if path.name == MANIFEST:
        path = path.parent
    source = path / MANIFEST
    if not source.is_file():
        raise FileNotFoundError(
            f"{path} is not a capture: it has no {MANIFEST}. Give the folder run-... itself."
        )
    content = source.read_bytes()
    head = _decoded(source, content, _Head)
    if head.format != FORMAT:
        raise DamagedCapture(f"{source} is not a capture: its format is {head.format!r}.")
    if head.version > VERSION:
        raise DamagedCapture(
            f"{source} was written in version {head.version} of the format; "
            f"this probe reads up to {VERSION}.",
            "Update brainpy-probe.",
        )
    manifest = _decoded(source, content, Manifest)
    lines = _journal(path)
    for line in lines:
        manifest = manifest.extended(_decoded(path / JOURNAL, line, Addition))
    _check_references(source, manifest)
    for file in named_files(manifest):
        _inside(path, file.path)
    for index, written in [(source, content), *((path / JOURNAL, line) for line in lines)]:
        if not altered and not _is_as_written(written):
            raise DamagedCapture(
                f"{index} is not the file that was written: its digest differs.",
                "brainpy-probe verify shows what else does; capture again.",
            )
    return path, replace(manifest, digest="")


def _journal(folder: Path) -> list[bytes]:
    """Return the journal's lines; what stands behind the last line's end was cut off."""
    source = folder / JOURNAL
    return source.read_bytes().split(b"\n")[:-1] if source.is_file() else []


def _decoded(source: Path, content: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedCapture(f"{source} can't be read: {error}.", "Capture again.") from error


def manifest_is_as_written(folder: Path) -> bool:
    """Whether an index that can be read is, byte for byte, the one that was written."""
    return all(map(_is_as_written, [(folder / MANIFEST).read_bytes(), *_journal(folder)]))


def _is_as_written(content: bytes) -> bool:
    return _DIGEST.search(content) is not None and signed(content) == content


def named_files(manifest: Manifest) -> Iterator[WrittenFile]:
    """Yield each file that a manifest names."""
    for program in manifest.programs:
        yield from program.files
        if program.portable is not None:
            yield from program.portable.files
    for module in manifest.modules:
        yield from module.files


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


_T = TypeVar("_T")


def _check_references(source: Path, manifest: Manifest) -> None:
    programs, calls = range(len(manifest.programs)), range(len(manifest.calls))
    for kind, records in (
        ("calls", manifest.calls),
        ("programs", manifest.programs),
        ("modules", manifest.modules),
    ):
        numbers = [record.index for record in records]
        if numbers != list(range(len(numbers))):
            raise DamagedCapture(f"{source} has {kind} missing: it numbers them {numbers}.")
    wrong = [c.index for c in manifest.calls if c.program is not None and c.program not in programs]
    if wrong:
        raise DamagedCapture(f"{source} has calls of programs that are not in it: {wrong}.")
    wrong = [m.index for m in manifest.modules if m.call is not None and m.call not in calls]
    if wrong:
        raise DamagedCapture(f"{source} has modules of calls that are not in it: {wrong}.")


def _inside(folder: Path, name: str) -> Path:
    """Return the place of a file that the manifest names, which must be inside the folder."""
    parts = PurePosixPath(name)
    target = folder / parts
    if (
        not parts.parts
        or parts.is_absolute()
        or ".." in parts.parts
        or set(name) & {"\\", "\0"}
        or not _leads_into(folder, target)
    ):
        raise DamagedCapture(f"{folder / MANIFEST} names a file outside its folder: {name!r}.")
    return target


def _leads_into(folder: Path, target: Path) -> bool:
    try:
        return target.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link to itself; before Python 3.13 a RuntimeError
        return False


def read_file(folder: Path, file: WrittenFile) -> bytes:
    """Read one file that the manifest names, and check that it is the one that was written.

    Raises
    ------
    DamagedCapture
        If the file is missing, or not what its digest says.
    """
    target = _inside(folder, file.path)
    try:
        if target.exists() and not target.is_file():
            raise OSError("it is no file")  # reading a pipe would never end
        content = target.read_bytes()
    except OSError as error:
        raise DamagedCapture(f"{target} can't be read: {error}.", "Capture again.") from error
    if len(content) != file.size or digest_of(content) != file.digest:
        found = (
            f"{len(content)} bytes instead of {file.size}"
            if len(content) != file.size
            else f"XXH3-128 {digest_of(content)} instead of {file.digest}"
        )
        raise DamagedCapture(
            f"{target} is not the file that was written: its size or digest differs ({found}).",
            "Capture again.",
        )
    return content
