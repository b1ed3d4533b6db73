"""Verifies a capture in a worker process.

XLA may end the process that calls it: jaxlib 0.4.13 aborts on HLO with missing operands. This is
then a failed check, and the remaining jobs continue in another process. A job that reaches its
limit of time or memory is undecided, because a valid program may run for hours.
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
from brainpy_probe.ir.executables.devices import prepare
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Ending, Limits, Worker, is_out_of_memory, requested
from brainpy_probe.verify.checks import Check, failed, undecided
from brainpy_probe.verify.equations import check_equations
from brainpy_probe.verify.files import check_arrays, check_dialects, check_files
from brainpy_probe.verify.runs import check_runs, check_step_runs
from brainpy_probe.verify.texts import check_texts, texts_of

__all__ = ["Job", "jobs_of", "verify_here", "verify_in_worker", "work"]


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's task: the jobs of a capture, beginning with job number ``first``."""

    folder: str
    first: int
    with_iree: bool


class _Message(msgspec.Struct, omit_defaults=True):
    """A line from the worker: a check, its next step, or the end of a job."""

    check: Check | None = None
    doing: str = ""
    ended: bool = False
    raised: str = ""


def verify_in_worker(capture: Capture, limits: Limits, *, with_iree: bool) -> Iterator[Check]:
    """Run the jobs of a capture in a worker, which is started again after a job has ended it."""
    jobs = jobs_of(capture, with_iree=with_iree)
    on_cpu = all(p.fidelity.placement.on_cpu for p in capture.manifest.programs)
    done = 0
    while done < len(jobs):
        doing = ""
        request = _Request(folder=str(capture.path), first=done, with_iree=with_iree)
        encoded = msgspec.json.encode(request)
        with Worker("brainpy_probe.verify.process:work", limits, encoded, on_cpu=on_cpu) as w:
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
            yield _stopped_check(jobs[done], doing, w.ending(), limits)
            done += 1


def _within(check: Check, limits: Limits) -> Check:
    """Return a check; if it failed for lack of memory, return it as undecided."""
    if check.outcome != "failed" or not is_out_of_memory(check.reason):
        return check
    reason = " ".join(Ending("memory", "").sentence(check.subject, limits))
    return replace(check, outcome="undecided", reason=reason)


def _stopped_check(job: Job, doing: str, ending: Ending, limits: Limits) -> Check:
    if ending.cause == "crash":
        reason = f"{doing or 'it'} ended the process: {ending.how}"
        return failed(job.subject, job.name, reason)
    reason = " ".join(ending.sentence(doing or "it", limits))
    return undecided(job.subject, job.name, reason)


def work() -> None:
    """Run the jobs and write the results. The worker process runs this function."""
    with requested() as (content, _, answers):
        request = msgspec.json.decode(content, type=_Request)
        capture = Capture(*read_manifest(request.folder, check_digest=False))
        if find_spec("jaxlib") is not None:
            prepare(record.fidelity.placement for record in capture.manifest.programs)
        for job in jobs_of(capture, with_iree=request.with_iree)[request.first :]:
            try:
                for found in job.run():
                    message = (
                        _Message(doing=found) if isinstance(found, str) else _Message(check=found)
                    )
                    _send(answers, message)
            except Exception as error:  # on damaged content XLA raises many exception classes
                _send(answers, _Message(raised=describe_error(error)))
            _send(answers, _Message(ended=True))


def _send(out: IO[bytes], message: _Message) -> None:
    out.write(msgspec.json.encode(message) + b"\n")
    out.flush()


@dataclass(frozen=True)
class Job:
    """A part of the verification.

    Attributes
    ----------
    subject, name : str
        Subject and name of the check that fails if the job ends its process.
    run : callable
        Yields checks, and a description before each step that may end the process.
    """

    subject: str
    name: str
    run: Callable[[], Iterator[Check | str]]


def jobs_of(capture: Capture, *, with_iree: bool) -> list[Job]:
    """Return the jobs of a capture: files and arrays, and with jaxlib its texts and programs."""
    manifest = capture.manifest
    jobs = [Job("files", "size and digest", partial(check_files, capture.path, manifest))]
    for record in manifest.programs:
        subject = f"program {record.index}"
        jobs.append(Job(subject, "dialects", partial(check_dialects, record, manifest.settings)))
        jobs.append(Job(subject, "arrays", partial(check_arrays, capture.path, record)))
    if find_spec("jaxlib") is None:
        return jobs
    jobs += [
        Job(texts.subject, "parses", partial(check_texts, capture.path, texts))
        for texts in texts_of(manifest)
    ]
    jaxlib = manifest.environment.jaxlib
    for program in (program.within(None) for program in capture.programs):
        subject, steps = f"program {program.record.index}", _steps(capture, program)
        run = partial(check_runs, capture.path, program, steps, jaxlib, with_iree=with_iree)
        jobs.append(Job(subject, "replay", run))
        jobs.append(Job(subject, "equations", partial(check_equations, program)))
        if program.step is not None:
            run = partial(
                check_step_runs, capture.path, program.step, steps, jaxlib, with_iree=with_iree
            )
            jobs.append(Job(f"{subject}, step", "replay", run))
    return jobs


def verify_here(capture: Capture, *, with_iree: bool) -> Iterator[Check]:
    """Run the jobs of a capture in this process, which a damaged capture may end."""
    for job in jobs_of(capture, with_iree=with_iree):
        for found in job.run():
            if not isinstance(found, str):
                yield found


def _steps(capture: Capture, program: Program) -> int | None:
    calls = (call for call in capture.manifest.calls if call.program == program.record.index)
    call = next(calls, None)
    return call.steps if call is not None and program.kind == "loop" else None
