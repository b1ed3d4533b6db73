"""The first promise: the simulation never notices. On every network of the zoo."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.recording import session
from tests import eras, watching
from tests.networks import NETWORKS, UNSTABLE_NAMES, Case


@pytest.mark.parametrize("case", NETWORKS + UNSTABLE_NAMES, ids=lambda case: case.name)
def test_runs_leave_bit_for_bit_what_plain_runs_leave(case: Case, out: Path) -> None:
    """Two runs in the block and one after it, against three plain ones."""
    # Once before, so that both sides find the same operations compiled in this process.
    warm = case.build()
    for _ in range(3):
        case.run(warm)
    plain = case.build()
    expected = [watching.run(case, plain) for _ in range(3)]

    probed = case.build()
    dialects = ["stablehlo", "mhlo", "hlo"]
    with probe.capture(out, dialect=dialects, trace_eager=True, strict=True) as cap:
        seen = [watching.run(case, probed) for _ in range(2)]
    seen.append(watching.run(case, probed))

    for number, (one, other) in enumerate(zip(expected, seen, strict=True)):
        watching.assert_same_left(case, other.left, one.left, number)
        assert one.compilations == other.compilations, f"run {number}"
    assert [call.error for call in cap.calls] == [None, None]
    assert [call.failure for call in cap.calls] == [None, None]
    assert cap.programs[0].fidelity.proved, cap.programs[0].fidelity
    assert cap.programs[0].kind == ("step" if case.stepwise else "loop")
    assert cap.programs[0].fidelity.host_callbacks == ()


class ChangedInPlace(eras.DynamicalSystem):
    """A model with NumPy's arrays, which JAX converts or not, and which the user changes."""

    def __init__(self) -> None:
        super().__init__()
        self.v = bm.Variable(bm.zeros(3))
        self.wide, self.narrow = np.full(3, 2.0), np.full(3, 2.0, np.float32)

    def update(self, *_: Any) -> None:
        self.v.value = self.v.value + self.wide * 100 + bm.as_jax(self.narrow)


def _left_by(runs: int) -> list[float]:
    model = ChangedInPlace()
    runner = bp.DSRunner(model, progress_bar=False)
    left = []
    for _ in range(runs):
        runner.run(0.1)
        left.append(float(model.v.value[0]))
        for array in (model.wide, model.narrow):
            array += 1
    return left


@pytest.mark.parametrize("fails", [None, "render", "write", "_made"])
def test_a_run_takes_arrays_as_they_are_then(
    out: Path, monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    """JAX converts an array once for as long as anything holds the trace, changed or not."""
    if fails is not None:
        owner = session.Session if fails == "_made" else session
        monkeypatch.setattr(owner, fails, lambda *_, **__: 1 / 0)
    gc.collect()
    gc.disable()
    try:
        plain = _left_by(3)
        with warnings.catch_warnings(action="ignore"), probe.capture(out) as cap:
            probed = _left_by(3)
    finally:
        gc.enable()
    assert probed == plain
    assert [call.failure is not None for call in cap.calls] == [fails is not None] * 3
