"""Has a worker do something with a program of a capture, and reads its answer; does nothing itself.

An answer is one line of JSON; the arrays of a replay follow it as their bytes, in the order of the
program's results, as many as the manifest says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from brainpy_probe import errors
from brainpy_probe.errors import ProbeError, Stopped
from brainpy_probe.format.arrays import as_bytes, dtype_of
from brainpy_probe.format.cost_records import Costs
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.reader.worker import Ending, Limits, Worker

if TYPE_CHECKING:
    import numpy as np

    from brainpy_probe.analysis.measure import Measuring
    from brainpy_probe.analysis.replay import Replay

__all__ = ["Answer", "Task", "ask_costs", "ask_measuring", "ask_replay"]

_ENTRY = "brainpy_probe.reader.serving:serve"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: of one program, whose record is sent so that nobody reads the manifest twice.

    Attributes
    ----------
    what : str
        ``costs``, ``replay`` or ``measure``.
    jaxlib : str
        The version that ran the program.
    plain : bool
        Whether it is the portable form.
    overrides : tuple of str
        The arguments whose arrays follow.
    """

    what: Literal["costs", "replay", "measure"]
    folder: str
    record: ProgramRecord
    jaxlib: str
    plain: bool
    repeat: int = 1
    overrides: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, or the error by its slug; ``memory`` stands for the limit."""

    found: Any = None
    slug: str = ""
    message: str = ""
    remedy: str = ""


_ERRORS: dict[str, Callable[[str, str], ProbeError]] = {
    kind.slug: kind
    for kind in (
        errors.BadSetting,
        errors.CannotMeasure,
        errors.CannotReplay,
        errors.DamagedCapture,
    )
}


def ask_costs(task: Task, limits: Limits) -> Costs:
    """Have the costs of a program counted."""
    with Worker(_ENTRY, limits, msgspec.json.encode(task)) as worker:
        found = _answer(worker, task, limits, "Counting the costs of")
    return msgspec.convert(found, Costs)


def ask_measuring(task: Task, limits: Limits) -> Measuring:
    """Have a program measured."""
    from brainpy_probe.analysis.measure import Measuring

    with Worker(_ENTRY, limits, msgspec.json.encode(task)) as worker:
        found = _answer(worker, task, limits, "Measuring")
    return msgspec.convert(found, Measuring)


def ask_replay(task: Task, limits: Limits, overrides: Mapping[str, np.ndarray[Any, Any]]) -> Replay:
    """Have a program run again."""
    import numpy as np

    from brainpy_probe.analysis.replay import Replay

    given = [as_bytes(overrides[name]) for name in task.overrides]
    results = {}
    with Worker(_ENTRY, limits, msgspec.json.encode(task), given) as worker:
        found = _answer(worker, task, limits, "Replaying")
        for spec in task.record.results:
            array = np.empty(spec.shape, dtype_of(spec.dtype))
            if not worker.fill(as_bytes(array)):
                raise _stopped(worker.ending(), task, limits, "Replaying")
            results[spec.path] = array
    return replace(msgspec.convert(found, Replay), results=results)


def _answer(worker: Worker, task: Task, limits: Limits, doing: str) -> Any:
    line = next(worker.lines(), None)
    if line is None:
        raise _stopped(worker.ending(), task, limits, doing)
    # Not msgspec, which writes infinity as null: the largest difference may be that.
    answer = msgspec.convert(json.loads(line), Answer)
    if answer.slug == Stopped.slug:
        raise _stopped(Ending("memory", ""), task, limits, doing)
    if answer.slug:
        raise _ERRORS[answer.slug](answer.message, answer.remedy)
    return answer.found


def _stopped(ending: Ending, task: Task, limits: Limits, doing: str) -> Stopped:
    return Stopped(*ending.sentence(f"{doing} {task.record.name}", limits))
