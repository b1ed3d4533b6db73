"""Runs a captured program on arrays with jaxlib alone, and compares; knows no folder."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from brainpy_probe.analysis.comparison import Difference, difference
from brainpy_probe.analysis.stepwise import Stepwise, compare_steps
from brainpy_probe.analysis.verdict import Verdict, decide
from brainpy_probe.errors import BadSetting, CannotReplay, first_line
from brainpy_probe.format.arrays import Array, as_bytes, dtype_of
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.program_records import ProgramRecord, TensorSpec
from brainpy_probe.ir import execution, kernels
from brainpy_probe.ir.constants import with_constants

__all__ = ["Compared", "Replay", "Verdict", "check_overrides", "compiled", "replay"]

Arrays = Mapping[str, Array]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One result beside that of the simulation.

    Attributes
    ----------
    name : str
        Its group and name, as ``state/E.V``.
    equal : bool or None
        Whether it is the same bit for bit; None where there is nothing to compare it with.
    difference : Difference or None
        How far it is off, if it differs and the simulation's own was captured (``data="full"``).
    """

    name: str
    equal: bool | None
    difference: Difference | None = None


@dataclass(frozen=True)
class Replay:
    """What a captured program gave when it ran again.

    Attributes
    ----------
    results : dict
        The results by group and name, as ``state/E.V``.
    compared : tuple of Compared
        The same results, each beside that of the simulation.
    compile_seconds : float
        How long XLA took to compile the program.
    run_seconds : tuple of float
        How long each run took.
    direct : tuple of str
        The custom calls that XLA made itself, where the simulation's went through Python: BrainPy's
        kernels, the same machine code, without what Python costs at each step.
    reasons : tuple of str
        Why XLA may compile the program to other bits than the run's.
    stepwise : Stepwise or None
        How far it is from the run one step at a time, where it has other bits for such a reason,
        and the run's results were captured (``data="full"``).
    """

    results: dict[str, Array]
    compared: tuple[Compared, ...]
    compile_seconds: float
    run_seconds: tuple[float, ...]
    direct: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    stepwise: Stepwise | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the program is the run's, as far as its results tell."""
        equal = [one.name for one in self.compared if one.equal is True]
        unlike = [one.name for one in self.compared if one.equal is False]
        return decide(len(self.compared), equal, unlike, self.reasons, self.stepwise)

    @property
    def equal(self) -> bool | None:
        """Whether all results are the simulation's, bit for bit; None if one can't be compared."""
        verdicts = {one.equal for one in self.compared}
        if False in verdicts:
            return False
        return None if None in verdicts else True


