"""Why a module was compiled, and compiled again, and what that cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.findings import lost_seconds
from brainpy_probe.live.modules import ModuleFacts
from brainpy_probe.live.reasons import explain
from tests import eras
from tests.eras import DynamicalSystem
from tests.networks import compiling_runners
from tests.watching import stop_listening


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[tuple[str, float]]]:
    """Return a capture of three runs, the third twice as long, and JAX's own durations."""
    runners = compiling_runners("lif", 3)
    events: list[tuple[str, float]] = []

    def listen(event: str, seconds: float, **given: Any) -> None:
        # JAX 0.4 does not say whose duration it is.
        if given.get("fun_name", "scan") in ("scan", "jit(scan)", "_wrapped_fun_to_eval"):
            events.append((event.rpartition("/")[2], seconds))

    with probe.capture(tmp_path_factory.mktemp("reasons"), strict=True) as cap:
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            for runner, duration in zip(runners, (10.0, 10.0, 20.0), strict=True):
                runner.run(duration)
        finally:
            stop_listening(listen)
    return cap, events


def _loops(cap: Any) -> list[Any]:
    return [module for module in cap.modules if module.name == eras.LOOP_MODULE]


def test_a_second_run_compiles_the_same_module_again(runs: Any) -> None:
    first, second, _ = _loops(runs[0])
    assert (first.reason, second.reason) == ("first", "same")
    assert first.fingerprint == second.fingerprint


def test_the_lost_seconds_are_what_jax_says(runs: Any) -> None:
    cap, events = runs
    compiled = [seconds for event, seconds in events if event == "backend_compile_duration"]
    lowered = [s for event, s in events if event == "jaxpr_to_mlir_module_duration"]
    lost = lost_seconds(cap.manifest)
    assert lost.compile == pytest.approx(compiled[1], rel=0.2)
    assert lost.lower == pytest.approx(lowered[1], rel=0.2)
    assert 0 < lost.trace <= cap.calls[1].timing.trace * 1.2
    assert lost.wall == pytest.approx(lost.trace + lost.lower + lost.compile)


def test_a_longer_run_is_another_shape_of_the_step_indices(runs: Any) -> None:
    third = _loops(runs[0])[2]
    assert third.reason == "shape"
    assert third.why == "Another shape: indices from tensor<100xi32> to tensor<200xi32>."


def _second(out: Path, first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    with probe.capture(out, strict=True) as cap:
        first()
        second()
    return [module for module in cap.modules if module.name == "jit_one"][-1]


def _adding(what: Any) -> Callable[[Any], Any]:
    def one(x: Any) -> Any:
        return x + what

    return jax.jit(one)


def test_another_batch_is_another_shape(out: Path) -> None:
    f = _adding(1.0)
    module = _second(
        out, lambda: f(np.ones((2, 3), np.float32)), lambda: f(np.ones((5, 3), np.float32))
    )
    assert module.reason == "shape"
    assert "argument 0 from tensor<2x3xf32> to tensor<5x3xf32>" in module.why


def test_another_dtype_is_said(out: Path) -> None:
    f = _adding(1)
    module = _second(out, lambda: f(np.ones(3, np.float32)), lambda: f(np.ones(3, np.int32)))
    assert module.reason == "dtype"
    assert "argument 0 from tensor<3xf32> to tensor<3xi32>" in module.why


def test_other_values_in_the_code_are_said(out: Path) -> None:
    x = np.ones(3, np.float32)
    module = _second(out, lambda: _adding(1.5)(x), lambda: _adding(2.5)(x))
    assert module.reason == "values"


def test_other_parameters_of_a_model_are_other_values(out: Path) -> None:
    runners = [
        bp.DSRunner(
            bp.neurons.LIF(5, tau=tau, V_initializer=bp.init.ZeroInit()), progress_bar=False
        )
        for tau in (10.0, 20.0)
    ]
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            runner.run(1.0)
    assert [loop.reason for loop in _loops(cap)] == ["first", "values"]


def test_other_operations_are_another_program(out: Path) -> None:
    def other() -> Any:
        def one(x: Any) -> Any:
            return x * x - 1.0

        return jax.jit(one)

    x = np.ones(3, np.float32)
    assert _second(out, lambda: _adding(1.0)(x), lambda: other()(x)).reason == "code"


def test_a_module_seen_before_the_last_one_is_the_same_again(out: Path) -> None:
    x, y = np.ones(3, np.float32), np.ones(4, np.float32)

    def both() -> None:
        f = _adding(1.0)
        f(x)
        f(y)

    assert _second(out, both, lambda: _adding(1.0)(x)).reason == "same"


def test_another_backend_is_said() -> None:
    module = ModuleFacts(
        name="jit_one",
        backend="cpu",
        fingerprint="a",
        arguments=(),
        text="",
        hlo="",
        content=b"",
        cost={},
        memory={},
        custom_calls=(),
        large_constants=0,
        notes=(),
    )
    reason, why = explain(replace(module, backend="gpu", fingerprint="b"), [module], ())
    assert reason == "backend"
    assert why == "Another backend: gpu after cpu."


class _Decay(DynamicalSystem):
    """A model that doesn't look at the step index, so that JAX drops it from the module."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.eye(4, dtype=np.float32)
        self.r = bm.Variable(bm.ones(4))

    def update(self) -> Any:
        self.r.value = bm.as_jax(self.r) @ self.weights
        return self.r.value


def test_an_argument_that_jax_drops_does_not_shift_the_names(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        bp.DSRunner(_Decay(), progress_bar=False).run(1.0)
    record = cap.modules[-1].record
    assert "indices" not in record.argument_names


def test_another_model_compiles_for_the_first_time(out: Path) -> None:
    runners = [*compiling_runners("lif", 2), *compiling_runners("fhn-rate", 2)]
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            runner.run(2.0)
    loops = [[one for one in call.modules if one.name == eras.LOOP_MODULE] for call in cap.calls]
    assert [loop.reason for (loop,) in loops] == ["first", "same", "first", "same"]
