"""Reads files below a folder without following symbolic links.

One user may write a capture and another read it, and its folder may change meanwhile. Therefore a
path is opened one folder at a time, and the opened file is checked instead of its name. Links and
special files are refused, and the size is known before anything is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["SizeMismatch", "files_below", "open_below", "open_parent", "read_below", "read_unsized"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe would wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
# Larger than any manifest: that of 10,000 calls has 20 MB.
_MAX_SIZE = 1 << 30


class SizeMismatch(OSError):
    """A file's size differs from the expected size."""


@contextlib.contextmanager
def open_parent(root: Path, name: str) -> Iterator[int]:
    """Open the parent folder of a path below a root folder, and yield its descriptor.

    Parameters
    ----------
    root : Path
        The root folder. Links in its own path are followed.
    name : str
        The path below it.

    Raises
    ------
    OSError
        If a part of the path below the root is a link or not a folder.
    """
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(name).parent.parts:
            child = _open(part, _FOLDER, folder)
            os.close(folder)
            folder = child
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def open_below(root: Path, name: str) -> Iterator[tuple[int, int]]:
    """Open a file below a root folder, and yield its descriptor and size.

    Raises
    ------
    OSError
        If it does not exist, is not a regular file, or its path contains a link.
    """
    with open_parent(root, name) as folder:
        file = _open(PurePosixPath(name).name, _FILE, folder)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        yield file, status.st_size
    finally:
        os.close(file)


def read_below(root: Path, name: str, size: int) -> bytes:
    """Read a file of a known size below a root folder.

    Raises
    ------
    SizeMismatch
        If its size differs; nothing is read then.
    OSError
        As :func:`open_below`.
    """
    with open_below(root, name) as (file, actual):
        if actual == size:
            content = _read(file, size)
            actual = len(content) + len(os.read(file, 1))
        if actual != size:
            raise SizeMismatch(f"{actual} bytes instead of {size}")
    return content


def read_unsized(root: Path, name: str) -> bytes:
    """Read a text of unknown size below a root folder, such as a manifest.

    Raises
    ------
    OSError
        As :func:`open_below`; or if it is larger than 1 GiB or contains a zero byte. JSON has none,
        and a sparse file is full of them.
    """
    chunks, size = [], 0
    with open_below(root, name) as (file, _):
        while chunk := os.read(file, _CHUNK):
            if b"\0" in chunk:
                raise OSError("it contains a zero byte and is not JSON")
            size += len(chunk)
            if size > _MAX_SIZE:
                raise OSError(f"it has more than {_MAX_SIZE:,} bytes")
            chunks.append(chunk)
    return b"".join(chunks)


def files_below(root: Path) -> Iterator[str]:
    """Yield the path of each regular file below a folder; links are neither followed nor listed."""
    for folder, _, names, at in os.fwalk(root, follow_symlinks=False):
        for name in names:
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                    yield (Path(folder) / name).relative_to(root).as_posix()


def _open(part: str, flags: int, folder: int) -> int:
    try:
        return os.open(part, flags, dir_fd=folder)
    except ValueError as error:  # the name contains a zero byte
        raise OSError(f"it has an invalid name: {error}") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) or (
            error.errno == errno.ENOTDIR and _is_link(part, folder)
        ):
            raise OSError("its path contains a symbolic link") from error
        raise


def _is_link(part: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _read(file: int, size: int) -> bytes:
    content = bytearray(size)
    left = memoryview(content)
    while left and (count := os.readv(file, [left])):
        left = left[count:]
    return bytes(content) if not left else bytes(content[: size - len(left)])
