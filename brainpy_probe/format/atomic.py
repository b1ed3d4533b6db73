"""File operations that write a file completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path, PurePosixPath

__all__ = ["abandoned_files", "append_at", "is_temporary", "make_folders", "write_atomically"]

# Name of a file while it is being written; it contains the process id of the writer.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]{1,20})\.tmp")

# A symbolic link is refused: it may lead out of the capture folder.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC


def abandoned_files(folder: Path) -> list[Path]:
    """Return the temporary files below a folder whose writer is no longer running."""
    return sorted(
        path
        for path in folder.rglob(".*.tmp")
        if (match := _TEMPORARY.fullmatch(path.name)) and not _is_running(int(match["pid"]))
    )


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def is_temporary(name: str) -> bool:
    """Return whether a path has the name of a file that is, or was, being written."""
    return _TEMPORARY.fullmatch(PurePosixPath(name).name) is not None


def write_atomically(path: Path, *pieces: bytes | memoryview) -> None:
    """Write a file under a temporary name, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FILE, 0o666)
        try:
            for piece in pieces:
                _write(file, path, piece)
        finally:
            os.close(file)
        os.replace(temporary, path)  # noqa: PTH105 - as the other calls here
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def append_at(path: Path, end: int, content: bytes) -> int:
    """Write at an offset of a file, and return the file's new size.

    Bytes after the offset are truncated first: they come from a failed write that could not be
    undone.

    Parameters
    ----------
    path : Path
        The file. It is created if ``end`` is 0.
    end : int
        The offset: the number of valid bytes in the file.
    content : bytes
        The bytes to write.

    Raises
    ------
    FileNotFoundError
        If the file is missing, or shorter than ``end`` because another program truncated it.
    OSError
        If the write fails. The file is then truncated to ``end`` again if possible.
    """
    made = os.O_CREAT if end == 0 else 0
    file = os.open(path, os.O_RDWR | made | _FILE, 0o666)
    try:
        size = os.fstat(file).st_size
        if size < end:
            raise FileNotFoundError(f"{path} has {size} bytes; {end} were written")
        if size > end:
            os.ftruncate(file, end)
        os.lseek(file, end, os.SEEK_SET)
        try:
            _write(file, path, content)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(file, end)
            raise
    finally:
        os.close(file)
    return end + len(content)


def make_folders(root: Path, name: str) -> None:
    """Create the parent folders of a file below an existing root folder.

    Raises
    ------
    NotADirectoryError
        If one of them is a symbolic link: it may lead out of the root folder.
    """
    folder = root
    for part in Path(name).parent.parts:
        folder = folder / part
        try:
            os.mkdir(folder)  # noqa: PTH102
        except FileExistsError:
            if folder.is_symlink():
                raise NotADirectoryError(
                    errno.ENOTDIR, "it is a symbolic link", str(folder)
                ) from None


def _write(file: int, path: Path, content: bytes | memoryview) -> None:
    """Write all bytes; ``os.write`` may write only a part of them."""
    left = memoryview(content).cast("B")
    try:
        while left:
            left = left[os.write(file, left) :]
    except OSError as error:
        error.filename = path.name  # os.write reports no file name
        raise
