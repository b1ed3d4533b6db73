"""What a worker does with a program of a capture: counts, runs or measures it, and answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

import msgspec

from brainpy_probe.errors import CannotReplay, ProbeError, Stopped, told
from brainpy_probe.format.arrays import as_bytes, dtype_of
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.requests import Answer, Task
from brainpy_probe.reader.worker import is_out_of_memory, requested

__all__ = ["serve"]


def serve() -> None:
    """Do one task, and answer: what the process is started for."""
    with requested() as (request, given, answers):
        answer, arrays = _done(request, given)
        answers.write(json.dumps(msgspec.to_builtins(answer)).encode() + b"\n")
        for array in arrays:
            answers.write(array)


def _done(request: bytes, given: IO[bytes]) -> tuple[Answer, list[memoryview]]:
    task = msgspec.json.decode(request, type=Task)
    program = Program(Path(task.folder), task.record, task.jaxlib, task.plain, None)
    _leave_out(task)
    try:
        if task.what == "costs":
            return Answer(found=program.costs), []
        if task.what == "measure":
            return Answer(found=program.measure()), []
        return _replayed(program, task, given)
    except Exception as error:
        said = told(error)
        if isinstance(error, MemoryError) or is_out_of_memory(said):
            return Answer(slug=Stopped.slug), []
        if isinstance(error, ProbeError):
            return Answer(slug=error.slug, message=error.message, remedy=error.remedy), []
        # Where manifest and program disagree, XLA and what reads its answers raise what they like.
        doing = {"costs": "counted", "measure": "measured", "replay": "replayed"}[task.what]
        said = f"{program.name} can't be {doing}: {said}"
        remedy = "The capture is damaged, or this jaxlib does not read it: brainpy-probe verify."
        return Answer(slug=CannotReplay.slug, message=said, remedy=remedy), []


def _leave_out(task: Task) -> None:
    """Have what a task does not need not be found: importing it takes longer than most tasks."""
    # brainevent's units look for matplotlib, and nothing is drawn: importing it takes 0.4 s of the
    # 3.6 s that EINet takes at scale 1 (saiunit 0.6.0 does without: _matplotlib_compat.py).
    needless = ["matplotlib"]
    if task.what == "costs" or not task.record.fidelity.custom_calls:
        # jaxlib imports JAX's class of shardings if there is one (1 s), and does without.
        needless.append("jax")
    sys.modules.update(dict.fromkeys(needless))  # type: ignore[arg-type]  # None: not to be found


def _replayed(program: Program, task: Task, given: IO[bytes]) -> tuple[Answer, list[memoryview]]:
    overrides = _overrides(task.record, task.overrides, given)
    done = program.replay(repeat=task.repeat, overrides=overrides)
    arrays = [done.results[spec.path] for spec in task.record.results]
    for spec, array in zip(task.record.results, arrays, strict=True):
        if array.shape != spec.shape or array.dtype != dtype_of(spec.dtype):
            raise CannotReplay(
                f"{spec.path} came as {array.dtype} of shape {array.shape}; "
                f"the manifest has {spec.dtype} of shape {spec.shape}."
            )
    answer = Answer(found={**vars(done), "results": {}})
    return answer, [as_bytes(array) for array in arrays]


def _overrides(record: ProgramRecord, names: tuple[str, ...], given: IO[bytes]) -> dict[str, Any]:
    import numpy as np

    specs = {spec.path: spec for spec in record.arguments}
    arrays = {}
    for name in names:
        array = np.empty(specs[name].shape, dtype_of(specs[name].dtype))
        given.readinto(as_bytes(array))  # type: ignore[attr-defined]
        arrays[name] = array
    return arrays
