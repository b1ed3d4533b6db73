"""Why a module was compiled, and compiled again, and what that cost."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.analysis.compile_findings import lost_seconds
from brainpy_probe.compat import bindings
from brainpy_probe.format.manifest.common_records import Timing
from brainpy_probe.format.manifest.records import ModuleFacts, ModuleRecord
from brainpy_probe.recording.modules.facts import normalized
from brainpy_probe.recording.modules.reasons import explain
from tests import eras
from tests.eras import COMPILES_EACH_RUN, DynamicalSystem
from tests.listening import durations
from tests.networks import LOOP_MODULES, by_name
from tests.xla import stablehlo_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[list[tuple[str, float]]]]:
    """Return a capture of three runs, the third twice as long, and JAX's durations of each."""
    case = by_name("lif")
    runner = case.build()
    events: list[list[tuple[str, float]]] = []
    with (
        probe.capture(tmp_path_factory.mktemp("reasons"), strict=True) as cap,
        durations() as heard,
    ):
        for duration in (10.0, 10.0, 20.0):
            runner.run(duration)
            events.append(heard.copy())
            heard.clear()
    return cap, events


def _seconds(events: list[tuple[str, float]], phase: str) -> list[float]:
    return [seconds for event, seconds in events if event == f"/jax/core/compile/{phase}_duration"]


def test_the_address_of_a_callback_is_no_part_of_a_module() -> None:
    """JAX 0.4.30 writes the address into the call and into a constant."""
    text = """func.func public @main(%a: tensor<f32>) -> tensor<f32> {{
        %c = stablehlo.constant dense<{0}> : tensor<i64>
        %r = stablehlo.custom_call @xla_python_cpu_callback(%c, %a) {{backend_config = "{0}"}}
            : (tensor<i64>, tensor<f32>) -> tensor<f32>
        return %r : tensor<f32> }}"""
    modules = [
        bindings.mlir_bytecode(stablehlo_of(text.format(address), "stablehlo"))
        for address in (140_123_456, 140_654_321)
    ]
    assert modules[0] != modules[1]
    first, second = (bindings.mlir_text(normalized(module)) for module in modules)
    assert first == second


def test_what_a_second_run_compiles_is_the_same_module_again(runs: Any) -> None:
    cap, events = runs
    # BrainPy 2.3.8 keeps its compiled function, and compiles nothing in the second run.
    compiled = [len(_seconds(one, "backend_compile")) for one in events]
    assert [len(call.modules) for call in cap.calls] == compiled
    first = cap.calls[0].modules[-1]
    assert first.reason == "first"
    for second in cap.calls[1].modules:
        assert second.reason == "same"
        assert second.fingerprint == first.fingerprint


def test_the_lost_seconds_are_what_jax_says(runs: Any) -> None:
    cap, (_, again, _) = runs
    compiled = _seconds(again, "backend_compile")
    lost = lost_seconds(cap.manifest)
    assert lost.compile == pytest.approx(sum(compiled), rel=0.2)
    # The probe lowers nothing here, since it knows the program.
    assert lost.lower == pytest.approx(sum(_seconds(again, "jaxpr_to_mlir_module")), rel=0.2)
    assert (lost.trace > 0) == bool(compiled)
    assert lost.trace <= cap.calls[1].timing.trace * 1.2
    assert lost.wall == pytest.approx(lost.trace + lost.lower + lost.compile)


def test_a_longer_run_is_another_shape(runs: Any) -> None:
    third = runs[0].calls[2].modules[-1]
    assert third.reason == "shape"
    if third.name == "jit_scan":
        assert third.why == "Another shape: indices from tensor<100xi32> to tensor<200xi32>."
    else:
        # Within a jit, JAX has dropped the step indices, which this model does not read.
        pattern = r"Another shape: result \d from tensor<100x(.*)> to tensor<200x\1>"
        assert re.match(pattern, third.why)


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
    first, second = (one for one in cap.modules if one.name in LOOP_MODULES)
    assert first.reason == "first"
    assert second.reason in ({"values", "code"} if eras.ORDERS_BY_IDS else {"values"})
    reordered = first.record.arguments != second.record.arguments
    assert ("in another order" in second.why) == reordered


def test_other_operations_are_another_program(out: Path) -> None:
    def other() -> Any:
        def one(x: Any) -> Any:
            return x * x - 1.0

        return jax.jit(one)

    x = np.ones(3, np.float32)
    assert _second(out, lambda: _adding(1.0)(x), lambda: other()(x)).reason == "code"


def test_other_wiring_of_the_same_operations_is_another_program(out: Path) -> None:
    def less(*order: int) -> Any:
        def one(*xs: Any) -> Any:
            return xs[order[0]] - xs[order[1]] * 2.0

        return jax.jit(one)

    x, y = np.ones(3, np.float32), np.ones(3, np.float32)
    module = _second(out, lambda: less(0, 1)(x, y), lambda: less(1, 0)(x, y))
    assert module.reason == "code"


