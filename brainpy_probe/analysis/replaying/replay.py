"""Runs a captured program on arrays with jaxlib alone, and compares its results with the run's."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from brainpy_probe.analysis.comparison import Difference, difference
from brainpy_probe.analysis.replaying.compiling import (
    arguments_of,
    compiled_in_time,
    constants_of,
    register,
)
from brainpy_probe.analysis.replaying.stepwise import Stepwise, compare_steps
from brainpy_probe.analysis.replaying.verdict import Verdict, decide
from brainpy_probe.errors import BadSetting, CannotReplay, first_line
from brainpy_probe.format.arrays import Array, as_bytes, dtype_of
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.manifest.program_records import ProgramRecord, TensorSpec
from brainpy_probe.ir.constants import with_constants
from brainpy_probe.ir.executables import execution, kernels
from brainpy_probe.ir.executables.devices import choose
from brainpy_probe.ir.placement import computes_parts
from brainpy_probe.ir.recorded_states import Loop, read_loop
from brainpy_probe.showing import Shown

__all__ = [
    "Compared",
    "Replay",
    "Verdict",
    "check_overrides",
    "compare",
    "is_complete",
    "reasons_of",
    "replay",
    "stepwise_of",
]

Arrays = Mapping[str, Array]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A result compared with that of the simulation.

    Attributes
    ----------
    name : str
        Its group and name, as ``state/E.V``.
    equal : bool or None
        Whether it is equal bit for bit; None if there is nothing to compare it with.
    difference : Difference or None
        The difference, if the simulation's result was captured (``data="full"``).
    """

    name: str
    equal: bool | None
    difference: Difference | None = None


@dataclass(frozen=True, repr=False)
class Replay(Shown):
    """The results of a captured program that ran again.

    Attributes
    ----------
    results : dict
        The results by group and name, as ``state/E.V``.
    compared : tuple of Compared
        The comparison of each result with that of the simulation.
    compile_seconds : float
        Time that XLA took to compile the program.
    run_seconds : tuple of float
        Time of each run.
    direct : tuple of str
        The custom calls of BrainPy's kernels that XLA made directly. In the simulation they went
        through Python: the same machine code, at a higher cost in each step.
    reasons : tuple of str
        Why XLA may compile the program to code that rounds differently from the run's.
    stepwise : Stepwise or None
        The comparison one step at a time, if bits differ for such a reason and the results of the
        run were captured (``data="full"``).
    """

    results: dict[str, Array]
    compared: tuple[Compared, ...]
    compile_seconds: float
    run_seconds: tuple[float, ...]
    direct: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    stepwise: Stepwise | None = None

    def __repr__(self) -> str:
        return f"<Replay of {len(self.compared)} results: {self.verdict.outcome}>"

    @property
    def verdict(self) -> Verdict:
        """Whether the program is the one that ran, according to its results."""
        equal = [result.name for result in self.compared if result.equal is True]
        unequal = [result.name for result in self.compared if result.equal is False]
        return decide(len(self.compared), equal, unequal, self.reasons, self.stepwise)

    @property
    def equal(self) -> bool | None:
        """Whether all results are equal bit for bit; None if one can't be compared."""
        outcomes = {result.equal for result in self.compared}
        if False in outcomes:
            return False
        return None if None in outcomes else True


def replay(
    record: ProgramRecord,
    content: bytes,
    stored: Arrays,
    expected: Arrays,
    overrides: Arrays,
    repeat: int = 1,
    reasons: Sequence[str] = (),
) -> Replay:
    """Compile a program and run it.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its VHLO bytecode, or its StableHLO text.
    stored : mapping
        The captured arguments by group and name.
    expected : mapping
        The captured results of the simulation.
    overrides : mapping
        Arguments to use instead; the results are then not compared.
    repeat : int
        The number of runs.
    reasons : sequence of str
        Why XLA may compile it to code that rounds differently, in addition to the reasons in the
        record.

    Raises
    ------
    BadSetting
        If an array in ``overrides`` does not fit.
    CannotReplay
        If the program can't be compiled or run in this environment.
    """
    if repeat < 1:
        raise BadSetting(f"repeat={repeat!r} is not allowed.", "Allowed: 1 or more.")
    register(record)
    arguments = arguments_of(record, {**stored, **overrides})
    content, direct = kernels.call_directly(content, record.fidelity.custom_calls)
    run = functools.partial(_run, record, content, arguments, {} if overrides else expected, repeat)
    reasons = (*reasons, *reasons_of(record, content))
    # XLA hoists a small loop, but not one that calls Python. Without the call it does, and the ops
    # that used the removed call may have been in a separately compiled part. So both variants are
    # tried.
    removed = bool(record.fidelity.removed) and execution.hoists_small_loops()
    variants = [True, False] if removed else [False]
    replayed = run(separate_ops=variants[0], compares=not overrides)
    if removed and replayed.equal is False:
        second = run(separate_ops=variants[1], compares=True)
        replayed = second if second.equal else replayed
    stepwise = None
    if replayed.equal is False and reasons and is_complete(record, expected):
        stepwise = _stepwise(record, content, arguments, expected, variants)
    return replace(replayed, direct=direct, reasons=reasons, stepwise=stepwise)


