"""Files that are written whole or not at all, by the system's own calls; knows no record."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path, PurePosixPath

__all__ = ["append_at", "is_left", "left_in", "make_folders", "write_whole"]

# The name of a file while it is written, with the number of the process that writes it.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]{1,20})\.tmp")

# A link in a file's place is an error: what it leads to is none of the capture.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC


def left_in(folder: Path) -> list[Path]:
    """Return the temporary files below a folder whose writers run no more."""
    return sorted(
        path
        for path in folder.rglob(".*.tmp")
        if (found := _TEMPORARY.fullmatch(path.name)) and not _runs(int(found["pid"]))
    )


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def is_left(name: str) -> bool:
    """Whether a path is that of a file that is being written, or was when its writer was killed."""
    return _TEMPORARY.fullmatch(PurePosixPath(name).name) is not None


def write_whole(path: Path, *pieces: bytes | memoryview) -> None:
    """Write a file under another name, and give it its own when it is whole."""
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
    """Write behind the first bytes of a file, and return where it ends then.

    What the file has behind these bytes is taken off first: a write that failed, and could not be
    taken back, has left it there.

    Parameters
    ----------
    path : Path
        The file; it is made if ``end`` is 0.
    end : int
        How many of its bytes count.
    content : bytes
        What is written.

    Raises
    ------
    FileNotFoundError
        If the file has fewer bytes than count, or is gone: someone else has removed it.
    OSError
        If the system can't write; the file is as before, if the system can do that.
    """
    made = os.O_CREAT if end == 0 else 0
    file = os.open(path, os.O_RDWR | made | _FILE, 0o666)
    try:
        size = os.fstat(file).st_size
        if size < end:
            raise FileNotFoundError(f"{path} has {size} bytes of {end} that were written")
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
    """Make the folders of a file's path below a folder, which itself is there or an error.

    Raises
    ------
    NotADirectoryError
        If one of them is a link: it may lead out of the folder.
    """
    folder = root
    for part in Path(name).parent.parts:
        folder = folder / part
        try:
            os.mkdir(folder)  # noqa: PTH102
        except FileExistsError:
            if folder.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, "it is a link", str(folder)) from None


def _write(file: int, path: Path, content: bytes | memoryview) -> None:
    """Write all of some bytes; the system may take a part at a time."""
    left = memoryview(content).cast("B")
    try:
        while left:
            left = left[os.write(file, left) :]
    except OSError as error:
        error.filename = path.name  # the system was given a number
        raise
