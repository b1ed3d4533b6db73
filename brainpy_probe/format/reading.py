"""Reads a capture folder and checks it against its manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from brainpy_probe.errors import DamagedCapture, first_line
from brainpy_probe.format.digests import digest_of, has_valid_digest
from brainpy_probe.format.folder import JOURNAL, MANIFEST
from brainpy_probe.format.index import Index
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.records import FORMAT, VERSION, Addition, Manifest
from brainpy_probe.format.nofollow import SizeMismatch, read_below, read_unsized
from brainpy_probe.format.validation import check_keys, check_manifest

__all__ = [
    "find_run",
    "is_run",
    "manifest_digest_matches",
    "newest_run",
    "read_file",
    "read_manifest",
    "read_text",
]

_T = TypeVar("_T")


def newest_run(parent: str | os.PathLike[str]) -> Path | None:
    """Return the newest capture folder below a folder, or None."""
    runs = [path.parent for path in Path(parent).glob(f"run-*/{MANIFEST}")]
    return max(runs, key=_creation_order, default=None)


def is_run(path: Path) -> bool:
    """Return whether a path is a capture folder, rather than a folder that contains captures."""
    return (path / MANIFEST).exists() or path.name == MANIFEST


def find_run(path: str | os.PathLike[str]) -> Path:
    """Return the path of a capture: the path itself, or the newest capture in a folder.

    Raises
    ------
    FileNotFoundError
        If there is no capture.
    """
    path = Path(path).expanduser()
    newest = path if is_run(path) else newest_run(path) if path.is_dir() else None
    if newest is None:
        raise FileNotFoundError(
            f"There is no capture in {path}. Give a folder run-..., or its parent folder."
        )
    return newest


def _creation_order(run: Path) -> tuple[str, int, int, str]:
    """Return a sort key: the second in a run's name, then the time of its last change.

    File times may have a resolution of milliseconds. Runs with equal times are sorted by the number
    at the end of the folder's name.
    """
    indices = (run / name for name in (MANIFEST, JOURNAL))
    changes = [index.stat().st_mtime_ns for index in indices if index.exists()]
    return run.name.split("-")[1], max(changes), len(run.name), run.name


def read_manifest(
    folder: str | os.PathLike[str], *, check_digest: bool = True
) -> tuple[Path, Manifest]:
    """Read and check the manifest of a capture folder.

    Parameters
    ----------
    folder : str or path
        The capture folder, or its ``manifest.json``.
    check_digest : bool
        Whether to refuse a manifest or journal whose digest differs.

    Returns
    -------
    path
        The absolute path of the folder.
    Manifest
        Its manifest, with the records of the journal.

    Raises
    ------
    FileNotFoundError
        If the folder has no manifest.
    DamagedCapture
        If the manifest is truncated, was changed, has a later format version, or names a file
        outside of the folder.
    """
    path = Path(folder).expanduser().absolute()
    if path.name == MANIFEST:
        path = path.parent
    source = path / MANIFEST
    if not os.path.lexists(source) or source.is_dir():
        raise FileNotFoundError(
            f"{path} is not a capture: it has no {MANIFEST}. Give the path of a folder run-..."
        )
    content, manifest, lines = _read_index(path)
    index, journal = Index(manifest), path / JOURNAL
    for line in lines:
        _add(journal, index, _decode(journal, line, Addition))
    manifest = index.manifest
    check_manifest(source, manifest)
    for file, written in [(source, content), *((journal, line) for line in lines)]:
        if check_digest and not has_valid_digest(written):
            raise DamagedCapture(
                f"{file} was changed after it was written: its digest differs.",
                "brainpy-probe verify lists all damaged files. Capture again.",
            )
    return path, replace(manifest, digest="")


def _add(source: Path, index: Index, addition: Addition) -> None:
    """Add a line of the journal, which continues the records or repeats some of them."""
    for kind, count, records in (
        ("calls", index.calls, addition.calls),
        ("programs", index.programs, addition.programs),
        ("modules", index.modules, addition.modules),
        ("lost modules", index.lost_modules, addition.lost_modules),
    ):
        numbers = [record.index for record in records]
        first = numbers[0] if numbers else 0
        if numbers != list(range(first, first + len(numbers))) or first > count:
            raise DamagedCapture(
                f"{source}: {kind} are missing: number {count} should follow, but the line has "
                f"{numbers}.",
                "Capture again.",
            )
    index.add(addition)


def _read_index(folder: Path) -> tuple[bytes, Manifest, list[bytes]]:
    """Return the manifest as stored and decoded, and the lines of the journal.

    A capture that ends meanwhile replaces its manifest and removes the journal. The two belong
    together if the manifest did not change while the journal was read.
    """
    source = folder / MANIFEST
    content = _read(folder, MANIFEST)
    while True:
        manifest = _decode_manifest(source, content)
        if manifest.complete:
            return content, manifest, []  # it already has all records of the journal
        lines = _read_journal(folder)
        before, content = content, _read(folder, MANIFEST)
        if content == before:
            return content, manifest, lines


def _decode_manifest(source: Path, content: bytes) -> Manifest:
    """Decode a manifest, after checking its format and version."""
    try:
        head = msgspec.json.decode(content, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = first_line(error)
        raise DamagedCapture(f"{source} can't be read: {reason}.", "Capture again.") from error
    if head.format != FORMAT:
        raise DamagedCapture(
            f"{source} is not a capture's manifest: its format is {head.format!r}, not {FORMAT!r}."
        )
    if head.version > VERSION:
        raise DamagedCapture(
            f"{source} has format version {head.version}; "
            f"this brainpy-probe reads versions up to {VERSION}.",
            "Update brainpy-probe.",
        )
    return _decode(source, content, Manifest)


def _read_journal(folder: Path) -> list[bytes]:
    """Return the lines of the journal; a truncated last line is ignored."""
    try:
        return _read(folder, JOURNAL).split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _read(folder: Path, name: str) -> bytes:
    try:
        return read_unsized(folder, name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedCapture(
            f"{folder / name} can't be read: {error}.", "Capture again."
        ) from error


def _decode(source: Path, content: bytes, kind: type[_T]) -> _T:
    try:
        record = msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = first_line(error)
        raise DamagedCapture(f"{source} can't be read: {reason}.", "Capture again.") from error
    # Checked last, because it makes lists of any JSON, even of JSON that no record allows.
    check_keys(source, content)
    return record


def manifest_digest_matches(folder: Path) -> bool:
    """Return whether the manifest and the journal are, byte for byte, as they were written."""
    content, _, lines = _read_index(folder)
    return all(map(has_valid_digest, [content, *lines]))


class _Head(msgspec.Struct):
    format: str = ""
    version: int = 0


def read_file(folder: Path, file: WrittenFile) -> bytes:
    """Read a file that the manifest names, and check its digest.

    The size is checked before the file is read.

    Raises
    ------
    DamagedCapture
        If the file is missing, is a link, or its size or digest differs.
    """
    target = folder / file.path
    try:
        content = read_below(folder, file.path, file.size)
    except SizeMismatch as error:
        raise _changed(target, f"size or digest differs ({error})") from error
    except MemoryError:
        raise DamagedCapture(
            f"{target} does not fit into memory: the manifest says {file.size:,} bytes.",
            "Read it on a machine with more memory, or capture again.",
        ) from None
    except OSError as error:
        raise DamagedCapture(f"{target} can't be read: {error}.", "Capture again.") from error
    found = digest_of(content)
    if found != file.digest:
        reason = f"size or digest differs (XXH3-128 {found} instead of {file.digest})"
        raise _changed(target, reason)
    return content


def read_text(folder: Path, file: WrittenFile) -> str:
    """Read a text that the manifest names, as :func:`read_file` does.

    Raises
    ------
    DamagedCapture
        As :func:`read_file`; or if it is not UTF-8.
    """
    content = read_file(folder, file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DamagedCapture(
            f"{folder / file.path} is not UTF-8 (byte {error.start}).", "Capture again."
        ) from error


def _changed(target: Path, reason: str) -> DamagedCapture:
    return DamagedCapture(
        f"{target} was changed after it was written: its {reason}.", "Capture again."
    )
