"""The probe changes no value of a simulation, on every network."""

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
from brainpy_probe.recording.sessions import program_log, session
from tests import eras, watching
from tests.networks import ABSENT, NETWORKS, SEED, UNSTABLE_NAMES, by_name
from tests.replaying import captured

NAMES = [case.name for case in NETWORKS + UNSTABLE_NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_captured_runs_equal_plain_runs_bit_for_bit(name: str) -> None:
    """Compare two runs in the block, and for some networks one after it, with plain runs."""
    network, case = captured(name), by_name(name)
    for number, (plain, probed) in enumerate(zip(network.plain, network.probed, strict=True)):
        watching.assert_same_values(case, probed.values, plain.values, number)
        assert plain.compilations == probed.compilations, f"run {number}"
    first, second, *_ = network.plain
    assert first.values != second.values or name == "bpff-trainer-predict"
    cap = network.capture
    assert [call.error for call in cap.calls] == [None, None]
    assert [call.failure for call in cap.calls] == [None, None]
    for program in cap.programs:
        assert program.fidelity.proved, program.fidelity
        assert program.kind == ("step" if case.stepwise else "loop")
        assert program.fidelity.host_callbacks == ()


def test_no_frame_of_the_probe_is_in_a_module() -> None:
    package = str(Path(probe.__file__).parent).encode()
    modules = [module for module in captured("lif").capture.modules if module.call is not None]
    assert modules
    for module in modules:
        for path in module.paths.values():
            assert package not in path.read_bytes(), path


def test_every_network_runs_or_is_absent() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert not set(NAMES) & set(ABSENT)
    assert len(NAMES) + len(ABSENT) == 36


def test_an_absent_network_cannot_be_run() -> None:
    for name in ABSENT:
        case = by_name(name)
        with pytest.raises(AttributeError):
            case.run(case.build())
    bm.random.seed(SEED)


class ChangedInPlace(eras.DynamicalSystem):
    """A model with NumPy arrays that the user changes; JAX converts one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.v = bm.Variable(bm.zeros(3))
        self.wide, self.narrow = np.full(3, 2.0), np.full(3, 2.0, np.float32)

    def update(self, *_: Any) -> None:
        self.v.value = self.v.value + self.wide * 100 + bm.as_jax(self.narrow)


def _values_after(runs: int) -> list[float]:
    model = ChangedInPlace()
    runner = bp.DSRunner(model, progress_bar=False)
    values = []
    for _ in range(runs):
        runner.run(0.1)
        values.append(float(model.v.value[0]))
        for array in (model.wide, model.narrow):
            array += 1
    return values


@pytest.mark.parametrize("fails", [None, "render", "write", "_write_call"])
def test_a_run_reads_arrays_that_changed_in_place(
    out: Path, monkeypatch: pytest.MonkeyPatch, fails: str | None
) -> None:
    """JAX reuses a converted array as long as an object keeps the trace, even after a change."""
    if fails is not None:
        owner = session.Session if fails == "_write_call" else program_log
        monkeypatch.setattr(owner, fails, lambda *_, **__: 1 / 0)
    gc.collect()
    gc.disable()
    try:
        plain = _values_after(3)
        with warnings.catch_warnings(action="ignore"), probe.capture(out) as cap:
            probed = _values_after(3)
    finally:
        gc.enable()
    assert probed == plain
    assert [call.failure is not None for call in cap.calls] == [fails is not None] * 3
