"""Runs a captured program with XLA and with IREE, and checks the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainpy_probe.analysis.replaying.replay import Replay
from brainpy_probe.compat import bindings
from brainpy_probe.errors import BadSetting, CannotReplay, ProbeError, describe_error
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import TensorSpec
from brainpy_probe.format.reading import read_file
from brainpy_probe.ir.executables.devices import choose
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.step import Step
from brainpy_probe.verify import iree
from brainpy_probe.verify.agreement import Agreement, agreement
from brainpy_probe.verify.checks import Check, failed, passed, undecided

__all__ = ["check_runs", "check_step_runs"]


def check_runs(
    folder: Path, program: Program, steps: int | None, jaxlib: str, *, with_iree: bool
) -> Iterator[Check | str]:
    """Run a program and its portable program with XLA, and if requested with IREE.

    The program that ran must give the simulation's results bit for bit. The portable program may
    add in a different order: its booleans and integers must be equal, its floats within the
    tolerance. The same applies to another compiler, another version of XLA, and another platform.

    Parameters
    ----------
    folder : Path
        The capture folder.
    program : Program
        The program.
    steps : int or None
        The number of its time steps; None for a program of one step.
    jaxlib : str
        The version of the jaxlib that ran it.
    with_iree : bool
        Whether to compile it with IREE too.

    Yields
    ------
    Check or str
        A check, or a description of the next step.
    """
    subject = f"program {program.record.index}"
    yield f"running {subject} by XLA"
    expected = _Expected(program.results, _stored(program), _SIMULATION, steps)
    differs = bindings.version_remark(jaxlib) or _elsewhere(program)
    check, results = _replay(subject, program, differs, program.replay)
    if check.outcome == "undecided" and results and differs and expected.arrays:
        check = expected.compare(subject, "replay", results, f" ({differs})")
        if check.outcome == "failed":
            check = undecided(subject, "replay", check.reason)
    yield check
    if not expected.arrays and results:
        # If the check passed, the digests of the results are those of the simulation's results.
        source = _SIMULATION if check.outcome == "passed" else "XLA gives"
        expected = replace(expected, arrays=results, source=source)
    if program.portable is not None:
        subject = f"{subject}, portable"
        yield f"running {subject}, by XLA"
        check, results = _replay(subject, program.portable, differs, program.portable.replay)
        if check.outcome != "passed" and results and expected.arrays:
            compared = expected.compare(subject, "replay", results)
            # Rounding errors that grow from step to step exceed every tolerance.
            grows = check.outcome == "undecided" and expected.source == _SIMULATION
            check = check if grows and compared.outcome == "failed" else compared
        yield check
        if results and not expected.arrays:
            expected = replace(expected, arrays=results, source="XLA gives")
    if with_iree:
        yield f"running {subject} by IREE"
        yield _check_iree(folder, subject, program.portable or program, expected)


def _elsewhere(program: Program) -> str:
    """Return on which platform a program ran, if it runs on a different one here; otherwise ""."""
    placement = program.fidelity.placement
    if placement.on_cpu or choose(placement)[0].platform != "cpu":
        return ""
    return f"it ran on {placement.platform}"


def check_step_runs(
    folder: Path, step: Step, steps: int | None, jaxlib: str, *, with_iree: bool
) -> Iterator[Check | str]:
    """Run one step of a program, and its portable form, in a loop, as the program itself does.

    The results must be those of the loop. XLA may compile a separate step to code that rounds
    differently from the loop's.

    Parameters
    ----------
    folder, steps, jaxlib, with_iree
        As for :func:`check_runs`.
    step : Step
        The step.

    Yields
    ------
    Check or str
        A check, or a description of the next step.
    """
    subject = f"program {step.record.index}, step"
    yield f"driving {subject}, by XLA"
    expected = _Expected(step.loop.results, _stored(step.loop), _SIMULATION, steps)
    differs = bindings.version_remark(jaxlib)
    check, results = _replay(subject, step, differs, step.drive)
    if not expected.arrays and results:
        simulated = results
        if check.outcome != "passed":  # the loop's replay may have the simulation's digests
            loop_check, simulated = _replay(subject, step.loop, differs, step.loop.replay)
            simulated = simulated if loop_check.outcome == "passed" else []
        expected = replace(expected, arrays=simulated)
    yield _driven(check, expected, results)
    portable = step.portable
    if portable is not None:
        subject = f"{subject}, portable"
        yield f"driving {subject}, by XLA"
        check, results = _replay(subject, portable, differs, portable.drive)
        yield _driven(check, expected, results)
    if with_iree:
        yield f"driving {subject}, by IREE"
        yield _check_iree(folder, subject, portable or step, expected)


def _driven(check: Check, expected: _Expected, results: Sequence[Array]) -> Check:
    """Return the check of a step that ran in a loop: passed if within the tolerance."""
    if check.outcome != "undecided" or not (results and expected.arrays):
        return check
    compared = expected.compare(check.subject, check.name, results)
    if compared.outcome != "passed":
        return check
    return passed(check.subject, check.name, f"{compared.reason}; {check.reason}")


# The name of the run's own results in a check.
_SIMULATION = "the simulation gave"


@dataclass(frozen=True)
class _Expected:
    """The expected results of a program in order; no arrays if they are unknown."""

    specs: Sequence[TensorSpec]
    arrays: Sequence[Array]
    source: str
    steps: int | None

    def compare(self, subject: str, name: str, results: Sequence[Array], remark: str = "") -> Check:
        """Compare results with the expected ones."""
        if len(results) != len(self.specs):
            return failed(subject, name, f"it has {len(results)} results, not {len(self.specs)}")
        pairs = [
            (spec, agreement(expected, result, self.steps if spec.role in _RECORDED else None))
            for spec, expected, result in zip(self.specs, self.arrays, results, strict=True)
        ]
        faults = [f"{spec.role} {spec.name}: {found}" for spec, found in pairs if not found.close]
        if faults:
            return failed(subject, name, f"not what {self.source}: {'; '.join(faults)}{remark}")
        return passed(subject, name, f"what {self.source}: {_summary(pairs)}{remark}")


# The roles of results with an entry for each time step.
_RECORDED = ("monitor", "output")


def _summary(pairs: Sequence[tuple[TensorSpec, Agreement]]) -> str:
    exact = sum(found.exact for _, found in pairs)
    floats = [(spec, found) for spec, found in pairs if not found.exact]
    words = [f"{exact} results of booleans and integers equal"] if exact else []
    if floats:
        spec, worst = max(floats, key=lambda pair: pair[1].relative)
        words.append(f"{len(floats)} of floats, the farthest {spec.role} {spec.name}: {worst}")
    return ", ".join(words)


def _stored(program: Program) -> list[Array]:
    """Return the captured results of the simulation in order; empty if some are not stored."""
    try:
        stored = list(program.data("results").values())
    except ProbeError:  # not captured, or damaged, which the file checks report
        return []
    return stored if len(stored) == len(program.results) else []


def _replay(
    subject: str, program: Program, differs: str, run: Callable[[], Replay]
) -> tuple[Check, list[Array]]:
    """Run a program with XLA; return the check of its results, and the results."""
    name = "replay"
    if not program.dialects and "vhlo" not in program.paths:
        reason = f"it has neither a text nor bytecode. {' '.join(program.fidelity.notes)}"
        return undecided(subject, name, reason.strip()), []
    try:
        replayed = run()
    except BadSetting as error:  # its arrays were not captured
        return undecided(subject, name, str(error)), []
    except CannotReplay as error:
        excused = differs or _lacks(program)
        return (undecided if excused else failed)(subject, name, str(error)), []
    except Exception as error:  # if the manifest is wrong, XLA raises many classes
        return failed(subject, name, describe_error(error)), []
    verdict = replayed.verdict
    results = list(replayed.results.values())
    if verdict.outcome == "agrees":
        return passed(subject, name, f"agrees, {verdict.reason}"), results
    check = {"bit for bit": passed, "undecided": undecided, "failed": failed}[verdict.outcome]
    return check(subject, name, verdict.reason), results


def _lacks(program: Program) -> bool:
    """Return whether a program needs kernels, devices or values that may be missing here."""
    fidelity = program.fidelity
    placement = fidelity.placement
    return (
        bool(fidelity.custom_calls or fidelity.host_callbacks)
        or placement.devices > 1
        or not placement.on_cpu
        or any(spec.role != "token" and not spec.file for spec in program.arguments)
    )


def _check_iree(folder: Path, subject: str, program: Program, expected: _Expected) -> Check:
    """Run a program with IREE, and check the results."""
    name = "IREE"
    obstacle = _obstacle(program, expected)
    if obstacle:
        return undecided(subject, name, obstacle)
    files = {file.kind: file for file in program.record.files}
    # IREE reads the bytecode of every version, but not every text of 0.4.13.
    source = files.get("vhlo") or files["stablehlo"]
    try:
        main = iree.Executable(iree.compile_for_cpu(read_file(folder, source)))
        if isinstance(program, Step):
            results = program.drive_with(main)
        else:
            results = main.take(main.run(main.put(program.data("data").values())))
    except Exception as error:  # IREE raises many exception classes
        return failed(subject, name, describe_error(error))
    return expected.compare(subject, name, results)


def _obstacle(program: Program, expected: _Expected) -> str:
    """Return why IREE can't compile a program or its results can't be compared; else ""."""
    calls = (*program.fidelity.custom_calls, *program.fidelity.host_callbacks)
    if calls:
        names = ", ".join(calls)
        return f"it lacks the code of {names}; capture(portable=True) avoids kernels where possible"
    devices = program.fidelity.placement.devices
    if devices > 1:
        return f"it is lowered for {devices} devices; capture(portable=True) lowers it for one"
    if not {"stablehlo", "vhlo"} & program.paths.keys():
        return "it has neither VHLO bytecode nor a StableHLO text"
    try:
        arguments = program.data("data")
    except ProbeError as error:
        return str(error)
    if len(arguments) != len(program.arguments):
        return "not all of its arguments are stored"
    if not expected.arrays:
        return "there are no results to compare with; capture(data='full') stores them"
    return ""
