"""Lists what of a capture is proved, a job each; knows no process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from brainpy_probe.captured import Capture
from brainpy_probe.offline.checks import Check
from brainpy_probe.offline.files import check_files
from brainpy_probe.offline.forms import check_forms
from brainpy_probe.offline.runs import run_anew
from brainpy_probe.offline.stored import check_arrays
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
    jaxlib = manifest.environment.versions.get("jaxlib", "")
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
