"""Runs the proof of a capture's texts in a process of its own; knows no text and no compiler.

XLA's parser may end the process that calls it (jaxlib 0.4.13 aborts on HLO whose operands are not
there): then that is the finding, and the rest goes on in another process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from brainpy_probe.offline.checks import Check, failed
from brainpy_probe.offline.texts import Texts, prove

__all__ = ["prove_apart"]


def prove_apart(folder: Path, texts: Sequence[Texts]) -> Iterator[Check]:
    """Prove texts one after the other, whatever becomes of the process that reads them."""
    pending = list(texts)
    while pending:
        done, reading, death = 0, "", ""
        with tempfile.TemporaryDirectory() as scratch:
            said = Path(scratch) / "stderr"
            for message in _messages(folder, pending, said):
                match message:
                    case Check():
                        yield message
                    case str():
                        reading = message
                    case int():
                        death = _death(message, said)
                    case None:
                        done += 1
        if done < len(pending):
            reason = f"{reading}: reading it ended the process: {death}"
            yield failed(pending[done].subject, "parses", reason)
        pending = pending[done + 1 :]


def _messages(
    folder: Path, texts: Sequence[Texts], said: Path
) -> Iterator[Check | str | int | None]:
    """Yield what a fresh process tells: paths, checks, None after each text, its exit code."""
    spawning = multiprocessing.get_context("spawn")
    receiver, sender = spawning.Pipe(duplex=False)
    worker = spawning.Process(target=_work, args=(sender, folder, texts, said))
    worker.start()
    sender.close()
    try:
        while True:
            yield receiver.recv()
    except EOFError:
        worker.join()
        yield worker.exitcode or 0
    finally:
        worker.kill()
        worker.join()
        receiver.close()


def _work(sender: Connection, folder: Path, texts: Sequence[Texts], said: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 2)
    for one in texts:
        for message in prove(folder, one):
            sender.send(message)
        sender.send(None)
    sender.close()


def _death(code: int, said: Path) -> str:
    """Return how a process ended, and the last that it said which is no stack."""
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    lines = said.read_text(errors="replace").splitlines() if said.exists() else []
    telling = [line.strip() for line in lines if "Check failed" in line or "Error" in line]
    return f"{how} {telling[-1][:300]}" if telling else how
