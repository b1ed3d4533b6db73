"""Runs a function in a worker process, with limits of time and memory.

The content of a capture may crash the process that parses or runs it, or keep it busy forever. The
worker process takes that risk, and this process kills it at the time limit. Requests and answers
are lines of JSON and the bytes of arrays. Nothing is pickled.
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
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Self

from brainpy_probe.errors import BadSetting

__all__ = [
    "Ending",
    "Limits",
    "Worker",
    "end_with",
    "is_out_of_memory",
    "limit_memory",
    "requested",
]

# multiprocessing would run the main script of the calling process again.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from brainpy_probe.reader.worker import end_with, limit_memory; "
    "limit_memory(int(sys.argv.pop(1))); end_with(int(sys.argv.pop(1))); "
    "from importlib import import_module; "
    "module, _, function = sys.argv.pop(1).partition(':'); "
    "getattr(import_module(module), function)()"
)
# Bytes of a thread's stack. The limit on a process's data includes the stacks of its threads, and
# XLA starts two threads for each core.
_STACK = 8 << 20
# The value for no limit on a process's data, and the seconds between two checks of its memory.
_UNLIMITED, _LOOK = -1, 0.1
# Maximum number of bytes of a line of an answer, of a file that the worker writes, and of the part
# of its stderr that is read.
_LINE, _FILE, _TAIL = 256 << 20, 1 << 30, 1 << 16
_ERROR_WORDS = ("Check failed", "Error", "error:", "ERROR", "terminate called", "what():")
# Messages of XLA (jaxlib 0.4.13 to 0.12.0), C++, Python and OpenBLAS when memory runs out.
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
    """The limits of a task on a capture's content.

    Attributes
    ----------
    seconds : float
        The longest time that the task may take.
    memory : int
        The maximum number of bytes of private memory that its process may allocate; on a machine
        with a GPU, if the program ran on one, that it may use. The default is half of the machine's
        memory. macOS does not enforce this limit.

    Raises
    ------
    BadSetting
        If a limit is not positive.
    """

    seconds: float = 300.0
    memory: int = field(default_factory=_half_of_memory)

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.seconds), ("memory", self.memory)):
            if not value > 0:
                raise BadSetting(f"{name}={value!r} is not allowed.", "Allowed: more than 0.")


@dataclass(frozen=True)
class Ending:
    """Why a worker process ended without an answer.

    Attributes
    ----------
    cause : str
        ``time`` or ``memory`` for a limit, ``crash`` for anything else.
    how : str
        For a crash, the signal or the exit code, and the last error message on stderr.
    """

    cause: Literal["time", "memory", "crash"]
    how: str

    def sentence(self, doing: str, limits: Limits) -> tuple[str, str]:
        """Return a sentence about what happened, and a remedy.

        Parameters
        ----------
        doing : str
            The task and its object, as ``Replaying LIF``.
        limits : Limits
            The limits of the task.
        """
        if self.cause == "time":
            outcome = f"did not end within {limits.seconds:g} s and was stopped"
            return f"{doing} {outcome}.", "--timeout SECONDS gives it longer."
        if self.cause == "memory":
            outcome = f"needs more memory than its limit of {limits.memory / 1e9:.2f} GB"
            return f"{doing} {outcome}.", "--memory GB allows more."
        return (
            f"{doing} ended the process that did it: {self.how}.",
            "A file of the program is damaged, or not what this jaxlib reads: brainpy-probe verify "
            "says more.",
        )


class Worker:
    """A worker process, which takes one request and gives answers until it ends.

    Parameters
    ----------
    entry : str
        The function that the process runs, as ``module:function``.
    limits : Limits
        Its limits. The time limit starts now, and again at each :meth:`restart_clock`.
    request : bytes
        The request: JSON in one line, without the newline.
    arrays : sequence of memoryview
        The bytes that follow the request.
    on_cpu : bool
        Whether it uses CPU devices alone. The limit on memory of a process that may use a GPU is
        enforced from this process, which looks at it ten times a second.
    """

    def __init__(
        self,
        entry: str,
        limits: Limits,
        request: bytes,
        arrays: Sequence[memoryview] = (),
        *,
        on_cpu: bool = True,
    ) -> None:
        self._limits = limits
        self._late = self._large = False
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        path = json.dumps([place for place in sys.path if isinstance(place, str)])
        # CUDA maps far more memory than it uses, and fails to start if it is refused. How much of
        # it a limit on data counts depends on the driver.
        memory = limits.memory + 2 * _STACK * (os.cpu_count() or 1) if on_cpu else _UNLIMITED
        # The worker process must not be captured.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BRAINPY_PROBE")}
        # JAX would reserve most of a GPU's memory, part of which the calling process may use.
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        if on_cpu:  # JAX starts all of its platforms when it lowers the kernels of a CPU
            environment["JAX_PLATFORMS"] = "cpu"
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, on this package's code
            [sys.executable, "-P", "-c", _START, path, str(memory), str(os.getpid()), entry],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            start_new_session=True,  # a process group, which is killed as a whole
        )
        if not on_cpu:
            threading.Thread(target=self._watch_memory, daemon=True).start()
        self._clock = self._started_clock()
        with contextlib.suppress(BrokenPipeError), self._stream("stdin") as given:
            given.write(request + b"\n")
            for array in arrays:
                given.write(array)

    def restart_clock(self) -> None:
        """Start the time limit again, for the next task."""
        self._clock.cancel()
        self._clock = self._started_clock()

    def lines(self) -> Iterator[bytes]:
        """Yield each line of the answers."""
        out = self._stream("stdout")
        while True:
            line = out.readline(_LINE)
            if not line.endswith(b"\n"):  # the process ended while it wrote
                return
            yield line

    def fill(self, target: memoryview) -> bool:
        """Fill a buffer with the bytes of an answer; return False if there are too few."""
        out, done = self._stream("stdout"), 0
        while done < len(target):
            count = out.readinto(target[done:])  # type: ignore[attr-defined]
            if not count:
                return False
            done += count
        return True

    def ending(self) -> Ending:
        """Wait for the end of the process, and return why it gave no answer."""
        self._end()
        if self._late:
            return Ending("time", "")
        if self._large:
            return Ending("memory", "")
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _TAIL))
        lines = self._stderr.read().decode(errors="replace").splitlines()
        code = self._process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        errors = [line.strip() for line in lines if any(word in line for word in _ERROR_WORDS)]
        # If a thread can't be created, there is no memory for its stack.
        if any(is_out_of_memory(line) or "pthread_create() failed" in line for line in errors):
            return Ending("memory", how)
        if how == "SIGKILL":  # sent by the system, which ran out of memory
            return Ending("memory", how)
        return Ending("crash", f"{how}: {errors[-1][:300]}" if errors else how)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(kills=True)
        self._stream("stdout").close()
        self._stderr.close()

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

    def _watch_memory(self) -> None:
        """Kill the process when its private memory exceeds the limit (Linux)."""
        with contextlib.suppress(OSError, ValueError):  # it has ended, or there is no /proc
            while self._process.poll() is None:
                pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()
                resident, shared = int(pages[1]), int(pages[2])
                if (resident - shared) * os.sysconf("SC_PAGE_SIZE") > self._limits.memory:
                    self._large = True
                    self._kill()
                time.sleep(_LOOK)

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self._process, name)
        return stream


def is_out_of_memory(message: str) -> bool:
    """Return whether the message of an exception is about a lack of memory."""
    return any(words in message for words in _NO_MEMORY)


def limit_memory(memory: int) -> None:
    """Limit the memory of this process and the size of its files, and disable core files.

    The limit is on data (``RLIMIT_DATA``), not on addresses: XLA reserves many more addresses than
    it uses. The limit is not set for ``_UNLIMITED``.
    """
    import resource

    for kind, most in (
        # Not RLIMIT_AS: XLA reserves up to 1.5 GB of addresses for a tiny program. jaxlib reports a
        # refused allocation as an error. macOS does not enforce this limit.
        *([] if memory == _UNLIMITED else [(resource.RLIMIT_DATA, memory)]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _FILE),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def end_with(parent: int) -> None:
    """Kill this process, and the processes that it starts, when its parent has ended.

    Nothing else would stop an endless program after the parent was killed.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def requested() -> Iterator[tuple[bytes, IO[bytes], IO[bytes]]]:
    """Yield the request of this worker process, the stream after it, and the stream for answers.

    Output of XLA on stdout goes to stderr. The process ends with the block, without the exit
    handlers of extension modules, which may hang.
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
