"""Decides from a replay's results whether the program is the run's; runs and compares nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from brainpy_probe.analysis.stepwise import AGREES, ANOTHER, Stepwise

__all__ = ["Verdict", "decide"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay says of the program.

    Attributes
    ----------
    outcome : str
        ``bit for bit``: it gives what the run gave. ``agrees``: it gives other bits for a known
        reason, and one step at a time it is within 4 ulps of the run. ``undecided``: it gives
        other bits for a known reason, and the two can't be told from rounding that grows; or there
        is nothing to compare with. ``failed``: it is not the program that ran. It gives other
        bits, and nothing is known that explains them, or no rounding does.
    reason : str
        Why, in a sentence.
    """

    outcome: Literal["bit for bit", "agrees", "undecided", "failed"]
    reason: str


def decide(
    count: int,
    equal: Sequence[str],
    unlike: Sequence[str],
    reasons: Sequence[str],
    stepwise: Stepwise | None,
) -> Verdict:
    """Decide whether a program is the run's.

    Parameters
    ----------
    count : int
        How many results it has.
    equal, unlike : sequence of str
        Those that are the run's bit for bit, and those that are not; the others are not known.
    reasons : sequence of str
        Why XLA may compile it to other bits than the run's.
    stepwise : Stepwise or None
        How far it is from the run one step at a time, where that was compared.
    """
    if len(equal) == count:
        said = f"{count} results, bit for bit the simulation's"
        return Verdict(outcome="bit for bit", reason=said)
    if not unlike:
        said = f"{len(equal)} of {count} results are bit for bit the simulation's"
        said = said if equal else "it runs"
        said += "; the capture has neither the other results nor their digests"
        return Verdict(outcome="undecided", reason=said)
    said = f"other bits than the simulation's in {', '.join(unlike)}"
    if not reasons:
        said += ", and nothing is known that explains it"
        return Verdict(outcome="failed", reason=said)
    because = f"because {'; '.join(reasons)}"
    if stepwise is None:
        said += f", {because}; only capture(data='full') has what a step at a time is compared with"
        return Verdict(outcome="undecided", reason=said)
    if stepwise.agrees and len(equal) + len(unlike) == count:
        return Verdict(outcome="agrees", reason=f"at most {_ulps(stepwise)} a step, {because}")
    if stepwise.agrees:
        unknown = count - len(equal) - len(unlike)
        said = f"at most {_ulps(stepwise)} a step, {because}; {unknown} of {count} are not known"
        return Verdict(outcome="undecided", reason=said)
    if stepwise.another:
        said = (
            f"{', '.join(stepwise.another)} differ within one step from the run's own state by "
            f"more than {ANOTHER:,} ulps or in whole numbers, which neither rounding explains nor "
            f"that {'; '.join(reasons)}"
        )
        return Verdict(outcome="failed", reason=said)
    return Verdict(outcome="undecided", reason=f"{said}, {because}; {_open(stepwise)}")


def _ulps(stepwise: Stepwise) -> str:
    count = "1 ulp" if stepwise.ulps == 1 else f"{stepwise.ulps:,} ulps"
    return f"{count} in {stepwise.farthest}" if stepwise.farthest else count


def _open(stepwise: Stepwise) -> str:
    """Say why a comparison step by step does not decide."""
    said = [stepwise.problem] if stepwise.problem else []
    if stepwise.ulps > AGREES:
        said.append(f"{_ulps(stepwise)} a step, of which at most {AGREES} agree")
    if stepwise.flipped:
        said.append(f"{', '.join(stepwise.flipped)} differ")
    if stepwise.hidden:
        said.append(
            f"differences may grow in {', '.join(stepwise.hidden)}, which no monitor recorded"
        )
    return ", ".join(said)
