"""Proves a capture in a worker; knows no text and no compiler.

XLA may end the process that calls it: jaxlib 0.4.13 aborts on HLO whose operands are not there.
Then that is the finding, and the rest goes on in another process. What needs more time or memory
than it may have is undecided: a good program may run for hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import IO

import msgspec
from msgspec.structs import replace

from brainpy_probe.errors import describe_error
from brainpy_probe.format.reading import read_manifest
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Ending, Limits, Worker, is_out_of_memory, requested
from brainpy_probe.verify.checks import Check, failed, undecided
from brainpy_probe.verify.files import check_arrays, check_files, check_forms
from brainpy_probe.verify.runs import run_anew
from brainpy_probe.verify.texts import prove, texts_of

__all__ = ["Job", "jobs_of", "prove_apart", "prove_here", "work"]


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be proved: the jobs of a capture, from one on."""

    folder: str
    first: int
    with_iree: bool


class _Message(msgspec.Struct, omit_defaults=True):
    """What the process says in one line: a finding, what it is about to do, or that a job ended."""

    check: Check | None = None
    doing: str = ""
    ended: bool = False
    raised: str = ""


def prove_apart(capture: Capture, limits: Limits, *, with_iree: bool) -> Iterator[Check]:
    """Prove a capture's texts and run its programs, whatever becomes of the process that does."""
    jobs = jobs_of(capture, with_iree=with_iree)
    done = 0
    while done < len(jobs):
        doing = ""
        request = _Request(folder=str(capture.path), first=done, with_iree=with_iree)
        with Worker("brainpy_probe.verify.process:work", limits, msgspec.json.encode(request)) as w:
            for line in w.lines():
                message = msgspec.json.decode(line, type=_Message)
                job = jobs[done]
                if message.check is not None:
                    yield _within(message.check, limits)
                if message.raised:
                    yield _within(failed(job.subject, job.name, message.raised), limits)
                doing = message.doing or doing
                if message.ended:
                    done, doing = done + 1, ""
                    if done == len(jobs):
                        return
                    w.restart_clock()
            yield _stopped(jobs[done], doing, w.ending(), limits)
            done += 1


def _within(check: Check, limits: Limits) -> Check:
    """Return a check, undecided if it failed for want of memory."""
    if check.outcome != "failed" or not is_out_of_memory(check.reason):
        return check
    reason = " ".join(Ending("memory", "").sentence(check.subject, limits))
    return replace(check, outcome="undecided", reason=reason)


def _stopped(job: Job, doing: str, ending: Ending, limits: Limits) -> Check:
    if ending.cause == "crash":
        reason = f"{doing or 'it'} ended the process: {ending.how}"
        return failed(job.subject, job.name, reason)
    reason = " ".join(ending.sentence(doing or "it", limits))
    return undecided(job.subject, job.name, reason)


def work() -> None:
    """Do the jobs from one on, and say what is found: what the process is started for."""
    with requested() as (content, _, answers):
        request = msgspec.json.decode(content, type=_Request)
        capture = Capture(*read_manifest(request.folder, check_digest=False))
        for job in jobs_of(capture, with_iree=request.with_iree)[request.first :]:
            try:
                for found in job.run():
                    said = (
                        _Message(doing=found) if isinstance(found, str) else _Message(check=found)
                    )
                    _say(answers, said)
            except Exception as error:  # where the capture is damaged, XLA raises what it likes
                _say(answers, _Message(raised=describe_error(error)))
            _say(answers, _Message(ended=True))


def _say(out: IO[bytes], message: _Message) -> None:
    out.write(msgspec.json.encode(message) + b"\n")
    out.flush()


@dataclass(frozen=True)
class Job:
    """Something to prove.

    Attributes
    ----------
    subject, name : str
        Of the check that has failed if it ends its process.
    run : callable
        Yields what is found; before each step that may end the process, what it is about to do.
    """

    subject: str
    name: str
    run: Callable[[], Iterator[Check | str]]


def jobs_of(capture: Capture, *, with_iree: bool) -> list[Job]:
    """Return the jobs of a capture: its files and arrays; with jaxlib its texts and programs."""
    manifest = capture.manifest
    jobs = [Job("files", "size and digest", partial(check_files, capture.path, manifest))]
    for record in manifest.programs:
        subject = f"program {record.index}"
        jobs.append(Job(subject, "forms", partial(check_forms, record, manifest.settings)))
        jobs.append(Job(subject, "arrays", partial(check_arrays, capture.path, record)))
    if find_spec("jaxlib") is None:
        return jobs
    jobs += [
        Job(texts.subject, "parses", partial(prove, capture.path, texts))
        for texts in texts_of(manifest)
    ]
    jaxlib = manifest.environment.jaxlib
    for program in (program.within(None) for program in capture.programs):
        run = partial(
            run_anew, capture.path, program, _steps(capture, program), jaxlib, with_iree=with_iree
        )
        jobs.append(Job(f"program {program.record.index}", "replay", run))
    return jobs


def prove_here(capture: Capture, *, with_iree: bool) -> Iterator[Check]:
    """Do the jobs of a capture in this process, which what is damaged may end."""
    for job in jobs_of(capture, with_iree=with_iree):
        for found in job.run():
            if not isinstance(found, str):
                yield found


def _steps(capture: Capture, program: Program) -> int | None:
    calls = (one for one in capture.manifest.calls if one.program == program.record.index)
    call = next(calls, None)
    return call.steps if call is not None and program.kind == "loop" else None
