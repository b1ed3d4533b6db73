"""Proves an explanation: evaluates it for single steps, and compares the values with the program's.

A program with a loop runs up to a step and one step further, which gives the states before and
after the step. The explanation is compared with the program's own results. Whether these are the
results of the run is decided by a replay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from brainpy_probe.analysis.comparison import is_float
from brainpy_probe.analysis.evaluation.evaluator import CannotEvaluate, Evaluator
from brainpy_probe.analysis.explanation.explain import step_of
from brainpy_probe.analysis.explanation.reading import Result, Step
from brainpy_probe.analysis.replaying.compiling import compiled, on_cpu_devices
from brainpy_probe.analysis.replaying.stepwise import AGREES, ANOTHER, ulps_between
from brainpy_probe.errors import describe_error
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.ir.recorded_states import read_loop

__all__ = ["Proof", "StepProof", "prove"]

Arrays = Mapping[str, Array]
# Maximum number of steps that are tried to find one with spikes and one without.
_MAX_STEPS_TRIED = 8
# How far values are moved to check whether rounding explains a difference: 4 ulps of a float32.
_PERTURBATION = 4 * float(np.finfo(np.float32).eps)


@dataclass
class StepProof:
    """The comparison of one step.

    Attributes
    ----------
    number : int
        The number of the step, from 0.
    spikes : bool or None
        Whether a boolean state is true after the step; None if the program has none.
    equal : list of str
        The results that agree: equal booleans and integers, floats within 4 ulps.
    ulps : int
        The largest difference among these, in units in the last place.
    differing : dict
        The results that do not agree, each with the difference.
    unsure : dict
        The results whose floats differ in a way that may be rounding, but is not explained by it.
    rounded : dict
        The results that differ by rounding which the program itself magnifies: a difference of
        almost equal numbers, such as ``exp(z) - 1``, or a value next to a threshold.
    unevaluated : dict
        The results that NumPy can't evaluate, each with the reason.
    """

    number: int
    spikes: bool | None = None
    equal: list[str] = field(default_factory=list)
    ulps: int = 0
    differing: dict[str, str] = field(default_factory=dict)
    unsure: dict[str, str] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)
    unevaluated: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Proof:
    """The comparison of an explanation with its program: its steps, or why none was compared."""

    steps: tuple[StepProof, ...] = ()
    problem: str = ""


def prove(record: ProgramRecord, content: bytes, arguments: Sequence[Array]) -> Proof:
    """Compare expressions with their program, for one step with spikes and one without.

    The program runs on CPU devices: a GPU multiplies matrices in a precision that NumPy lacks.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its StableHLO text, or its VHLO bytecode.
    arguments : sequence of ndarray
        Its arguments, in order.

    Raises
    ------
    CannotReplay
        If the program can't be compiled or run in this environment.
    """
    record = on_cpu_devices(record)
    step = step_of(record, content)
    if not step.loops:
        executable = compiled(record, content, arguments, separate_ops=False)
        results = executable.take(executable.run(executable.put(arguments)))
        given = dict(zip((spec.path for spec in record.results), results, strict=True))
        return Proof((_compare(record, step, 0, arguments, {}, given),))
    run = _runner(record, content, arguments, step)
    if run is None:
        return Proof(problem="its loop can't be run for a part of its steps")
    found: dict[bool | None, StepProof] = {}
    for number in _candidates(step, run):
        after = run(number + 1)
        spikes = _spikes(step, after)
        if spikes not in found:
            found[spikes] = _compare(record, step, number, arguments, run(number), after)
        if spikes is None or len(found) == 2:
            break
    return Proof(tuple(found.values()))


def _candidates(step: Step, run: Callable[[int], Arrays]) -> Iterator[int]:
    """Yield the steps to try: first those in which a recorded spike begins or is missing."""
    found: list[int] = []
    for result in step.results:
        spec = result.spec
        if spec.axis is not None and spec.dtype == "bool" and not result.once:
            rows = np.moveaxis(run(step.steps)[spec.path], spec.axis, 0)
            spikes = rows.reshape(len(rows), -1).any(axis=1)
            found += [int(np.argmax(spikes)), int(np.argmin(spikes))]
    found += map(int, np.linspace(0, step.steps - 1, _MAX_STEPS_TRIED))
    yield from list(dict.fromkeys(found))[:_MAX_STEPS_TRIED]


def _runner(
    record: ProgramRecord, content: bytes, arguments: Sequence[Array], step: Step
) -> Callable[[int], Arrays] | None:
    """Return a function that returns the program's results after a number of steps."""
    loop = read_loop(content)
    counter = step.counter
    if loop is None or counter is None or loop.steps != step.steps:
        return None
    executable = compiled(record, loop.with_bound(), arguments, separate_ops=False)
    placed = executable.put(arguments)

    @functools.cache
    def run(steps: int) -> Arrays:
        bound = executable.put([np.asarray(steps, counter.dtype)])
        results = executable.take(executable.run([*placed, *bound]))
        return dict(zip((spec.path for spec in record.results), results, strict=True))

    return run


