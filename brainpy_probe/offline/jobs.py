"""Lists what of a capture is proved with jaxlib, a job each; knows no process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from brainpy_probe.captured import Capture
from brainpy_probe.offline.checks import Check
from brainpy_probe.offline.runs import run_anew
from brainpy_probe.offline.texts import prove, texts_of
from brainpy_probe.parts import Program

__all__ = ["Job", "jobs_of", "prove_here"]


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
    """Return the jobs of a capture: its texts, then its programs run anew."""
    jobs = [
        Job(texts.subject, "parses", partial(prove, capture.path, texts))
        for texts in texts_of(capture.manifest)
    ]
    jaxlib = capture.manifest.environment.versions.get("jaxlib", "")
    for program in capture.programs:
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
