"""Decides from the results of a replay whether the program is the one that ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from brainpy_probe.analysis.replaying.stepwise import AGREES, ANOTHER, Stepwise

__all__ = ["GPU_PRODUCTS", "Verdict", "decide"]

# A reason for differences of up to 1e-3, which a changed constant may cause too.
GPU_PRODUCTS = "a GPU multiplies matrices of float32 with 10 bits of the mantissa (TF32) by default"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a program after its replay.

    Attributes
    ----------
    outcome : str
        ``bit for bit``: all results are equal. ``agrees``: the bits differ for a known reason, and
        one step at a time the program is within 4 ulps of the run. ``undecided``: the bits differ
        for a known reason, and the differences may be rounding that grows; or there is nothing to
        compare with. ``failed``: it is not the program that ran, because nothing known explains the
        different bits, or rounding does not.
    reason : str
        The reason as a sentence.
    """

    outcome: Literal["bit for bit", "agrees", "undecided", "failed"]
    reason: str


def decide(
    count: int,
    equal: Sequence[str],
    unequal: Sequence[str],
    reasons: Sequence[str],
    stepwise: Stepwise | None,
) -> Verdict:
    """Decide whether a program is the one that ran.

    Parameters
    ----------
    count : int
        The number of results.
    equal, unequal : sequence of str
        The results whose bits are equal, and those whose bits differ; the others are unknown.
    reasons : sequence of str
        Why XLA may compile the program to code that rounds differently from the run's.
    stepwise : Stepwise or None
        The comparison one step at a time, if it was made.
    """
    if len(equal) == count:
        text = f"{count} results, bit for bit the simulation's"
        return Verdict(outcome="bit for bit", reason=text)
    if not unequal:
        text = f"{len(equal)} of {count} results are bit for bit the simulation's"
        text = text if equal else "it runs"
        text += "; the capture has no results or digests to compare the others with"
        return Verdict(outcome="undecided", reason=text)
    text = f"other bits than the simulation's in {', '.join(unequal)}"
    if not reasons:
        text += ", and nothing known explains it"
        return Verdict(outcome="failed", reason=text)
    because = f"because {'; '.join(reasons)}"
    if stepwise is None:
        text += f", {because}; capture(data='full') allows a comparison step by step"
        return Verdict(outcome="undecided", reason=text)
    if stepwise.agrees and len(equal) + len(unequal) == count:
        return Verdict(outcome="agrees", reason=f"at most {_ulps(stepwise)} a step, {because}")
    if stepwise.agrees:
        unknown = count - len(equal) - len(unequal)
        text = (
            f"at most {_ulps(stepwise)} a step, {because}; {unknown} of {count} were not compared"
        )
        return Verdict(outcome="undecided", reason=text)
    if stepwise.another and GPU_PRODUCTS in reasons:
        text += f", {because}: {', '.join(stepwise.another)} differ after one step"
        return Verdict(outcome="undecided", reason=text)
    if stepwise.another:
        text = (
            f"{', '.join(stepwise.another)} differ after one step from the run's own state by more "
            f"than {ANOTHER:,} ulps or in integers. Neither rounding explains this nor that "
            f"{'; '.join(reasons)}"
        )
        return Verdict(outcome="failed", reason=text)
    return Verdict(outcome="undecided", reason=f"{text}, {because}; {_why_undecided(stepwise)}")


def _ulps(stepwise: Stepwise) -> str:
    count = "1 ulp" if stepwise.ulps == 1 else f"{stepwise.ulps:,} ulps"
    return f"{count} in {stepwise.farthest}" if stepwise.farthest else count


def _why_undecided(stepwise: Stepwise) -> str:
    """Return why a step-by-step comparison does not decide."""
    reasons = [stepwise.problem] if stepwise.problem else []
    if stepwise.ulps > AGREES:
        reasons.append(f"{_ulps(stepwise)} a step, more than {AGREES}")
    if stepwise.flipped:
        reasons.append(f"{', '.join(stepwise.flipped)} differ")
    if stepwise.hidden:
        reasons.append(
            f"differences may grow in {', '.join(stepwise.hidden)}, which no monitor recorded"
        )
    return ", ".join(reasons)
