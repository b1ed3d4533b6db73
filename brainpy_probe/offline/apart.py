"""Proves a capture in a process of its own; knows no text and no compiler.

XLA may end the process that calls it: jaxlib 0.4.13 aborts on HLO whose operands are not there.
Then that is the finding, and the rest goes on in another process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from brainpy_probe.captured import Capture
from brainpy_probe.offline.checks import Check, failed
from brainpy_probe.offline.jobs import jobs_of
from brainpy_probe.reading import read_manifest

__all__ = ["prove_apart", "work"]

# Not multiprocessing: that would run the script again which called verify().
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from brainpy_probe.offline.apart import work; work(*sys.argv[1:])"
)


class _Message(msgspec.Struct, omit_defaults=True):
    """What the process says in one line: a finding, what it is about to do, or that a job ended."""

    check: Check | None = None
    doing: str = ""
    ended: bool = False


def prove_apart(capture: Capture, *, with_iree: bool) -> Iterator[Check]:
    """Prove a capture's texts and run its programs, whatever becomes of the process that does."""
    jobs = jobs_of(capture, with_iree=with_iree)
    done = 0
    while done < len(jobs):
        doing = ""
        with tempfile.TemporaryFile() as said:
            worker = _started(capture.path, done, with_iree, said)
            try:
                for message in _messages(worker):
                    if message.check is not None:
                        yield message.check
                    doing = message.doing or doing
                    done += message.ended
            finally:
                worker.kill()
                code = worker.wait()
            if done < len(jobs):
                reason = f"{doing or 'it'} ended the process: {_death(code, said)}"
                yield failed(jobs[done].subject, jobs[done].name, reason)
                done += 1


def _started(folder: Path, first: int, with_iree: bool, said: IO[bytes]) -> subprocess.Popen[bytes]:
    path = json.dumps([place for place in sys.path if isinstance(place, str)])
    words = [str(folder), str(first), str(int(with_iree))]
    return subprocess.Popen(  # noqa: S603 - this interpreter, on this package's own code
        [sys.executable, "-P", "-c", _START, path, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
    )


def _messages(worker: subprocess.Popen[bytes]) -> Iterator[_Message]:
    """Yield what a process says until it ends, and wait for that."""
    with cast("IO[bytes]", worker.stdout) as out:
        for line in out:
            if line.endswith(b"\n"):  # else it ended while it wrote
                yield msgspec.json.decode(line, type=_Message)
    worker.wait()


def work(folder: str, first: str, with_iree: str) -> None:
    """Do the jobs from one on, and say on stdout what is found: what the process is started for."""
    # What XLA and IREE print on stdout is none of it.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        capture = Capture(*read_manifest(folder, altered=True))
        for job in jobs_of(capture, with_iree=with_iree == "1")[int(first) :]:
            for found in job.run():
                said = _Message(doing=found) if isinstance(found, str) else _Message(check=found)
                _say(out, said)
            _say(out, _Message(ended=True))


def _say(out: IO[bytes], message: _Message) -> None:
    out.write(msgspec.json.encode(message) + b"\n")
    out.flush()


def _death(code: int, said: IO[bytes]) -> str:
    """Return how a process ended, and the last that it said which is no stack."""
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    said.seek(0)
    lines = said.read().decode(errors="replace").splitlines()
    telling = [line.strip() for line in lines if "Check failed" in line or "Error" in line]
    return f"{how}: {telling[-1][:300]}" if telling else how
