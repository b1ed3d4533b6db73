"""Makes program records of a program's portable form, and of one step of its loop."""

from __future__ import annotations

from msgspec.structs import replace

from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import ProgramRecord, StepProgram
from brainpy_probe.reader.program_files import ARRAYS

__all__ = ["portable_record", "step_record"]


def portable_record(record: ProgramRecord) -> ProgramRecord | None:
    """Return the record of the portable form; None if it was not requested."""
    portable = record.portable
    if portable is None:
        return None
    return replace(
        record,
        fidelity=portable.fidelity,
        files=(*portable.files, *_array_files(record)),
        portable=None,
        step=_portable_step(record.step),
        kernels=(),
        measured=None,
        unmeasured="",
    )


def step_record(record: ProgramRecord, step: StepProgram) -> ProgramRecord:
    """Return the record of one step of a loop as a program record."""
    return replace(
        record,
        kind="step",
        fingerprint=step.fingerprint,
        arguments=step.arguments,
        results=step.results,
        fidelity=step.fidelity,
        files=(*step.files, *_array_files(record)),
        portable=step.portable,
        step=None,
        kernels=step.kernels,
        measured=None,
        unmeasured="",
    )


def _array_files(record: ProgramRecord) -> list[WrittenFile]:
    return [file for file in record.files if file.kind in ARRAYS]


def _portable_step(step: StepProgram | None) -> StepProgram | None:
    if step is None or step.portable is None:
        return None
    portable = step.portable
    return replace(
        step, fidelity=portable.fidelity, files=portable.files, portable=None, kernels=()
    )
