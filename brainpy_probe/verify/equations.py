"""Checks a program's explanation: evaluates it with NumPy, and compares it with the program."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from brainpy_probe.analysis.evaluation.proof import Proof, StepProof, prove
from brainpy_probe.analysis.replaying.compiling import arguments_of
from brainpy_probe.errors import BadSetting, CannotReplay, DamagedCapture, describe_error
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.program_source import stablehlo
from brainpy_probe.verify.checks import Check, failed, passed, undecided

__all__ = ["check_equations"]

_NAME = "equations"


def check_equations(program: Program) -> Iterator[Check | str]:
    """Evaluate a program's expressions for one step with spikes and one without, and compare.

    Booleans and integers must be equal, floats within 4 units in the last place. A greater
    difference passes only if the rounding of a function such as exp, or of a state, explains it;
    the check lists these. Results that NumPy can't evaluate are listed too.

    Parameters
    ----------
    program : Program
        The program.

    Yields
    ------
    Check or str
        The check, or a description of the next step.
    """
    subject = f"program {program.record.index}"
    yield f"evaluating the equations of {subject}"
    try:
        arrays = program.data()
        given = arguments_of(program.record, arrays)
        content, _ = stablehlo(program)
        proof = prove(program.record, content, given)
    except (BadSetting, CannotReplay, DamagedCapture) as error:
        yield undecided(subject, _NAME, str(error))
    except Exception as error:  # if the manifest is wrong, XLA raises many classes
        yield failed(subject, _NAME, describe_error(error))
    else:
        yield _check(subject, proof)


def _check(subject: str, proof: Proof) -> Check:
    """Return the check of a proof."""
    if not proof.steps:
        return undecided(subject, _NAME, proof.problem)
    differing = _listed(proof, lambda step: step.differing)
    if differing:
        return failed(subject, _NAME, f"not what the program gives: {differing}")
    unsure = _listed(proof, lambda step: step.unsure)
    if unsure:
        return undecided(subject, _NAME, f"rounding does not explain {unsure}")
    reason = "; ".join(map(_summary, proof.steps))
    unevaluated = {name: why for step in proof.steps for name, why in step.unevaluated.items()}
    if unevaluated:
        listed = ", ".join(f"{name} ({why})" for name, why in unevaluated.items())
        reason += f"; not evaluated: {listed}"
    if not any(step.equal or step.rounded for step in proof.steps):
        return undecided(subject, _NAME, reason)
    return passed(subject, _NAME, reason)


def _listed(proof: Proof, of: Callable[[StepProof], dict[str, str]]) -> str:
    return "; ".join(
        f"{name} at step {step.number}: {difference}"
        for step in proof.steps
        for name, difference in of(step).items()
    )


def _summary(step: StepProof) -> str:
    spikes = {True: " with spikes", False: " without spikes", None: ""}[step.spikes]
    within = f" within {step.ulps} ulps" if step.ulps else ""
    text = f"step {step.number}{spikes}: {len(step.equal)} results equal{within}"
    if step.rounded:
        listed = ", ".join(f"{name} {difference}" for name, difference in step.rounded.items())
        text += f", and the program's own rounding explains {listed}"
    return text
