"""The capture folder read back, and held against its index; knows only records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.digests import digest_of, is_signed
from brainpy_probe.format.folder import JOURNAL, MANIFEST
from brainpy_probe.format.index import Index
from brainpy_probe.format.nofollow import NotThatSize, read_below, read_unsized
from brainpy_probe.format.records import FORMAT, VERSION, Addition, Manifest
from brainpy_probe.format.validation import check_keys, check_manifest

__all__ = ["manifest_is_as_written", "newest_run", "read_file", "read_manifest", "read_text"]

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
    if not os.path.lexists(source) or source.is_dir():
        raise FileNotFoundError(
            f"{path} is not a capture: it has no {MANIFEST}. Give the folder run-... itself."
        )
    content, manifest, lines = _read_index(path)
    index, journal = Index(manifest), path / JOURNAL
    for line in lines:
        _add(journal, index, _decoded(journal, line, Addition))
    manifest = index.manifest
    check_manifest(source, manifest)
    for place, written in [(source, content), *((journal, line) for line in lines)]:
        if not altered and not is_signed(written):
            raise DamagedCapture(
                f"{place} is not the file that was written: its digest differs.",
                "brainpy-probe verify shows what else does; capture again.",
            )
    return path, replace(manifest, digest="")


def _add(source: Path, index: Index, addition: Addition) -> None:
    """Add a line of the journal, which continues the records or repeats what is there."""
    for kind, there, more in (
        ("calls", index.calls, addition.calls),
        ("programs", index.programs, addition.programs),
        ("modules", index.modules, addition.modules),
        ("lost modules", index.lost_modules, addition.lost_modules),
    ):
        numbers = [record.index for record in more]
        first = numbers[0] if numbers else 0
        if numbers != list(range(first, first + len(numbers))) or first > there:
            raise DamagedCapture(f"{source} has {kind} missing: behind {there} it has {numbers}.")
    index.add(addition)


def _read_index(folder: Path) -> tuple[bytes, Manifest, list[bytes]]:
    """Return the manifest as it is stored and as a record, and the journal's lines.

    A capture that ends meanwhile writes its manifest anew and removes the journal: what was read of
    both is of one moment if the manifest is the same before and after.
    """
    source = folder / MANIFEST
    content = _read(folder, MANIFEST)
    while True:
        manifest = _manifest(source, content)
        if manifest.complete:
            return content, manifest, []  # a journal that is still there is in it already
        lines = _journal(folder)
        before, content = content, _read(folder, MANIFEST)
        if content == before:
            return content, manifest, lines


def _manifest(source: Path, content: bytes) -> Manifest:
    try:
        head = msgspec.json.decode(content, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedCapture(f"{source} can't be read: {error}.", "Capture again.") from error
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


def _decoded(source: Path, content: bytes, kind: type[_T]) -> _T:
    check_keys(source, content)
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


def read_file(folder: Path, file: WrittenFile) -> bytes:
    """Read one file that the manifest names, and check that it is the one that was written.

    Its size is compared before it is read.

    Raises
    ------
    DamagedCapture
        If the file is missing, a link, or not what its digest says.
    """
    target = folder / file.path
    try:
        content = read_below(folder, file.path, file.size)
    except NotThatSize as error:
        raise _other(target, f"size or digest differs ({error})") from error
    except MemoryError:
        raise DamagedCapture(
            f"{target} needs {file.size:,} bytes of memory, which there are not.", "Capture again."
        ) from None
    except OSError as error:
        raise DamagedCapture(f"{target} can't be read: {error}.", "Capture again.") from error
    found = digest_of(content)
    if found != file.digest:
        raise _other(target, f"size or digest differs (XXH3-128 {found} instead of {file.digest})")
    return content


def read_text(folder: Path, file: WrittenFile) -> str:
    """Read one text that the manifest names, as :func:`read_file` does.

    Raises
    ------
    DamagedCapture
        As there; or if it is not UTF-8.
    """
    content = read_file(folder, file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DamagedCapture(
            f"{folder / file.path} is no UTF-8 text (byte {error.start}).", "Capture again."
        ) from error


def _other(target: Path, what: str) -> DamagedCapture:
    return DamagedCapture(
        f"{target} is not the file that was written: its {what}.", "Capture again."
    )
