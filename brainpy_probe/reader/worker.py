"""A process that reads or runs what a capture holds, within limits; knows no task.

A capture's content may end the process that reads it, or never end. So a process of its own does
it, and this one kills it when its time is up. The request goes to it as one line of JSON and the
bytes of arrays, and its answers come back in the same way: nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Self

from brainpy_probe.errors import BadSetting

__all__ = ["Ending", "Limits", "Worker", "is_out_of_memory", "limit_memory", "requested"]

# Not multiprocessing: that would run the script again which asks.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from brainpy_probe.reader.worker import limit_memory; limit_memory(int(sys.argv.pop(1))); "
    "from importlib import import_module; "
    "module, _, function = sys.argv.pop(1).partition(':'); "
    "getattr(import_module(module), function)()"
)
# Bytes of the stack of a thread: the limit on a process's data counts the stacks of its threads,
# of which XLA starts two for each core.
_STACK = 8 << 20
# The most bytes of a line of an answer, of what a process writes into one file, and of what it has
# said last on stderr.
_LINE, _FILE, _TAIL = 256 << 20, 1 << 30, 1 << 16
_TELLING = ("Check failed", "Error", "error:", "ERROR", "terminate called", "what():")
# What XLA (jaxlib 0.4.13 to 0.12.0), C++, Python and OpenBLAS say where the system gives no more
# memory.
_NO_MEMORY = (
    "Out of memory allocating",
    "RESOURCE_EXHAUSTED",
    "std::bad_alloc",
    "MemoryError",
    "OpenBLAS error: Memory allocation",
)


def _half_of_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return 4 << 30


@dataclass(frozen=True)
class Limits:
    """What a task on a capture's content may use.

    Attributes
    ----------
    seconds : float
        How long it may take.
    memory : int
        How many bytes of memory its process may have of its own. The default is half of the
        machine's. macOS does not hold a process to it.

    Raises
    ------
    BadSetting
        If one is not above 0.
    """

    seconds: float = 300.0
    memory: int = field(default_factory=_half_of_memory)

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.seconds), ("memory", self.memory)):
            if not value > 0:
                raise BadSetting(f"{name}={value!r} is not allowed.", "Allowed: more than 0.")


@dataclass(frozen=True)
class Ending:
    """Why a process ended before it had answered.

    Attributes
    ----------
    cause : str
        ``time`` or ``memory``, a limit; ``crash``, anything else.
    how : str
        For a crash the signal or the exit code, and the last that it said.
    """

    cause: Literal["time", "memory", "crash"]
    how: str

    def sentence(self, doing: str, limits: Limits) -> tuple[str, str]:
        """Return in a sentence what happened to what was done, and the remedy."""
        if self.cause == "time":
            said = f"did not end within {limits.seconds:g} s and was stopped"
            return f"{doing} {said}.", "--timeout SECONDS gives it longer."
        if self.cause == "memory":
            said = f"needs more memory than its limit of {limits.memory / 1e9:.2f} GB"
            return f"{doing} {said}.", "--memory GB allows more."
        return (
            f"{doing} ended the process that did it: {self.how}.",
            "A file of the program is damaged, or not what this jaxlib reads: brainpy-probe verify "
            "says more.",
        )


class Worker:
    """A process that is given a request, and whose answers are read until it ends.

    Parameters
    ----------
    entry : str
        The function that it runs, as ``module:function``.
    limits : Limits
        What it may use. Its time begins now, and again at each :meth:`restart_clock`.
    request : bytes
        A line of JSON, which has no line end.
    arrays : sequence of memoryview
        What follows the request.
    """

    def __init__(
        self, entry: str, limits: Limits, request: bytes, arrays: Sequence[memoryview] = ()
    ) -> None:
        self._limits = limits
        self._late = False
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        path = json.dumps([place for place in sys.path if isinstance(place, str)])
        memory = limits.memory + 2 * _STACK * (os.cpu_count() or 1)
        # The process itself is not to be captured.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BRAINPY_PROBE")}
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, on this package's code
            [sys.executable, "-P", "-c", _START, path, str(memory), entry],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            start_new_session=True,  # so that its own processes end with it
        )
        self._clock = self._started_clock()
        with contextlib.suppress(BrokenPipeError), self._stream("stdin") as given:
            given.write(request + b"\n")
            for array in arrays:
                given.write(array)

    def restart_clock(self) -> None:
        """Give it its time again: another task begins."""
        self._clock.cancel()
        self._clock = self._started_clock()

    def lines(self) -> Iterator[bytes]:
        """Yield each line that it answers."""
        out = self._stream("stdout")
        while True:
            line = out.readline(_LINE)
            if not line.endswith(b"\n"):  # else it ended while it wrote
                return
            yield line

    def fill(self, target: memoryview) -> bool:
        """Read as many bytes as there is room for; return whether there were so many."""
        out, done = self._stream("stdout"), 0
        while done < len(target):
            count = out.readinto(target[done:])  # type: ignore[attr-defined]
            if not count:
                return False
            done += count
        return True

    def ending(self) -> Ending:
        """End it, and return why it had ended before it had answered."""
        self._end()
        if self._late:
            return Ending("time", "")
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _TAIL))
        lines = self._said.read().decode(errors="replace").splitlines()
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = [line.strip() for line in lines if any(word in line for word in _TELLING)]
        # A process that gets no thread has no room for its stack.
        if any(is_out_of_memory(line) or "pthread_create() failed" in line for line in said):
            return Ending("memory", how)
        if how == "SIGKILL":  # not by us: by the system, which had no memory left
            return Ending("memory", how)
        return Ending("crash", f"{how}: {said[-1][:300]}" if said else how)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(kills=True)
        self._stream("stdout").close()
        self._said.close()

    def _end(self, *, kills: bool = False) -> None:
        if kills:
            self._kill()
        try:
            self._process.wait()
        except BaseException:
            self._kill()
            self._process.wait()
            raise
        finally:
            self._clock.cancel()

    def _started_clock(self) -> threading.Timer:
        clock = threading.Timer(self._limits.seconds, self._time_is_up)
        clock.daemon = True
        clock.start()
        return clock

    def _time_is_up(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self._process, name)
        return stream


def is_out_of_memory(said: str) -> bool:
    """Whether an exception's text says that the system gave no more memory."""
    return any(words in said for words in _NO_MEMORY)


def limit_memory(memory: int) -> None:
    """Hold this process to a limit of memory, of its files, and have it leave no core file.

    It is the limit on data, not on addresses: XLA reserves many more of these than it uses.
    """
    import resource

    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _FILE),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


@contextlib.contextmanager
def requested() -> Iterator[tuple[bytes, IO[bytes], IO[bytes]]]:
    """Give the request that this process was started on, what follows it, and where answers go.

    What XLA prints on stdout goes to stderr. The process ends with the block: nothing that an
    extension does at Python's end may hold it up.
    """
    given: Any = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        try:
            yield given.readline().rstrip(b"\n"), given, answers
            answers.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    os._exit(0)
