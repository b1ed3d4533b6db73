"""What can go wrong in the probe, each kind with a slug and a remedy."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Sequence

from brainpy_probe.characters import visible

__all__ = [
    "BadSetting",
    "CannotCapture",
    "CannotConvert",
    "CannotMeasure",
    "CannotReplay",
    "CannotWrite",
    "DamagedCapture",
    "FolderRemoved",
    "InsideTransformation",
    "PrivateNameMissing",
    "ProbeError",
    "ProbeWarning",
    "ProgramMismatch",
    "Stopped",
    "UnknownDialect",
    "first_line",
    "remedy_of",
    "say",
    "told",
]


class ProbeError(Exception):
    """A failure of the probe itself, never of the simulation that it watches.

    Parameters
    ----------
    message : str
        What went wrong, in one sentence.
    remedy : str, optional
        What the user can do about it.

    Attributes
    ----------
    slug : str
        A short stable name of the kind of failure, for scripts and manifests.
    """

    slug = "probe-error"

    def __init__(self, message: str, remedy: str = "") -> None:
        # Names and paths of a capture are anybody's, and a traceback prints what it is given.
        message, remedy = visible(message), visible(remedy)
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message; MLIR's go on for pages."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def told(error: BaseException) -> str:
    """Return what an exception says: an error of the probe's own in full, of others the gist."""
    if isinstance(error, ProbeError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}."


def say(problem: object) -> None:
    """Say something in one line on stderr, whatever that can encode, if it can still be had."""
    with contextlib.suppress(Exception):
        told = visible(" ".join(line.strip() for line in str(problem).splitlines()))
        line = f"brainpy-probe: {told}\n"
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()


class BadSetting(ProbeError, ValueError):
    """An argument or an environment variable has a value that is not allowed."""

    slug = "bad-setting"


class UnknownDialect(BadSetting):
    """A dialect was asked for that the probe can't write."""

    slug = "unknown-dialect"

    def __init__(self, dialect: object, allowed: Iterable[str]) -> None:
        super().__init__(
            f"Unknown dialect {dialect!r}.",
            f"Allowed: {', '.join(allowed)}; one of them, or several.",
        )


class PrivateNameMissing(ProbeError):
    """A private name of BrainPy or JAX that the probe needs is in none of the known places.

    Parameters
    ----------
    name : str
        What was looked for.
    tried : iterable of str
        Each place that was tried, with what was found there.
    """

    slug = "private-name-missing"

    def __init__(self, name: str, tried: Iterable[str]) -> None:
        self.name, self.tried = name, tuple(tried)
        super().__init__(
            f"The probe can't find {name}. Tried: {'; '.join(self.tried)}.",
            "The probe was not tested with this version of BrainPy or JAX: "
            "see the table of tested versions in the README.",
        )


class CannotCapture(ProbeError):
    """A predict call ran, but no closed program could be made of it."""

    slug = "cannot-capture"


class ProgramMismatch(ProbeError):
    """What a call left behind is not what the program gives that was made of it.

    Parameters
    ----------
    differences : iterable of str
        What differs.
    """

    slug = "program-mismatch"

    def __init__(self, differences: Iterable[str]) -> None:
        self.differences = tuple(differences)
        said = "; ".join(self.differences[:5])
        more = len(self.differences) - 5
        super().__init__(
            f"The call has no program, since what it left behind is not what the program gives: "
            f"{said}{f'; and {more} more' if more > 0 else ''}.",
            "This is a fault of the probe: please report it with the model and the versions.",
        )


class InsideTransformation(CannotCapture):
    """A predict call is part of another JAX transformation, as BPTT's fit has it: no failure."""

    slug = "inside-transformation"

    def __init__(self) -> None:
        super().__init__(
            "predict ran inside another JAX transformation (jit, vmap, grad, a loop), "
            "so that it has no program of its own.",
            "Capture a predict call that is made from plain Python.",
        )


class CannotReplay(ProbeError):
    """A captured program can't be compiled or run here."""

    slug = "cannot-replay"


class CannotConvert(ProbeError):
    """A module of a capture can't be written in a dialect here."""

    slug = "cannot-convert"


class Stopped(ProbeError):
    """A process that read or ran a program was stopped at a limit, or was ended by the program."""

    slug = "stopped"


class CannotMeasure(ProbeError):
    """A captured program can't be measured here."""

    slug = "cannot-measure"


class CannotWrite(ProbeError, OSError):
    """A capture folder can't be made or written.

    Parameters
    ----------
    parent : str
        The folder in which it was to be made.
    error : OSError
        What the system said.
    """

    slug = "cannot-write"

    def __init__(self, parent: str | os.PathLike[str], error: OSError) -> None:
        reason = error.strerror or first_line(error)
        super().__init__(f"No capture can be written in {parent}: {reason}.", remedy_of(error))
        self.errno, self.strerror, self.filename = error.errno, error.strerror, error.filename

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


_WRITABLE = "Give a folder in which you may write, as capture(out=...) or BRAINPY_PROBE."
_OTHER = "Give another folder, as capture(out=...) or BRAINPY_PROBE."
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT), _WRITABLE),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"Make room there. {_OTHER}"),
    errno.ENAMETOOLONG: "Give a folder with a shorter name.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f).",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
}


def remedy_of(error: BaseException) -> str:
    """Return what the user can do about an error of the system's; empty for other errors."""
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    return _REMEDIES.get(error.errno, _OTHER)


class DamagedCapture(ProbeError):
    """A capture folder can't be read: cut off, altered, or written by a later version."""

    slug = "damaged-capture"


class FolderRemoved(ProbeError):
    """A capture's folder, or some of it, was removed while the capture was open.

    Parameters
    ----------
    folder : path
        The folder.
    files : sequence of str
        The files in it that are gone; none if the folder itself is.
    """

    slug = "folder-removed"

    def __init__(self, folder: object, files: Sequence[str] = ()) -> None:
        what = (
            f"{len(files)} of the files in {folder}, the first of them {files[0]}"
            if files
            else folder
        )
        super().__init__(
            f"While the capture was open, {what} was removed or moved: what it held is lost.",
            "Leave the folder where it is until the block has ended.",
        )


class ProbeWarning(UserWarning):
    """The probe itself failed; the simulation went on, and the capture says what is missing."""
