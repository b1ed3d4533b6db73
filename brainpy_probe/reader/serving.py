"""Runs the tasks of :mod:`.requests` in the worker process, and writes the answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

import msgspec

from brainpy_probe.errors import CannotReplay, DamagedCapture, ProbeError, Stopped, describe_error
from brainpy_probe.format.arrays import as_bytes, dtype_of
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.requests import Answer, Conversion, ProgramTask
from brainpy_probe.reader.step import Step
from brainpy_probe.reader.worker import is_out_of_memory, requested

__all__ = ["serve"]

_REMEDY = "The capture is damaged, or this jaxlib does not read it: brainpy-probe verify."


_VERBS = {
    "costs": "counted",
    "explain": "explained",
    "dataflow": "followed",
    "listing": "listed",
    "op_graph": "read",
    "measure": "measured",
    "replay": "replayed",
    "drive": "driven",
}


def serve() -> None:
    """Do one task and write the answer. The worker process runs this function."""
    with requested() as (request, stream, answers):
        task = msgspec.json.decode(request, type=ProgramTask | Conversion)
        answer, content = _answer(task, stream)
        answers.write(json.dumps(msgspec.to_builtins(answer)).encode() + b"\n")
        for piece in content:
            answers.write(piece)


def _answer(
    task: ProgramTask | Conversion, stream: IO[bytes]
) -> tuple[Answer, list[bytes | memoryview]]:
    """Return the answer to a task, and the bytes that follow it."""
    _block_imports(task)
    try:
        return _run(task, stream)
    except Exception as error:
        reason = describe_error(error)
        if isinstance(error, MemoryError) or is_out_of_memory(reason):
            return Answer(slug=Stopped.slug), []
        if not isinstance(error, ProbeError):
            # On damaged content, XLA and the readers of its output raise many exception classes.
            if isinstance(task, Conversion):
                error = DamagedCapture(f"{task.record.name} can't be converted: {reason}", _REMEDY)
            else:
                verb = _VERBS[task.action]
                error = CannotReplay(f"{task.record.name} can't be {verb}: {reason}", _REMEDY)
        return Answer(slug=error.slug, message=error.message, remedy=error.remedy), []


def _run(
    task: ProgramTask | Conversion, stream: IO[bytes]
) -> tuple[Answer, list[bytes | memoryview]]:
    """Run a task; return the answer, and the bytes that follow it."""
    if isinstance(task, Conversion):
        module = CompiledModule(Path(task.folder), task.record, None)
        text = module.convert(task.dialect).encode()
        return Answer(found=len(text)), [text]
    program = Program(Path(task.folder), task.record, task.environment, task.plain, None)
    if task.step and program.step is not None:
        program = program.step
    if task.action == "costs":
        return Answer(found=program.costs), []
    if task.action == "dataflow":
        return Answer(found=program.dataflow), []
    if task.action == "explain":
        return Answer(found=program.explain()), []
    if task.action == "listing":
        return Answer(found=program.listing(compiles=task.compiles)), []
    if task.action == "op_graph":
        return Answer(found=program.op_graph()), []
    if task.action == "measure":
        return Answer(found=program.measure()), []
    return _replay(program, task, stream)


def _block_imports(task: ProgramTask | Conversion) -> None:
    """Prevent the import of packages that are slow to import and that the task does not need."""
    # brainevent's units import matplotlib if it is installed, which takes 0.4 s of the 3.6 s of
    # EINet at scale 1. It is optional (saiunit 0.6.0: _matplotlib_compat.py).
    needless = ["matplotlib"]
    if isinstance(task, Conversion) or not _needs_jax(task):
        # jaxlib imports JAX's sharding class if JAX is installed (1 s), but does not need it.
        needless.append("jax")
    sys.modules.update(dict.fromkeys(needless))  # type: ignore[arg-type]  # None: not importable


def _needs_jax(task: ProgramTask) -> bool:
    """Return whether a task needs JAX: for the kernels or the device of a program that it runs."""
    if task.action in ("costs", "dataflow", "op_graph", "explain"):
        return False
    fidelity = task.record.fidelity
    return bool(fidelity.custom_calls) or not fidelity.placement.on_cpu


def _replay(
    program: Program, task: ProgramTask, stream: IO[bytes]
) -> tuple[Answer, list[bytes | memoryview]]:
    """Replay a program; return the answer, and the bytes of its results."""
    if isinstance(program, Step) and task.action == "drive":
        specs, replayed = program.loop.results, program.drive()
    else:
        overrides = _overrides(program.record, task.overrides, stream)
        specs, replayed = program.results, program.replay(repeat=task.repeat, overrides=overrides)
    arrays = [replayed.results[spec.path] for spec in specs]
    for spec, array in zip(specs, arrays, strict=True):
        if array.shape != spec.shape or array.dtype != dtype_of(spec.dtype):
            raise CannotReplay(
                f"{spec.path} has dtype {array.dtype} and shape {array.shape}; "
                f"the manifest has {spec.dtype} of shape {spec.shape}."
            )
    answer = Answer(found={**vars(replayed), "results": {}})
    return answer, [as_bytes(array) for array in arrays]


def _overrides(record: ProgramRecord, names: tuple[str, ...], stream: IO[bytes]) -> dict[str, Any]:
    """Read the arrays that follow a request."""
    import numpy as np

    specs = {spec.path: spec for spec in record.arguments}
    arrays = {}
    for name in names:
        array = np.empty(specs[name].shape, dtype_of(specs[name].dtype))
        stream.readinto(as_bytes(array))  # type: ignore[attr-defined]
        arrays[name] = array
    return arrays