def _compare(
    record: ProgramRecord,
    step: Step,
    number: int,
    arguments: Sequence[Array],
    before: Arrays,
    after: Arrays,
) -> StepProof:
    """Compare the explanation with the program for one step."""
    proof = StepProof(number, _spikes(step, after))
    values = _values(step, number, arguments, before)
    evaluator = Evaluator(record, values)
    moved: list[Evaluator] = []
    for result in step.results:
        name = f"{result.spec.role} {result.spec.name}"
        expected = after[result.spec.path]
        if step.loops and not result.once and result.spec.axis is not None:
            expected = expected.take(number, axis=result.spec.axis)
        if result.once:
            continue
        try:
            value = evaluator.value(result.term)
        except CannotEvaluate as error:
            proof.unevaluated[name] = str(error)
            continue
        except Exception as error:  # NumPy raises many exception classes
            proof.unevaluated[name] = f"NumPy fails: {describe_error(error)}"
            continue
        if step.loops and result.spec.axis is None and value.size * step.steps == expected.size > 1:
            # A jitted function that runs a loop returns the values that the loop recorded.
            proof.unevaluated[name] = "its axis over the steps is not recorded"
            continue
        if value.size == expected.size:
            value = value.reshape(expected.shape)
        fault, ulps = _difference(value, expected)
        if ulps <= AGREES:
            proof.ulps = max(proof.ulps, ulps)
            proof.equal.append(name)
            continue
        moved = moved or [
            Evaluator(record, _with_moved_states(step, values, across), moved=along * _PERTURBATION)
            for across, along in ((0, -1), (0, 1), (-1, 0), (1, 0))
        ]
        others = [other.value(result.term).reshape(expected.shape) for other in moved]
        if value.dtype == expected.dtype and _explained(expected, value, others):
            proof.rounded[name] = fault
        else:
            is_rounding = ulps <= ANOTHER or _is_small(value, expected)
            is_rounding |= is_float(expected.dtype) and evaluator.accumulates(result.term)
            (proof.unsure if is_rounding else proof.differing)[name] = fault
    return proof


def _values(
    step: Step, number: int, arguments: Sequence[Array], before: Arrays
) -> dict[int, Array]:
    """Return the values of the names before a step."""
    pairs = zip(step.arguments, arguments, strict=True)
    values = {id(term): array for term, array in pairs}
    if step.counter is not None:
        values[id(step.counter)] = np.asarray(number, step.counter.dtype)
    for path, term in step.carried.items():
        values[id(term)] = before[path]
    return values


def _with_moved_states(step: Step, values: Mapping[int, Array], sign: int) -> dict[int, Array]:
    """Return the values with the floats of the states moved by some ulps."""
    states = {id(term) for term in step.carried.values()}
    states |= {id(term) for term in step.arguments if term.attributes["role"] == "state"}
    return {
        key: (array * (1 + sign * _PERTURBATION)).astype(array.dtype)
        if key in states and is_float(array.dtype)
        else array
        for key, array in values.items()
    }


def _explained(expected: Array, value: Array, others: Sequence[Array]) -> bool:
    """Return whether each difference lies within the range of the moved values."""
    if not is_float(expected.dtype):
        near = functools.reduce(np.logical_or, (other == expected for other in others))
        return bool(((value == expected) | near).all())
    low, high = functools.reduce(np.fmin, others), functools.reduce(np.fmax, others)
    nearest = np.where(expected < low, low, np.where(expected > high, high, expected))
    return bool((_agrees(value, expected) | _agrees(nearest, expected)).all())


def _is_small(value: Array, expected: Array) -> bool:
    """Return whether floats differ by little, relative to the largest element of the array.

    An element near zero, whose summands cancel, has the rounding errors of the summands.
    """
    if value.dtype != expected.dtype or expected.dtype.kind != "f" or not expected.size:
        return False
    largest = np.abs(np.where(np.isfinite(expected), expected, 0)).max()
    difference = np.abs(value.astype(np.float64) - expected.astype(np.float64))
    return bool((difference <= ANOTHER * float(np.spacing(largest))).all())


def _agrees(value: Array, expected: Array) -> Array:
    return np.asarray(ulps_between(value, expected) <= AGREES)


def _difference(value: Array, expected: Array) -> tuple[str, int]:
    """Return the difference as text and in ulps, which are unlimited if it is not of floats."""
    never = ANOTHER + 1
    if value.shape != expected.shape or value.dtype != expected.dtype:
        fault = f"it is {value.dtype} {value.shape}, not {expected.dtype} {expected.shape}"
        return fault, never
    if expected.dtype.kind == "c":
        expected, value = (np.stack([array.real, array.imag]) for array in (expected, value))
    if not is_float(expected.dtype):
        count = int((value != expected).sum())
        return f"{count} of {expected.size} differ", never if count else 0
    ulps = int(ulps_between(value, expected).max(initial=0))
    return f"up to {ulps} ulps", ulps


def _spikes(step: Step, after: Arrays) -> bool | None:
    """Return whether a boolean state is true after a step; None if there is no such state."""
    booleans = [after[result.spec.path] for result in step.results if _is_spike(result)]
    return any(bool(array.any()) for array in booleans) if booleans else None


def _is_spike(result: Result) -> bool:
    return result.spec.role == "state" and result.spec.dtype == "bool" and not result.once
