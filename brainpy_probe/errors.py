"""The probe's own errors, each with a slug and a remedy."""

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
    "RunAbandoned",
    "Stopped",
    "UnknownDialect",
    "describe_error",
    "first_line",
    "print_to_stderr",
    "remedy_of",
]


class ProbeError(Exception):
    """A failure of the probe itself, never of the simulation.

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
        # Names and paths of a capture may hold any character, and a traceback prints the message.
        message, remedy = visible(message), visible(remedy)
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


# Maximum number of characters quoted from a line: MLIR's messages have words of any length.
_MAX_QUOTED = 500


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message; MLIR's messages may be pages long.

    If the line ends with a colon, the next line, which has the reason, is appended: "Unable to
    parse module assembly:" (jaxlib 0.4.13 to 0.12.0).
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return line.rstrip(".") if len(line) <= _MAX_QUOTED else f"{line[:_MAX_QUOTED]}..."


def describe_error(error: BaseException) -> str:
    """Return the whole message of a ProbeError; for other exceptions the class and first line."""
    if isinstance(error, ProbeError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}."


def print_to_stderr(problem: object) -> None:
    """Print one line on stderr in the encoding of stderr; never raises."""
    with contextlib.suppress(Exception):
        text = visible(" ".join(line.strip() for line in str(problem).splitlines()))
        line = f"brainpy-probe: {text}\n"
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()


class BadSetting(ProbeError, ValueError):
    """An argument or an environment variable has a value that is not allowed."""

    slug = "bad-setting"


class UnknownDialect(BadSetting):
    """The requested dialect does not exist."""

    slug = "unknown-dialect"

    def __init__(self, dialect: object, allowed: Iterable[str]) -> None:
        super().__init__(
            f"Unknown dialect {dialect!r}.",
            f"Allowed: one or several of {', '.join(allowed)}.",
        )


class PrivateNameMissing(ProbeError):
    """None of the known places has a private name of BrainPy or JAX that the probe needs.

    Parameters
    ----------
    name : str
        A description of the missing object.
    tried : iterable of str
        Each place that was tried, with the error.
    """

    slug = "private-name-missing"

    def __init__(self, name: str, tried: Iterable[str]) -> None:
        self.name, self.tried = name, tuple(tried)
        super().__init__(
            f"The probe can't find {name}. Tried: {'; '.join(self.tried)}.",
            "The probe was not tested with this version of BrainPy or JAX. "
            "Install a pair of versions that the README's table of tested versions lists.",
        )


class CannotCapture(ProbeError):
    """A predict call ran, but the probe could not make a closed program of it."""

    slug = "cannot-capture"


class ProgramMismatch(ProbeError):
    """The results of a call's program differ from the values after the call.

    Parameters
    ----------
    differences : iterable of str
        Descriptions of the differences.
    """

    slug = "program-mismatch"

    def __init__(self, differences: Iterable[str]) -> None:
        self.differences = tuple(differences)
        shown = "; ".join(self.differences[:5])
        more = len(self.differences) - 5
        super().__init__(
            f"The program of this call was discarded, because its results differ from the "
            f"values after the call: {shown}{f'; and {more} more' if more > 0 else ''}.",
            "This is a bug of the probe. Please report it with the model and the output of "
            "brainpy-probe doctor --json.",
        )


class InsideTransformation(CannotCapture):
    """A predict call is part of another JAX transformation, as in BPTT's fit; not a failure."""

    slug = "inside-transformation"

    def __init__(self) -> None:
        super().__init__(
            "predict ran inside another JAX transformation (jit, vmap, grad or a loop). "
            "Such a call has no program of its own.",
            "Capture a predict call that plain Python makes.",
        )


class RunAbandoned(ProbeError):
    """A loop or jitted function did not return: the run raised an exception."""

    slug = "run-abandoned"

    def __init__(self) -> None:
        super().__init__(
            "The run did not return. It raised an exception while XLA ran it, or it was "
            "interrupted.",
            "The exception is in the output of the script.",
        )


class CannotReplay(ProbeError):
    """A captured program can't be compiled or run in this environment."""

    slug = "cannot-replay"


class CannotConvert(ProbeError):
    """A module of a capture can't be written in the requested dialect."""

    slug = "cannot-convert"


class Stopped(ProbeError):
    """The process that reads or runs a program reached a limit, or the program ended it."""

    slug = "stopped"


class CannotMeasure(ProbeError):
    """A captured program can't be measured in this environment."""

    slug = "cannot-measure"


class CannotWrite(ProbeError, OSError):
    """A capture folder can't be created or written.

    Parameters
    ----------
    parent : str
        The folder in which the capture folder was to be created.
    error : OSError
        The system's error.
    """

    slug = "cannot-write"

    def __init__(self, parent: str | os.PathLike[str], error: OSError) -> None:
        reason = error.strerror or first_line(error)
        super().__init__(f"No capture can be written in {parent}: {reason}.", remedy_of(error))
        self.errno, self.strerror, self.filename = error.errno, error.strerror, error.filename

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


_WRITABLE = "Give a folder in which you may write, with capture(out=...) or BRAINPY_PROBE."
_OTHER = "Give another folder, with capture(out=...) or BRAINPY_PROBE."
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT), _WRITABLE),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"Free some space on that disk. {_OTHER}"),
    errno.ENAMETOOLONG: "Give a folder with a shorter name.",
    errno.EFBIG: "Raise the limit on file size (ulimit -f).",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
}


def remedy_of(error: BaseException) -> str:
    """Return what the user can do about an OSError; empty for other errors."""
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    return _REMEDIES.get(error.errno, _OTHER)


class DamagedCapture(ProbeError):
    """A capture folder can't be read: truncated, changed, or of a later format version."""

    slug = "damaged-capture"


class FolderRemoved(ProbeError):
    """A capture's folder, or some of its files, were removed while the capture was open.

    Parameters
    ----------
    folder : path
        The folder.
    files : sequence of str
        The missing files in it; empty if the folder itself is missing.
    """

    slug = "folder-removed"

    def __init__(self, folder: object, files: Sequence[str] = ()) -> None:
        lost = f"{folder} was"
        if files:
            lost = f"Files in {folder} ({len(files)}, the first is {files[0]}) were"
        super().__init__(
            f"{lost} removed or moved while the capture was open. The content is lost.",
            "Leave the folder in place until the with block has ended.",
        )


class ProbeWarning(UserWarning):
    """The probe itself failed; the simulation continued, and the capture records the failure."""
