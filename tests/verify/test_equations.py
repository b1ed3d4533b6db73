"""The check of an explanation: its evaluated expressions agree with the program."""

from __future__ import annotations

import math

import numpy as np
import pytest

from brainpy_probe.analysis.evaluation import evaluator
from brainpy_probe.analysis.explanation import rewrites
from brainpy_probe.verify.checks import Check
from brainpy_probe.verify.equations import check_equations
from tests import eras
from tests.networks import ABSENT
from tests.replaying import captured

pytestmark = pytest.mark.every_stack

NETWORKS = ["lif", "einet", "channels", "stdp", "poisson", "gap-junction", "lstm-batched", "delay"]


def _check(name: str) -> Check:
    *_, check = check_equations(captured(name).program.within(None))
    assert isinstance(check, Check)
    return check


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ABSENT])
def test_the_expressions_give_the_values_of_the_program(name: str) -> None:
    check = _check(name)
    if name == "einet" and not eras.SINCE_2_7:
        assert "kernel" in check.reason
    else:
        assert check.outcome == "passed", check
        assert "not evaluated" not in check.reason


def test_a_step_with_spikes_and_one_without_are_compared() -> None:
    reason = _check("poisson").reason
    assert " with spikes: " in reason
    assert " without spikes: " in reason


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_have_the_precision_of_their_dtype(dtype: str) -> None:
    values = np.linspace(-0.9999, 0.9999, 101).astype(dtype)
    found = evaluator._erf_inv(values)
    round_trip = [math.erf(x) for x in found]
    np.testing.assert_allclose(round_trip, values, rtol=8 * np.finfo(dtype).eps)


def test_a_wrong_simplification_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rewrites._NEUTRAL, "divide", (10, True))  # V / 10 is not V
    check = _check("lif")
    assert check.outcome == "failed"
    assert "state V at step" in check.reason
