"""The capture folder read back, and held against its index; knows only records."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from brainpy_probe.digests import digest_of, is_signed
from brainpy_probe.errors import DamagedCapture
from brainpy_probe.index import Index, named_files
from brainpy_probe.records import FORMAT, VERSION, Addition, Manifest, WrittenFile
from brainpy_probe.store import JOURNAL, MANIFEST

__all__ = ["manifest_is_as_written", "newest_run", "read_file", "read_manifest"]

_T = TypeVar("_T")


def newest_run(parent: str | os.PathLike[str]) -> Path | None:
    """Return the capture folder that was made last below a folder, or None."""
    runs = [path.parent for path in Path(parent).glob(f"run-*/{MANIFEST}")]
    return max(runs, key=_when_made, default=None)


def _when_made(run: Path) -> tuple[str, int, int, str]:
    """Order runs by the second in their name, and within one by the last change.

    Clocks of files go in steps of milliseconds: within one a folder's own number decides.
    """
    indices = (run / name for name in (MANIFEST, JOURNAL))
    changes = [index.stat().st_mtime_ns for index in indices if index.exists()]
    return run.name.split("-")[1], max(changes), len(run.name), run.name


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
    content, manifest, lines = _read_index(path)
    index = Index(manifest)
    for line in lines:
        index.add(_decoded(path / JOURNAL, line, Addition))
    manifest = index.manifest
    _check_references(source, manifest)
    for file in named_files(manifest):
        _inside(path, file.path)
    for place, written in [(source, content), *((path / JOURNAL, line) for line in lines)]:
        if not altered and not is_signed(written):
            raise DamagedCapture(
                f"{place} is not the file that was written: its digest differs.",
                "brainpy-probe verify shows what else does; capture again.",
            )
    return path, replace(manifest, digest="")


def _read_index(folder: Path) -> tuple[bytes, Manifest, list[bytes]]:
    """Return the manifest as it is stored and as a record, and the journal's lines.

    A capture that ends meanwhile writes its manifest anew and removes the journal: what was read of
    both is of one moment if the manifest is the same before and after.
    """
    source = folder / MANIFEST
    content = source.read_bytes()
    while True:
        manifest = _manifest(source, content)
        if manifest.complete:
            return content, manifest, []  # a journal that is still there is in it already
        lines = _journal(folder)
        before, content = content, source.read_bytes()
        if content == before:
            return content, manifest, lines


def _manifest(source: Path, content: bytes) -> Manifest:
    head = _decoded(source, content, _Head)
    if head.format != FORMAT:
        raise DamagedCapture(f"{source} is not a capture: its format is {head.format!r}.")
    if head.version > VERSION:
        raise DamagedCapture(
            f"{source} was written in version {head.version} of the format; "
            f"this probe reads up to {VERSION}.",
            "Update brainpy-probe.",
        )
    return _decoded(source, content, Manifest)


def _journal(folder: Path) -> list[bytes]:
    """Return the journal's lines; what stands behind the last line's end was cut off."""
    source = folder / JOURNAL
    try:
        return source.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _decoded(source: Path, content: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedCapture(f"{source} can't be read: {error}.", "Capture again.") from error


def manifest_is_as_written(folder: Path) -> bool:
    """Whether an index that can be read is, byte for byte, the one that was written."""
    content, _, lines = _read_index(folder)
    return all(map(is_signed, [content, *lines]))


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


def _check_references(source: Path, manifest: Manifest) -> None:
    programs, calls = range(len(manifest.programs)), range(len(manifest.calls))
    for kind, records in (
        ("calls", manifest.calls),
        ("programs", manifest.programs),
        ("modules", manifest.modules),
        ("lost modules", manifest.lost_modules),
    ):
        numbers = [record.index for record in records]
        if numbers != list(range(len(numbers))):
            raise DamagedCapture(f"{source} has {kind} missing: it numbers them {numbers}.")
    wrong = [c.index for c in manifest.calls if c.program is not None and c.program not in programs]
    if wrong:
        raise DamagedCapture(f"{source} has calls of programs that are not in it: {wrong}.")
    of_calls = [(m.index, m.call) for m in manifest.modules]
    of_calls += [(m.index, m.call) for m in manifest.lost_modules]
    wrong = [number for number, call in of_calls if call is not None and call not in calls]
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
