"""Sends tasks on a capture's content to a worker process, and reads its answers.

A request is one line of JSON. An answer is one line of JSON too; the text of a module or the arrays
of a replay follow it as bytes. A new kind of task needs a name in :data:`Task`, a phrase for
messages in ``_DOING``, and an entry in :mod:`.serving` that runs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import msgspec

from brainpy_probe import errors
from brainpy_probe.errors import ProbeError, Stopped
from brainpy_probe.format.arrays import as_bytes, dtype_of
from brainpy_probe.format.manifest.environment_records import Environment
from brainpy_probe.format.manifest.program_records import ProgramRecord, TensorSpec
from brainpy_probe.format.manifest.records import ModuleRecord
from brainpy_probe.reader.worker import Ending, Limits, Worker
from brainpy_probe.settings import Dialect

if TYPE_CHECKING:
    import numpy as np

    from brainpy_probe.analysis.replaying.replay import Replay

__all__ = [
    "Answer",
    "Conversion",
    "ProgramTask",
    "Task",
    "ask",
    "ask_conversion",
    "ask_replay",
]

Task: TypeAlias = Literal[
    "costs", "dataflow", "explain", "listing", "op_graph", "replay", "drive", "measure"
]  # fmt: skip
# The phrase for each task in messages, before the program's name.
_DOING: dict[Task, str] = {
    "costs": "Counting the costs of",
    "dataflow": "Following the values of",
    "explain": "Explaining",
    "listing": "Listing",
    "op_graph": "Reading the ops of",
    "replay": "Replaying",
    "drive": "Replaying",
    "measure": "Measuring",
}
_ENTRY = "brainpy_probe.reader.serving:serve"
_Found = TypeVar("_Found")


class ProgramTask(msgspec.Struct, frozen=True, kw_only=True, tag="program"):
    """A request about a program.

    It contains the program's record, so that the worker does not read the manifest again.

    Attributes
    ----------
    action : str
        ``costs``, ``dataflow``, ``explain``, ``listing``, ``op_graph``, ``replay``, ``drive`` or
        ``measure``.
    folder : str
        The capture folder.
    record : ProgramRecord
        The program.
    environment : Environment
        Where the program ran.
    plain : bool
        Whether the record is of the portable form.
    step : bool
        Whether the request is about one step of the program.
    compiles : bool
        Whether a listing includes the optimised HLO.
    repeat : int
        How many times a replay runs the program.
    overrides : tuple of str
        The names of the arguments whose arrays follow the request.
    """

    action: Task
    folder: str
    record: ProgramRecord
    environment: Environment
    plain: bool
    step: bool = False
    compiles: bool = True
    repeat: int = 1
    overrides: tuple[str, ...] = ()


class Conversion(msgspec.Struct, frozen=True, kw_only=True, tag="conversion"):
    """A request to convert a module to a dialect.

    Attributes
    ----------
    folder : str
        The capture folder.
    record : ModuleRecord
        The module.
    dialect : str
        The dialect.
    """

    folder: str
    record: ModuleRecord
    dialect: Dialect


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's answer: a result, or an error.

    Attributes
    ----------
    found : object
        The result; for a conversion, the number of bytes of the text that follows.
    slug, message, remedy : str
        The error. The slug of :class:`~brainpy_probe.errors.Stopped` means the memory limit.
    """

    found: Any = None
    slug: str = ""
    message: str = ""
    remedy: str = ""


_ERRORS: dict[str, Callable[[str, str], ProbeError]] = {
    kind.slug: kind
    for kind in (
        errors.BadSetting,
        errors.CannotConvert,
        errors.CannotMeasure,
        errors.CannotReplay,
        errors.DamagedCapture,
    )
}


def ask(task: ProgramTask, limits: Limits, kind: type[_Found]) -> _Found:
    """Analyse a program in a worker, and return the result, a record of type `kind`."""
    with _worker(task, limits) as worker:
        found = _answer(worker, limits, f"{_DOING[task.action]} {task.record.name}")
    return msgspec.convert(found, kind)


def _worker(task: ProgramTask, limits: Limits, arrays: Sequence[memoryview] = ()) -> Worker:
    request, placement = msgspec.json.encode(task), task.record.fidelity.placement
    return Worker(_ENTRY, limits, request, arrays, on_cpu=placement.on_cpu)


def ask_replay(
    task: ProgramTask,
    specs: Sequence[TensorSpec],
    limits: Limits,
    overrides: Mapping[str, np.ndarray[Any, Any]],
) -> Replay:
    """Replay a program in a worker; ``specs`` describes the results."""
    import numpy as np

    from brainpy_probe.analysis.replaying.replay import Replay

    doing = f"{_DOING[task.action]} {task.record.name}"
    contents = [as_bytes(overrides[name]) for name in task.overrides]
    results = {}
    with _worker(task, limits, contents) as worker:
        found = _answer(worker, limits, doing)
        for spec in specs:
            array = np.empty(spec.shape, dtype_of(spec.dtype))
            if not worker.fill(as_bytes(array)):
                raise _stopped(worker.ending(), limits, doing)
            results[spec.path] = array
    return replace(msgspec.convert(found, Replay), results=results)


def ask_conversion(task: Conversion, limits: Limits) -> str:
    """Convert a module to a dialect in a worker."""
    doing = f"Converting {task.record.name} to {task.dialect}"
    with Worker(_ENTRY, limits, msgspec.json.encode(task)) as worker:
        text = bytearray(_answer(worker, limits, doing))
        if not worker.fill(memoryview(text)):
            raise _stopped(worker.ending(), limits, doing)
    return text.decode()


def _answer(worker: Worker, limits: Limits, doing: str) -> Any:
    line = next(worker.lines(), None)
    if line is None:
        raise _stopped(worker.ending(), limits, doing)
    # json, because msgspec writes infinity as null, and a difference may be infinite.
    answer = msgspec.convert(json.loads(line), Answer)
    if answer.slug == Stopped.slug:
        raise _stopped(Ending("memory", ""), limits, doing)
    if answer.slug:
        raise _ERRORS[answer.slug](answer.message, answer.remedy)
    return answer.found


def _stopped(ending: Ending, limits: Limits, doing: str) -> Stopped:
    return Stopped(*ending.sentence(doing, limits))
