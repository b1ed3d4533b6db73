"""The verdict on a program after its replay."""

from __future__ import annotations

import pytest

from brainpy_probe.analysis.replaying.stepwise import Stepwise
from brainpy_probe.analysis.replaying.verdict import GPU_PRODUCTS, decide


@pytest.mark.parametrize(
    ("reason", "outcome"), [("it ran on another CPU", "failed"), (GPU_PRODUCTS, "undecided")]
)
def test_only_products_of_a_gpu_explain_more_than_rounding(reason: str, outcome: str) -> None:
    stepwise = Stepwise(ulps=5000, farthest="state/V", another=("state/V",))
    verdict = decide(2, ["state/g"], ["state/V"], [reason], stepwise)
    assert verdict.outcome == outcome
    assert reason in verdict.reason
