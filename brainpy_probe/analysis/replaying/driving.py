"""Runs the program of one step in a loop, and compares the results with those of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from brainpy_probe.analysis.replaying.compiling import arguments_of, compiled_in_time, register
from brainpy_probe.analysis.replaying.replay import (
    Replay,
    compare,
    is_complete,
    reasons_of,
    stepwise_of,
)
from brainpy_probe.analysis.replaying.stepwise import compare_steps
from brainpy_probe.compat.types import Buffer
from brainpy_probe.errors import CannotReplay, first_line
from brainpy_probe.format.arrays import Array, dtype_of
from brainpy_probe.format.manifest.program_records import ProgramRecord, StepProgram, TensorSpec
from brainpy_probe.ir.executables import kernels
from brainpy_probe.ir.recorded_states import read_loop

__all__ = ["Compiled", "drive", "first_entries", "replay_steps"]


class Compiled(Protocol):
    """A compiled program. Its arguments and results stay where it runs."""

    def put(self, arrays: Sequence[Array]) -> list[Buffer]:
        """Place arrays where the program runs."""

    def run(self, arguments: Sequence[Buffer]) -> list[Buffer]:
        """Run the program on placed arrays."""

    def take(self, results: Sequence[Buffer]) -> list[Array]:
        """Return results as NumPy arrays."""


def first_entries(
    step: StepProgram, specs: Sequence[TensorSpec], whole: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the values of arguments or results in the first step, if the loop has them.

    Parameters
    ----------
    step : StepProgram
        The step.
    specs : sequence of TensorSpec
        Its arguments or results.
    whole : mapping
        The values of the loop's arguments or results, by group and name.
    """
    first = step.steps - 1 if step.reverse else 0
    found = {}
    for spec in specs:
        array = whole.get(spec.loop_path or spec.path)
        if array is not None and spec.loop_axis is not None and step.steps:
            found[spec.path] = array.take(first, axis=spec.loop_axis)
        elif array is not None and spec in step.arguments:
            found[spec.path] = array
    return found


def drive(
    record: ProgramRecord,
    step: StepProgram,
    arguments: Sequence[Array],
    program: Compiled,
    recorded: Mapping[int, Array] | None = None,
) -> list[Array]:
    """Run one step as often as the loop does, and return the results of the loop.

    Parameters
    ----------
    record : ProgramRecord
        The program of the loop.
    step : StepProgram
        One step of it.
    arguments : sequence of ndarray
        The arguments of the loop, in order.
    program : Compiled
        The compiled step.
    recorded : mapping, optional
        The values of states after each step, by the positions of the states among the arguments of
        the loop. Each step but the first starts with these values.

    Returns
    -------
    list of ndarray
        The results of the loop, in order.
    """
    places = {spec.path: position for position, spec in enumerate(record.arguments)}
    positions = [places[spec.loop_path or spec.path] for spec in step.arguments]
    known = recorded or {}
    starts = [(number, known[p]) for number, p in enumerate(positions) if p in known]
    scanned = [
        (number, np.moveaxis(arguments[position], spec.loop_axis, 0))
        for number, (spec, position) in enumerate(zip(step.arguments, positions, strict=True))
        if spec.loop_axis is not None
    ]
    own = {spec.path: number for number, spec in enumerate(step.arguments)}
    states = [(n, own[s.path]) for n, s in enumerate(step.results) if s.role == "state"]
    results = {s.path: np.empty(s.shape, dtype_of(s.dtype)) for s in record.results}
    stacked = [
        (number, np.moveaxis(results[spec.loop_path or spec.path], spec.loop_axis, 0))
        for number, spec in enumerate(step.results)
        if spec.loop_axis is not None
    ]
    values: list[Buffer] = [None] * len(positions)
    fixed = [n for n, spec in enumerate(step.arguments) if spec.loop_axis is None]
    _assign(values, fixed, program.put([arguments[positions[n]] for n in fixed]))
    for count in range(step.steps):
        entry = step.steps - 1 - count if step.reverse else count
        given = [(n, entries[entry]) for n, entries in scanned]
        given += [(n, entries[count - 1]) for n, entries in starts if count]
        _assign(values, [n for n, _ in given], program.put([array for _, array in given]))
        made = program.run(values)
        entries = program.take([made[n] for n, _ in stacked])
        for (_, whole), array in zip(stacked, entries, strict=True):
            whole[entry] = array
        _assign(values, [n for _, n in states], [made[n] for n, _ in states])
    last = program.take([values[n] for _, n in states])
    for (number, _), array in zip(states, last, strict=True):
        spec = step.results[number]
        results[spec.loop_path or spec.path] = array
    return list(results.values())


def _assign(values: list[Buffer], numbers: Sequence[int], new: Sequence[Buffer]) -> None:
    for number, value in zip(numbers, new, strict=True):
        values[number] = value


def replay_steps(
    record: ProgramRecord,
    content: bytes,
    own: ProgramRecord,
    own_content: bytes,
    stored: Mapping[str, Array],
    expected: Callable[[], Mapping[str, Array]],
    reasons: Sequence[str] = (),
) -> Replay:
    """Drive one step with the captured arguments of the loop, and compare with the run.

    Parameters
    ----------
    record : ProgramRecord
        The program of the loop.
    content : bytes
        Its VHLO bytecode, or its StableHLO text.
    own, own_content
        The record and the content of the step.
    stored : mapping
        The captured arguments of the loop by group and name.
    expected : callable
        Returns the results of the simulation; called if digests do not decide.
    reasons : sequence of str
        Why XLA may compile the step to code that rounds differently, in addition to the reasons in
        its record.

    Raises
    ------
    CannotReplay
        If the step can't be compiled or run in this environment.
    """
    step = record.step
    if step is None:
        raise CannotReplay(f"{record.name} has no program of one step.", "Capture with step=True.")
    arguments = arguments_of(record, stored)
    register(own)
    own_content, direct = kernels.call_directly(own_content, own.fidelity.custom_calls)
    reasons = (*reasons, *reasons_of(own, own_content))
    executable, compile_seconds = compiled_in_time(own, own_content, ())
    begun = time.perf_counter()
    try:
        driven = drive(record, step, arguments, executable)
    except Exception as error:  # XLA raises many exception classes
        raise CannotReplay(f"{record.name} failed while it ran: {first_line(error)}.") from error
    seconds = time.perf_counter() - begun
    results = dict(zip((spec.path for spec in record.results), driven, strict=True))
    compared = [compare(spec, results[spec.path], None) for spec in record.results]
    replayed = Replay(results, tuple(compared), compile_seconds, (seconds,), direct, reasons)
    if replayed.equal:
        return replayed
    arrays = expected()
    compared = [compare(spec, results[spec.path], arrays.get(spec.path)) for spec in record.results]
    replayed = replace(replayed, compared=tuple(compared))
    if replayed.equal is not False or not reasons or not is_complete(record, arrays):
        return replayed

    def run(positions: Sequence[int], rows: Sequence[Sequence[Array]]) -> list[list[Array]]:
        count = len(record.arguments)
        return [
            drive(
                record,
                step,
                row[:count],
                executable,
                dict(zip(positions, row[count:], strict=True)),
            )
            for row in rows
        ]

    return replace(
        replayed,
        stepwise=stepwise_of(
            lambda: compare_steps(record, read_loop(content), arguments, arrays, run)
        ),
    )
