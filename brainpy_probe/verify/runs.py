"""Runs a captured program anew, by XLA and by IREE, and compares; knows no compiler's interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainpy_probe.compat import bindings
from brainpy_probe.errors import BadSetting, CannotReplay, ProbeError, describe_error
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.program_records import TensorSpec
from brainpy_probe.format.reading import read_file
from brainpy_probe.reader.program import Program
from brainpy_probe.verify import iree
from brainpy_probe.verify.agreement import Agreement, agreement
from brainpy_probe.verify.checks import Check, failed, passed, undecided

__all__ = ["check_runs"]


def check_runs(
    folder: Path, program: Program, steps: int | None, jaxlib: str, *, with_iree: bool
) -> Iterator[Check | str]:
    """Run a program's forms by XLA, and by IREE if that is asked for.

    The form that ran must give the simulation's bits. The portable form may sum in another order:
    its booleans and integers must be the same, its floats within the tolerance. The same goes for
    another compiler, and for XLA of another version.

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
        What became of each form, or what is done next.
    """
    subject = f"program {program.record.index}"
    yield f"running {subject} by XLA"
    expected = _Expected(program.results, _stored(program), _THE_RUN, steps)
    differs = bindings.version_remark(jaxlib)
    check, made = _replayed(subject, program, differs)
    if check.outcome == "undecided" and made and differs and expected.arrays:
        check = expected.compared(subject, "replay", made, f" ({differs})")
        if check.outcome == "failed":
            check = undecided(subject, "replay", check.reason)
    yield check
    if not expected.arrays and made:
        # If it passed, its digests are those of what the simulation gave.
        whose = _THE_RUN if check.outcome == "passed" else "XLA gives"
        expected = replace(expected, arrays=made, whose=whose)
    if program.portable is not None:
        subject = f"{subject}, portable"
        yield f"running {subject}, by XLA"
        check, made = _replayed(subject, program.portable, differs)
        if check.outcome != "passed" and made and expected.arrays:
            compared = expected.compared(subject, "replay", made)
            # Rounding that grows from step to step exceeds every tolerance.
            grows = check.outcome == "undecided" and expected.whose == _THE_RUN
            check = check if grows and compared.outcome == "failed" else compared
        yield check
        if made and not expected.arrays:
            expected = replace(expected, arrays=made, whose="XLA gives")
    if with_iree:
        yield f"running {subject} by IREE"
        yield _run_by_iree(folder, subject, program.portable or program, expected)


# How a check names the results of the run itself.
_THE_RUN = "the simulation gave"


@dataclass(frozen=True)
class _Expected:
    """What a program's results should be, in order; no arrays if that is not known."""

    specs: Sequence[TensorSpec]
    arrays: Sequence[Array]
    whose: str
    steps: int | None

    def compared(self, subject: str, name: str, made: Sequence[Array], remark: str = "") -> Check:
        """Compare results with what they should be."""
        if len(made) != len(self.specs):
            return failed(subject, name, f"it has {len(made)} results, not {len(self.specs)}")
        pairs = [
            (spec, agreement(one, other, self.steps if spec.role in _RECORDED else None))
            for spec, one, other in zip(self.specs, self.arrays, made, strict=True)
        ]
        apart = [f"{spec.role} {spec.name}: {one}" for spec, one in pairs if not one.close]
        if apart:
            return failed(subject, name, f"not what {self.whose}: {'; '.join(apart)}{remark}")
        return passed(subject, name, f"what {self.whose}: {_summed_up(pairs)}{remark}")


# The roles of the results that have an entry for each time step.
_RECORDED = ("monitor", "output")


def _summed_up(pairs: Sequence[tuple[TensorSpec, Agreement]]) -> str:
    exact = sum(one.exact for _, one in pairs)
    floats = [(spec, one) for spec, one in pairs if not one.exact]
    words = [f"{exact} results of booleans and integers equal"] if exact else []
    if floats:
        spec, worst = max(floats, key=lambda pair: pair[1].relative)
        words.append(f"{len(floats)} of floats, the farthest {spec.role} {spec.name}: {worst}")
    return ", ".join(words)


def _stored(program: Program) -> list[Array]:
    """Return what the simulation gave, in order; nothing if not all of it is stored."""
    try:
        stored = list(program.data("results").values())
    except ProbeError:  # not captured; or damaged, which the checks of files tell
        return []
    return stored if len(stored) == len(program.results) else []


def _replayed(subject: str, form: Program, differs: str) -> tuple[Check, list[Array]]:
    """Run a program by XLA; return whether each result is the simulation's, and the results."""
    name = "replay"
    if not form.dialects and "vhlo" not in form.paths:
        reason = f"there is no text of it, and no bytecode. {' '.join(form.fidelity.notes)}"
        return undecided(subject, name, reason.strip()), []
    try:
        run = form.replay()
    except BadSetting as error:  # its arrays were not captured
        return undecided(subject, name, str(error)), []
    except CannotReplay as error:
        lacking = form.fidelity.custom_calls or form.fidelity.host_callbacks or differs
        return (undecided if lacking else failed)(subject, name, str(error)), []
    except Exception as error:  # where manifest and program disagree, XLA raises what it likes
        return failed(subject, name, describe_error(error)), []
    verdict = run.verdict
    made = list(run.results.values())
    if verdict.outcome == "agrees":
        return passed(subject, name, f"agrees, {verdict.reason}"), made
    decided = {"bit for bit": passed, "undecided": undecided, "failed": failed}[verdict.outcome]
    return decided(subject, name, verdict.reason), made


def _runnable(form: Program) -> bool:
    return bool({"stablehlo", "vhlo"} & form.paths.keys())


def _run_by_iree(folder: Path, subject: str, form: Program, expected: _Expected) -> Check:
    name = "IREE"
    why_not = _why_not(form, expected)
    if why_not:
        return undecided(subject, name, why_not)
    files = {file.kind: file for file in form.record.files}
    # Today's IREE reads the bytecode of every version; the text of 0.4.13 only in part.
    source = files.get("vhlo") or files["stablehlo"]
    try:
        run = iree.runner(iree.compile_for_cpu(read_file(folder, source)))
        made = run(form.data("data").values())
    except Exception as error:  # IREE raises what it likes, too
        return failed(subject, name, describe_error(error))
    return expected.compared(subject, name, made)


def _why_not(form: Program, expected: _Expected) -> str:
    """Return why IREE can't be given a program, or nothing."""
    calls = (*form.fidelity.custom_calls, *form.fidelity.host_callbacks)
    if calls:
        names = ", ".join(calls)
        return f"the code of {names} is not in it; capture(portable=True) writes out what it can"
    if not _runnable(form):
        return "there is neither VHLO bytecode nor a StableHLO text of it"
    try:
        given = form.data("data")
    except ProbeError as error:
        return str(error)
    if len(given) != len(form.arguments):
        return "not all of its arguments are stored"
    if not expected.arrays:
        return "there is nothing to compare with; capture(data='full') stores the results"
    return ""
