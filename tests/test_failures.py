"""The second promise: what fails in the probe is recorded and stops no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brainpy as bp
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from tests.eras import DynamicalSystem
from tests.networks import by_name


class Sealed:
    """A result that JAX can take apart but not put together again."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _refuse(_: Any, __: Any) -> Sealed:
    raise RuntimeError("sealed")


jax.tree_util.register_pytree_node(Sealed, lambda one: ((one.value,), None), _refuse)


class SealingRunner(bp.DSRunner):
    """A runner that gives its outputs out sealed."""

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        outputs, monitors = super()._predict(*args, **kwargs)
        return Sealed(outputs), monitors


def test_a_result_that_can_not_be_copied_stops_no_run(out: Path) -> None:
    plain = by_name("lif").build()
    expected = plain.run(2.0)
    runner = SealingRunner(by_name("lif").build().target, inputs=("input", 20.0))
    runner.progress_bar = False
    with pytest.warns(probe.ProbeWarning, match="sealed"), probe.capture(out) as cap:
        returned: Any = runner.run(2.0)
    assert np.shape(returned.value) == np.shape(expected)
    (call,) = cap.calls
    assert call.error is None
    assert call.failure is not None
    assert "sealed" in call.failure.traceback


def test_strictly_a_result_that_can_not_be_copied_is_raised_after_the_run(out: Path) -> None:
    runner = SealingRunner(by_name("lif").build().target, inputs=("input", 20.0))
    with (
        pytest.raises(probe.ProbeError, match="sealed"),
        probe.capture(out, strict=True) as cap,
    ):
        runner.run(2.0)
    assert runner.i0 == 20
    assert len(cap.calls) == 1


class Doubling(DynamicalSystem):
    """A model without Variables: only its inputs can be another trace's."""

    def update(self, x: Any) -> Any:
        return 2.0 * x


def test_a_run_within_another_transformation_is_said_to_have_no_program(out: Path) -> None:
    runner = bp.DSRunner(Doubling(), progress_bar=False, numpy_mon_after_run=False)
    with pytest.warns(probe.ProbeWarning, match="inside another"), probe.capture(out) as cap:
        doubled = jax.jit(lambda xs: runner.run(inputs=xs))(np.ones(5, np.float32))
    assert np.array_equal(doubled, np.full(5, 2.0, np.float32))
    assert not cap.programs
    assert not list(cap.path.glob("programs/*"))
