"""Files below a folder, reached by the system's own calls without following a link.

A capture may be written by one user and read by another, and its folder may change meanwhile. So a
path is gone along one folder at a time, each held open, and what is opened is looked at, not its
name: a link is refused, and so is what is no file; a size is known before anything is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["NotThatSize", "files_below", "folder_of", "open_below", "read_below", "read_unsized"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a pipe would otherwise wait for who writes into it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
# More than any index: one of 10,000 calls has 20 MB.
_MOST = 1 << 30


class NotThatSize(OSError):
    """A file has another size than it should have."""


@contextlib.contextmanager
def folder_of(root: Path, name: str) -> Iterator[int]:
    """Give the descriptor of the folder in which a path below another folder lies.

    Parameters
    ----------
    root : Path
        The folder, which may be reached by links.
    name : str
        The path below it.

    Raises
    ------
    OSError
        If a part of it is a link, or no folder.
    """
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in PurePosixPath(name).parent.parts:
            deeper = _opened(part, _FOLDER, at)
            os.close(at)
            at = deeper
        yield at
    finally:
        os.close(at)


@contextlib.contextmanager
def open_below(root: Path, name: str) -> Iterator[tuple[int, int]]:
    """Give the descriptor and the size of a file below a folder.

    Raises
    ------
    OSError
        If it is not there, is a link or lies behind one, or is no file.
    """
    with folder_of(root, name) as folder:
        file = _opened(PurePosixPath(name).name, _FILE, folder)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no file")
        yield file, found.st_size
    finally:
        os.close(file)


def read_below(root: Path, name: str, size: int) -> bytes:
    """Read a file below a folder, of a known size.

    Raises
    ------
    NotThatSize
        If it has another; nothing was read then.
    OSError
        As :func:`open_below`.
    """
    with open_below(root, name) as (file, found):
        if found == size:
            content = _read(file, size)
            found = len(content) + len(os.read(file, 1))
        if found != size:
            raise NotThatSize(f"{found} bytes instead of {size}")
    return content


def read_unsized(root: Path, name: str) -> bytes:
    """Read a text below a folder whose size nothing tells, such as an index.

    Raises
    ------
    OSError
        As :func:`open_below`; or if it holds a zero byte, as no JSON does and a hole in a file is
        full of, or more than 1 GiB.
    """
    pieces, size = [], 0
    with open_below(root, name) as (file, _):
        while piece := os.read(file, _PIECE):
            if b"\0" in piece:
                raise OSError("it holds a zero byte, so that it is no JSON")
            size += len(piece)
            if size > _MOST:
                raise OSError(f"it has more than {_MOST:,} bytes")
            pieces.append(piece)
    return b"".join(pieces)


def files_below(root: Path) -> Iterator[str]:
    """Yield the path of each regular file below a folder; a link is not followed, nor is it one."""
    for folder, _, names, at in os.fwalk(root, follow_symlinks=False):
        for name in names:
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                    yield (Path(folder) / name).relative_to(root).as_posix()


def _opened(part: str, flags: int, folder: int) -> int:
    try:
        return os.open(part, flags, dir_fd=folder)
    except ValueError as error:  # a zero byte
        raise OSError(f"there is no such name: {error}") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) or (
            error.errno == errno.ENOTDIR and _is_link(part, folder)
        ):
            raise OSError("it is a link, or lies behind one") from error
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
