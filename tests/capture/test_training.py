"""A training step is a call of kind fit, with named parameters and optimizer state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.verify.api import verify
from tests import eras
from tests.watching import as_numpy

pytestmark = [
    pytest.mark.every_stack,
    pytest.mark.skipif(not eras.SINCE_2_4, reason="the trainers of 2.3 have other arguments"),
]

_NAMES_TRANSPOSES = tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 12)
_INPUTS = np.random.default_rng(1).random((2, 6, 3), dtype="float32")
_TARGETS = np.random.default_rng(2).random((2, 6, 2), dtype="float32")
Trained = tuple[Any, Callable[[], Any]]


class Recurrent(bp.DynamicalSystem):
    """A recurrent layer and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = bp.dyn.RNNCell(3, 4, train_state=True)
        self.out = bp.dnn.Dense(4, 2)

    def update(self, x: Any) -> Any:
        return self.out(self.rnn(x))


class Echo(bp.DynamicalSystem):
    """A reservoir and a trained readout."""

    def __init__(self) -> None:
        super().__init__()
        self.reservoir = bp.dyn.Reservoir(3, 5)
        self.out = bp.dnn.Dense(5, 2, mode=bm.training_mode)

    def update(self, x: Any) -> Any:
        return self.out(self.reservoir(x))


def _bptt() -> Trained:
    with bm.training_environment():
        model = Recurrent()
    trainer = bp.BPTT(
        model,
        loss_fun=lambda predicted, target: bm.mean((predicted - target) ** 2),
        optimizer=bp.optim.Adam(lr=1e-3),
        progress_bar=False,
    )
    batches = [(bm.asarray(_INPUTS), bm.asarray(_TARGETS))] * 3
    return model, lambda: trainer.fit(batches, num_epoch=2)


def _bpff() -> Trained:
    with bm.training_environment():
        model = bp.dnn.Dense(3, 2)
    trainer = bp.BPFF(
        model,
        loss_fun=lambda predicted, target: bm.mean((predicted - target) ** 2),
        optimizer=bp.optim.Adam(lr=1e-3),
        progress_bar=False,
    )
    batches = [(bm.asarray(_INPUTS[:, 0]), bm.asarray(_TARGETS[:, 0]))] * 3
    return model, lambda: trainer.fit(batches, num_epoch=2)


def _ridge() -> Trained:
    with bm.batching_environment():
        model = Echo()
    trainer = bp.RidgeTrainer(model, alpha=1e-4, progress_bar=False)
    return model, lambda: trainer.fit([bm.asarray(_INPUTS[:1]), bm.asarray(_TARGETS[:1])])


def _force() -> Trained:
    with bm.batching_environment():
        model = Echo()
    trainer = bp.ForceTrainer(model, alpha=0.1, progress_bar=False)
    return model, lambda: trainer.fit([bm.asarray(_INPUTS[:1]), bm.asarray(_TARGETS[:1])])


_TRAINERS = {"BPTT": _bptt, "BPFF": _bpff, "RidgeTrainer": _ridge, "ForceTrainer": _force}


def _fit(build: Callable[[], Trained]) -> list[Any]:
    """Train a new model, and return its Variables."""
    bm.random.seed(1)
    model, fit = build()
    fit()
    return [as_numpy(variable) for _, variable in sorted(model.vars().unique().items())]


@pytest.fixture(params=_TRAINERS)
def trainer(request: pytest.FixtureRequest) -> str:
    """Return the name of a trainer's class."""
    return str(request.param)


def test_a_fit_of_a_trainer_is_a_proved_call(trainer: str, out: Path) -> None:
    expected = _fit(_TRAINERS[trainer])
    with probe.capture(out, data="full", strict=True) as cap:
        found = _fit(_TRAINERS[trainer])
    for plain, captured in zip(expected, found, strict=True):
        np.testing.assert_array_equal(plain, captured)

    (call,) = [call for call in cap.calls if call.kind == "fit"]
    assert call.runner == trainer
    assert call.failure is None
    assert call.program is not None
    assert all(compared.equal for compared in call.program.replay().compared)
    state = {spec.name for spec in call.program.results if spec.role == "state"}
    if trainer == "BPTT":
        assert call.count == 6
        assert {"rnn.Wi", "out.W"} <= state
        assert any(name.startswith("optimizer.") for name in state)
        assert call.program.record.components["optimizer"] == "Adam"
        # JAX up to 0.10.2 loses the names within the transpose of a loop.
        assert not _NAMES_TRANSPOSES or 'loc("~rnn/backward/dot_general")' in call.program.text(
            "stablehlo"
        )
        costs = {row.component: row for row in call.program.costs.components}
        assert not _NAMES_TRANSPOSES or costs["rnn (backward)"].step.flops > 0
        assert costs["optimizer"].once.ops > 0
    checks = verify(cap.path, limits=None).checks
    assert [check for check in checks if check.outcome == "failed"] == []


@pytest.mark.skipif(not eras.SINCE_2_7, reason="braintools exists from 2.7 on")
def test_a_jitted_gradient_step_is_a_fit(out: Path) -> None:
    import brainstate
    import braintools

    class Readout(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = brainstate.nn.Linear(3, 4)
            self.out = brainstate.nn.Linear(4, 2)

        def update(self, x: Any) -> Any:
            return self.out(jax.numpy.tanh(self.cell(x)))

    def train() -> list[Any]:
        brainstate.random.seed(1)
        net = Readout()
        opt = braintools.optim.Adam(1e-2)
        weights = net.states(brainstate.ParamState)
        opt.register_trainable_weights(weights)

        def loss() -> Any:
            return jax.numpy.mean((net(_INPUTS[0]) - _TARGETS[0]) ** 2)

        @brainstate.transform.jit
        def train_step() -> Any:
            gradients, value = brainstate.transform.grad(loss, weights, return_value=True)()
            opt.update(gradients)
            return value

        return [np.asarray(train_step()) for _ in range(4)]

    expected = train()
    with probe.capture(out, data="full", strict=True) as cap:
        np.testing.assert_array_equal(train(), expected)
    (call,) = cap.calls
    assert (call.kind, call.count, call.failure) == ("fit", 4, None)
    assert call.program is not None
    state = {spec.name for spec in call.program.results if spec.role == "state"}
    assert {"net.cell.weight.weight", "net.out.weight.bias"} <= state
    assert any(name.startswith("opt.") for name in state)
    assert all(compared.equal for compared in call.program.replay().compared)