def replay(
    record: ProgramRecord,
    content: bytes,
    given: Arrays,
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
    given : mapping
        The arguments by group and name.
    expected : mapping
        What the simulation gave, as far as it was captured.
    overrides : mapping
        Arguments to take instead; nothing is compared then.
    repeat : int
        How many times it runs.
    reasons : sequence of str
        Why XLA may compile it to other bits than the run's, besides what the record tells.

    Raises
    ------
    BadSetting
        If an argument to take instead does not fit.
    CannotReplay
        If the program can't be compiled or run here.
    """
    if repeat < 1:
        raise BadSetting(f"repeat={repeat!r} is not allowed.", "Allowed: 1 and more.")
    _register(record)
    arguments = [{**given, **overrides}[spec.path] for spec in record.arguments]
    content, direct = kernels.call_directly(content, record.fidelity.custom_calls)
    run = functools.partial(_run, record, content, arguments, {} if overrides else expected, repeat)
    reasons = (*reasons, *_reasons(record, content))
    # XLA leaves a loop that calls Python as it is, and hoists a small one that does not. What was
    # taken out of the loop may have been in a part that XLA compiled by itself.
    removed = bool(record.fidelity.removed) and execution.hoists_small_loops()
    ways = [True, False] if removed else [False]
    done = run(separate_ops=ways[0], compares=not overrides)
    if removed and done.equal is False:
        otherwise = run(separate_ops=ways[1], compares=True)
        done = otherwise if otherwise.equal else done
    stepwise = None
    stored = bool(expected) and all(s.path in expected for s in record.results if s.digest)
    if done.equal is False and reasons and stored:
        stepwise = _stepwise(record, content, arguments, expected, ways)
    return replace(done, direct=direct, reasons=reasons, stepwise=stepwise)


def _stepwise(
    record: ProgramRecord,
    content: bytes,
    arguments: Sequence[Array],
    expected: Arrays,
    ways: Sequence[bool],
) -> Stepwise:
    """Compare a program with its run step by step, compiled in either way; take what is nearest."""
    content = with_constants(content, _constants(record, arguments))
    found = []
    for separate_ops in ways:

        @functools.cache
        def executable(content: bytes, separate_ops: bool = separate_ops) -> execution.Executable:
            return execution.Executable(content, separate_ops=separate_ops)

        def run(content: bytes, rows: Sequence[Sequence[Array]]) -> list[list[Array]]:
            loaded = executable(content)
            return [loaded.take(loaded.run(loaded.put(row))) for row in rows]

        try:
            found.append(compare_steps(record, content, arguments, expected, run))
        except Exception as error:  # whatever XLA and MLIR raise
            problem = f"it can't be run from the states of its run: {first_line(error)}"
            return Stepwise(problem=problem)
        if found[-1].agrees:
            break
    return min(found, key=lambda one: (bool(one.another), len(one.flipped), one.ulps))


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
    """Compile a program in one way, run it, and compare what it gives."""
    executable, compile_seconds = _compiled(record, content, arguments, separate_ops=separate_ops)
    run_seconds = []
    try:
        placed = executable.put(arguments)
        for _ in range(repeat):
            begun = time.perf_counter()
            made = executable.run(placed)
            run_seconds.append(time.perf_counter() - begun)
    except Exception as error:
        raise CannotReplay(f"{record.name} failed as it ran: {first_line(error)}.") from error
    results = dict(zip((s.path for s in record.results), executable.take(made), strict=True))
    compared = [
        _compare(spec, results[spec.path], expected.get(spec.path))
        if compares
        else Compared(name=spec.path, equal=None)
        for spec in record.results
    ]
    return Replay(results, tuple(compared), compile_seconds, tuple(run_seconds))


def _reasons(record: ProgramRecord, content: bytes) -> list[str]:
    """Return why XLA may compile a program to other bits than the run's."""
    reasons = [f"the run had what the program has not: {one}" for one in record.fidelity.removed]
    reasons += record.fidelity.reasons
    # sdy (0.10.2, 0.12.0), XLA's own calls (up to 0.4.30).
    if re.search(rb"sdy\.manual_computation|SPMDFullToShardShape", content):
        reasons.append("it has a shard_map, whose body XLA compiles otherwise on one device")
    partitions = re.search(rb"mhlo\.num_partitions = (\d+)", content)
    if partitions and partitions[1] != b"1":
        reasons.append(f"it ran on {partitions[1].decode()} devices, and runs here on one")
    return reasons


def check_overrides(specs: Iterable[TensorSpec], overrides: Arrays) -> dict[str, Array]:
    """Return arrays that are to be taken for arguments, in the arguments' own types.

    Raises
    ------
    BadSetting
        If there is no such argument, or the array is not of its shape and type.
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
            array = array.view(wanted)  # .npy knows no bfloat16, and keeps its bytes
        if array.shape != spec.shape or array.dtype != wanted:
            raise BadSetting(
                f"{name} is {spec.dtype} of shape {spec.shape}; "
                f"what is to be taken for it is {array.dtype} of shape {array.shape}.",
                "Give an array of that shape and type.",
            )
        checked[name] = array
    return checked


def compiled(
    record: ProgramRecord, content: bytes, arguments: Sequence[Array], *, separate_ops: bool
) -> execution.Executable:
    """Compile a program that calls BrainPy's kernels as the simulation did.

    With ``separate_ops`` the ops of a small loop are not compiled as one piece.

    Raises
    ------
    CannotReplay
        If it can't be compiled here.
    """
    _register(record)
    return _compiled(record, content, arguments, separate_ops=separate_ops)[0]


def _register(record: ProgramRecord) -> None:
    """Register the kernels that a program calls."""
    fidelity = record.fidelity
    if fidelity.host_callbacks:
        raise CannotReplay(
            f"{record.name} calls back into the Python process of the capture: "
            f"{', '.join(fidelity.host_callbacks)}.",
            "Capture it without the callback.",
        )
    problem = kernels.register(fidelity.custom_calls, record.kernels)
    missing = kernels.unregistered(fidelity.custom_calls)
    if missing and (problem or not execution.refuses_unknown_calls()):
        raise _needs(record, missing, problem)


def _compiled(
    record: ProgramRecord, content: bytes, arguments: Sequence[Array], *, separate_ops: bool = False
) -> tuple[execution.Executable, float]:
    """Compile a program whose kernels are registered; return it, and how long XLA took."""
    begun = time.perf_counter()
    try:
        content = with_constants(content, _constants(record, arguments))
        executable = execution.Executable(content, separate_ops=separate_ops)
    except Exception as error:  # whatever XLA raises; it has no class that all versions share
        missing = kernels.unregistered(record.fidelity.custom_calls)
        if any(target in str(error) for target in missing):
            raise _needs(record, missing, "") from error
        raise CannotReplay(
            f"{record.name} can't be compiled by jaxlib {execution.version()}: {first_line(error)}."
        ) from error
    return executable, time.perf_counter() - begun


def _constants(record: ProgramRecord, arguments: Sequence[Array]) -> dict[int, Array]:
    """Return the arguments that were constants in the run's compiled code, by their positions."""
    return {
        position: array
        for position, (spec, array) in enumerate(zip(record.arguments, arguments, strict=True))
        if record.compiled_in and spec.role == "constant"
    }


def _needs(record: ProgramRecord, missing: Sequence[str], problem: str) -> CannotReplay:
    said = f"{record.name} calls kernels that only BrainPy registers: {', '.join(missing)}."
    if problem:
        said += f" {problem}"
    if any(target.startswith("brainevent_") for target in missing):
        remedy = (
            "Replay where the BrainPy is installed that it was captured with, or capture with "
            "portable=True and replay program.portable (brainpy-probe replay --portable)."
        )
    else:
        remedy = (
            "They are of one process alone, and BrainPy up to 2.6 has no plain form of its own: "
            "capture with a later one and portable=True."
        )
    return CannotReplay(said, remedy)


def _compare(spec: TensorSpec, made: Array, expected: Array | None) -> Compared:
    if made.shape != spec.shape or made.dtype != dtype_of(spec.dtype):
        raise CannotReplay(
            f"{spec.path} came as {made.dtype} of shape {made.shape}; "
            f"the manifest has {spec.dtype} of shape {spec.shape}."
        )
    if expected is not None:
        apart = difference(made, expected)
        return Compared(name=spec.path, equal=apart is None, difference=apart)
    if not spec.digest:
        return Compared(name=spec.path, equal=None)
    return Compared(name=spec.path, equal=digest_of(as_bytes(made)) == spec.digest)