def test_longer_names_of_the_same_model_make_no_other_program(out: Path) -> None:
    """BrainPy 2.3 hands JAX the Variables' names, in which it counts models and functions."""
    runners = []
    for name in ("short", "muchlonger"):
        group = bp.neurons.LIF(5, name=f"{name}{id(out)}", V_initializer=bp.init.ZeroInit())
        runners.append(bp.DSRunner(group, progress_bar=False))
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            runner.run(1.0)
    first, second = (one for one in cap.modules if one.name in LOOP_MODULES)
    assert first.reason == "first"
    assert second.reason in ({"same", "code"} if eras.ORDERS_BY_IDS else {"same"})


def test_a_length_that_no_argument_tells_of_is_another_shape(out: Path) -> None:
    def counting(length: int) -> Any:
        def one(x: Any) -> Any:
            return jnp.arange(length) + 0 * x[0].astype(int)

        return jax.jit(one)

    x = np.ones(3, np.float32)
    module = _second(out, lambda: counting(5)(x), lambda: counting(7)(x))
    assert module.reason == "shape"
    assert module.why == "Another shape: result 0 from tensor<5xi32> to tensor<7xi32>."


def test_other_results_of_other_operations_are_another_program(out: Path) -> None:
    def other() -> Any:
        def one(x: Any) -> Any:
            return x > 1.0

        return jax.jit(one)

    x = np.ones(3, np.float32)
    assert _second(out, lambda: _adding(1.0)(x), lambda: other()(x)).reason == "code"


def test_arguments_in_another_order_are_another_program(out: Path) -> None:
    def taking(*order: int) -> Any:
        def one(*xs: Any) -> Any:
            return xs[order[0]] + 1.0, xs[order[1]] > 2

        return jax.jit(one)

    x, y = np.ones(3, np.float32), np.ones(3, np.int32)
    module = _second(out, lambda: taking(0, 1)(x, y), lambda: taking(1, 0)(y, x))
    assert module.reason == "code"
    assert module.why == "Another program: it takes the same arguments in another order."


def test_a_module_seen_before_the_last_one_is_the_same_again(out: Path) -> None:
    x, y = np.ones(3, np.float32), np.ones(4, np.float32)

    def both() -> None:
        f = _adding(1.0)
        f(x)
        f(y)

    assert _second(out, both, lambda: _adding(1.0)(x)).reason == "same"


def test_another_backend_is_said() -> None:
    now = ModuleFacts(name="jit_one", backend="gpu", fingerprint="b", arguments=())
    last = ModuleRecord(
        index=0,
        name="jit_one",
        fingerprint="a",
        call=None,
        thread="MainThread",
        backend="cpu",
        origin="compiled",
        seconds=Timing(),
        arguments=(),
        reason="first",
        why="",
    )
    reason, why = explain(now, b"", [last], (), lambda _: b"")
    assert reason == "backend"
    assert why == "Another backend: gpu after cpu."


class _Decay(DynamicalSystem):
    """A model that doesn't look at the step index, so that JAX drops it from the module."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.eye(4, dtype=np.float32)
        self.r = bm.Variable(bm.ones(4))

    def update(self, *_: Any) -> Any:  # 2.3.8 hands in what later versions share
        self.r.value = bm.as_jax(self.r) @ self.weights
        return self.r.value


def test_an_argument_that_jax_drops_does_not_shift_the_names(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        bp.DSRunner(_Decay(), progress_bar=False).run(1.0)
    record = cap.modules[-1].record
    assert "indices" not in record.argument_names


def test_another_model_compiles_for_the_first_time(out: Path) -> None:
    runners = [by_name(name).build() for name in ("lif", "izhikevich")]
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            runner.run(2.0)
            runner.run(2.0)
    modules = [one for one in cap.modules if one.name in LOOP_MODULES]
    reasons = [one.reason for one in modules]
    again = [one.record.call for one in modules if one.reason == "same"]
    # BrainPy 2.3.8 keeps its compiled function, and compiles nothing in a second run.
    assert (reasons, again) in (
        (["first", "same", "first", "same"], [1, 3]),
        (["first", "first"], []),
    )


class _Gaining(DynamicalSystem):
    """A model with a number that is baked into its program."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = 0.5
        self.r = bm.Variable(bm.ones(4))

    def update(self) -> Any:
        self.r.value = self.r.value * self.gain
        return self.r.value


def test_a_program_is_known_again_only_if_its_code_is_the_same(out: Path) -> None:
    model = _Gaining()
    runner = bp.DSRunner(model, monitors=["r"], progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.5)  # its Variables may be typed otherwise than those that a run leaves
        for gain in (0.5, 0.25, 0.5, 0.25):
            model.gain = gain
            runner.run(0.5)
    first, other, *again = [call.record.program for call in cap.calls][1:]
    assert (first != other) == COMPILES_EACH_RUN
    assert again == [first, other]