def _stepwise(
    record: ProgramRecord,
    content: bytes,
    arguments: Sequence[Array],
    expected: Arrays,
    variants: Sequence[bool],
) -> Stepwise:
    """Compare a program with its run step by step; return the variant that differs least."""
    content = with_constants(content, constants_of(record, arguments))
    found = []
    for separate_ops in variants:
        loop = read_loop(content) if record.kind == "loop" else None

        @functools.cache
        def executable(
            positions: tuple[int, ...],
            loop: Loop | None = loop,
            separate_ops: bool = separate_ops,
        ) -> execution.Executable:
            starting = loop.with_recorded(positions) if loop is not None and positions else content
            placement = record.fidelity.placement
            return execution.Executable(starting, placement, separate_ops=separate_ops)

        def run(positions: Sequence[int], rows: Sequence[Sequence[Array]]) -> list[list[Array]]:
            loaded = executable(tuple(positions))
            return [loaded.take(loaded.run(loaded.put(row))) for row in rows]

        found.append(
            stepwise_of(functools.partial(compare_steps, record, loop, arguments, expected, run))
        )
        if found[-1].problem:
            return found[-1]
        if found[-1].agrees:
            break
    return min(found, key=lambda steps: (bool(steps.another), len(steps.flipped), steps.ulps))


def stepwise_of(comparison: Callable[[], Stepwise]) -> Stepwise:
    """Return the result of a step-by-step comparison, or why it can't be made."""
    try:
        return comparison()
    except Exception as error:  # XLA and MLIR raise many exception classes
        return Stepwise(problem=f"it can't run from the recorded states: {first_line(error)}")


def is_complete(record: ProgramRecord, expected: Arrays) -> bool:
    """Return whether all results of the simulation are known as arrays."""
    return bool(expected) and all(s.path in expected for s in record.results if s.digest)


def _run(
    record: ProgramRecord,
    content: bytes,
    arguments: Sequence[Array],
    expected: Arrays,
    repeat: int,
    *,
    separate_ops: bool,
    compares: bool,
) -> Replay:
    """Compile a variant of a program, run it, and compare its results."""
    executable, compile_seconds = compiled_in_time(
        record, content, arguments, separate_ops=separate_ops
    )
    run_seconds = []
    try:
        placed = executable.put(arguments)
        for _ in range(repeat):
            begun = time.perf_counter()
            outputs = executable.run(placed)
            run_seconds.append(time.perf_counter() - begun)
    except Exception as error:
        raise CannotReplay(f"{record.name} failed while it ran: {first_line(error)}.") from error
    results = dict(zip((s.path for s in record.results), executable.take(outputs), strict=True))
    compared = [
        compare(spec, results[spec.path], expected.get(spec.path))
        if compares
        else Compared(name=spec.path, equal=None)
        for spec in record.results
    ]
    return Replay(results, tuple(compared), compile_seconds, tuple(run_seconds))


def reasons_of(record: ProgramRecord, content: bytes) -> list[str]:
    """Return why XLA may compile a program to code that rounds differently from the run's."""
    reasons = [f"the program lacks a part of the run: {part}" for part in record.fidelity.removed]
    reasons += record.fidelity.reasons
    reasons += choose(record.fidelity.placement)[1]
    if record.fidelity.placement.devices == 1 and computes_parts(content):
        reasons.append("XLA compiles the body of its shard_map differently on one device")
    return reasons


def check_overrides(specs: Iterable[TensorSpec], overrides: Arrays) -> dict[str, Array]:
    """Return arrays that replace arguments, in the arguments' dtypes.

    Raises
    ------
    BadSetting
        If there is no such argument, or the shape or dtype of the array differs.
    """
    known = {spec.path: spec for spec in specs}
    checked = {}
    for name, value in overrides.items():
        if name not in known:
            raise BadSetting(
                f"The program has no argument {name!r}.", f"It has {', '.join(known)}."
            )
        spec, array = known[name], np.asarray(value)
        wanted = dtype_of(spec.dtype)
        if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
            array = array.view(wanted)  # .npy stores bfloat16 as bytes without a dtype
        if array.shape != spec.shape or array.dtype != wanted:
            raise BadSetting(
                f"{name} is {spec.dtype} of shape {spec.shape}; "
                f"the array that replaces it is {array.dtype} of shape {array.shape}.",
                "Give an array of that shape and dtype.",
            )
        checked[name] = array
    return checked


def compare(spec: TensorSpec, result: Array, expected: Array | None) -> Compared:
    """Compare a result with the simulation's array if it is given, otherwise with its digest.

    Raises
    ------
    CannotReplay
        If its shape or dtype is not that of the manifest.
    """
    if result.shape != spec.shape or result.dtype != dtype_of(spec.dtype):
        raise CannotReplay(
            f"{spec.path} has dtype {result.dtype} and shape {result.shape}; "
            f"the manifest has {spec.dtype} of shape {spec.shape}."
        )
    if expected is not None:
        differences = difference(result, expected)
        return Compared(name=spec.path, equal=differences is None, difference=differences)
    if not spec.digest:
        return Compared(name=spec.path, equal=None)
    return Compared(name=spec.path, equal=digest_of(as_bytes(result)) == spec.digest)
