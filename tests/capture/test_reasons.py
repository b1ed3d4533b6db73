"""The reasons for which modules are compiled, and compiled again, and the seconds lost."""

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
    """Return a capture of three runs, the third of double length, and JAX's durations of each."""
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


def test_the_address_of_a_callback_does_not_change_a_module() -> None:
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


def test_a_second_run_compiles_the_same_module_again(runs: Any) -> None:
    cap, events = runs
    # BrainPy 2.3.8 keeps its compiled function and compiles nothing in the second run.
    compiled = [len(_seconds(heard, "backend_compile")) for heard in events]
    assert [len(call.modules) for call in cap.calls] == compiled
    first = cap.calls[0].modules[-1]
    assert first.reason == "first"
    for second in cap.calls[1].modules:
        assert second.reason == "same"
        assert "BrainPy builds a new function" in second.why
        assert second.fingerprint == first.fingerprint


def test_two_functions_with_one_program_are_named_as_such(out: Path) -> None:
    with probe.capture(out) as cap:
        for _ in range(2):
            jax.jit(lambda x: x * 2 + 1)(np.ones(3, np.float32))
    _, again = (module for module in cap.modules if module.name.startswith("jit__lambda"))
    assert again.reason == "same"
    assert "by the function and its arguments" in again.why


def test_the_lost_seconds_agree_with_jax(runs: Any) -> None:
    cap, (_, again, _) = runs
    compiled = _seconds(again, "backend_compile")
    lost = lost_seconds(cap.manifest)
    assert lost.compile == pytest.approx(sum(compiled), rel=0.2)
    # The probe lowers nothing here: it already has the program.
    assert lost.lower == pytest.approx(sum(_seconds(again, "jaxpr_to_mlir_module")), rel=0.2)
    assert (lost.trace > 0) == bool(compiled)
    assert lost.trace <= cap.calls[1].timing.trace * 1.2
    assert lost.wall == pytest.approx(lost.trace + lost.lower + lost.compile)


def test_a_longer_run_has_another_shape(runs: Any) -> None:
    third = runs[0].calls[2].modules[-1]
    assert third.reason == "shape"
    if third.name == "jit_scan":
        assert third.why == "Another shape: indices from tensor<100xi32> to tensor<200xi32>."
    else:
        # Within a jit, JAX drops the step indices, which this model does not read.
        pattern = r"Another shape: result \d from tensor<100x(.*)> to tensor<200x\1>"
        assert re.match(pattern, third.why)


def _last_module(out: Path, first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    with probe.capture(out, strict=True) as cap:
        first()
        second()
    return [module for module in cap.modules if module.name == "jit_function"][-1]


def _jitted_add(constant: Any) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return x + constant

    return jax.jit(function)


def test_another_batch_size_is_another_shape(out: Path) -> None:
    f = _jitted_add(1.0)
    module = _last_module(
        out, lambda: f(np.ones((2, 3), np.float32)), lambda: f(np.ones((5, 3), np.float32))
    )
    assert module.reason == "shape"
    assert "argument 0 from tensor<2x3xf32> to tensor<5x3xf32>" in module.why


def test_another_dtype_is_a_reason(out: Path) -> None:
    f = _jitted_add(1)
    module = _last_module(out, lambda: f(np.ones(3, np.float32)), lambda: f(np.ones(3, np.int32)))
    assert module.reason == "dtype"
    assert "argument 0 from tensor<3xf32> to tensor<3xi32>" in module.why


def test_another_constant_is_a_reason(out: Path) -> None:
    x = np.ones(3, np.float32)
    module = _last_module(out, lambda: _jitted_add(1.5)(x), lambda: _jitted_add(2.5)(x))
    assert module.reason == "values"


def test_other_parameters_of_a_model_are_other_constants(out: Path) -> None:
    runners = [
        bp.DSRunner(
            bp.neurons.LIF(5, tau=tau, V_initializer=bp.init.ZeroInit()), progress_bar=False
        )
        for tau in (10.0, 20.0)
    ]
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            runner.run(1.0)
    first, second = (module for module in cap.modules if module.name in LOOP_MODULES)
    assert first.reason == "first"
    assert second.reason in ({"values", "code"} if eras.ORDERS_BY_IDS else {"values"})
    reordered = first.record.arguments != second.record.arguments
    assert ("in another order" in second.why) == reordered


def test_other_operations_are_another_program(out: Path) -> None:
    def other() -> Any:
        def function(x: Any) -> Any:
            return x * x - 1.0

        return jax.jit(function)

    x = np.ones(3, np.float32)
    assert _last_module(out, lambda: _jitted_add(1.0)(x), lambda: other()(x)).reason == "code"


def test_operations_on_other_operands_are_another_program(out: Path) -> None:
    def subtract(*order: int) -> Any:
        def function(*xs: Any) -> Any:
            return xs[order[0]] - xs[order[1]] * 2.0

        return jax.jit(function)

    x, y = np.ones(3, np.float32), np.ones(3, np.float32)
    module = _last_module(out, lambda: subtract(0, 1)(x, y), lambda: subtract(1, 0)(x, y))
    assert module.reason == "code"


def test_longer_names_do_not_change_the_program(out: Path) -> None:
    """BrainPy 2.3 passes JAX the names of Variables, which count models and functions."""
    runners = []
    for name in ("short", "muchlonger"):
        group = bp.neurons.LIF(5, name=f"{name}{id(out)}", V_initializer=bp.init.ZeroInit())
        runners.append(bp.DSRunner(group, progress_bar=False))
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            runner.run(1.0)
    first, second = (module for module in cap.modules if module.name in LOOP_MODULES)
    assert first.reason == "first"
    assert second.reason in ({"same", "code"} if eras.ORDERS_BY_IDS else {"same"})


def test_another_shape_of_results_alone_is_another_shape(out: Path) -> None:
    def counting(length: int) -> Any:
        def function(x: Any) -> Any:
            return jnp.arange(length) + 0 * x[0].astype(int)

        return jax.jit(function)

    x = np.ones(3, np.float32)
    module = _last_module(out, lambda: counting(5)(x), lambda: counting(7)(x))
    assert module.reason == "shape"
    assert module.why == "Another shape: result 0 from tensor<5xi32> to tensor<7xi32>."


def test_other_operations_with_other_results_are_code(out: Path) -> None:
    def other() -> Any:
        def function(x: Any) -> Any:
            return x > 1.0

        return jax.jit(function)

    x = np.ones(3, np.float32)
    assert _last_module(out, lambda: _jitted_add(1.0)(x), lambda: other()(x)).reason == "code"


def test_arguments_in_another_order_are_another_program(out: Path) -> None:
    def mixed(*order: int) -> Any:
        def function(*xs: Any) -> Any:
            return xs[order[0]] + 1.0, xs[order[1]] > 2

        return jax.jit(function)

    x, y = np.ones(3, np.float32), np.ones(3, np.int32)
    module = _last_module(out, lambda: mixed(0, 1)(x, y), lambda: mixed(1, 0)(y, x))
    assert module.reason == "code"
    assert module.why == "Another program: it takes the same arguments in another order."


def test_a_module_can_repeat_an_earlier_one(out: Path) -> None:
    x, y = np.ones(3, np.float32), np.ones(4, np.float32)

    def both() -> None:
        f = _jitted_add(1.0)
        f(x)
        f(y)

    assert _last_module(out, both, lambda: _jitted_add(1.0)(x)).reason == "same"


def test_another_backend_is_a_reason() -> None:
    current = ModuleFacts(name="jit_function", backend="gpu", fingerprint="b", arguments=())
    previous = ModuleRecord(
        index=0,
        name="jit_function",
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
    reason, why = explain(current, b"", None, [previous], (), lambda _: b"")
    assert reason == "backend"
    assert why == "Another backend: gpu after cpu."


class _Decay(DynamicalSystem):
    """A model that does not read the step index, so that JAX drops it from the module."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.eye(4, dtype=np.float32)
        self.r = bm.Variable(bm.ones(4))

    def update(self, *_: Any) -> Any:  # 2.3.8 passes the shared arguments
        self.r.value = bm.as_jax(self.r) @ self.weights
        return self.r.value


def test_a_dropped_argument_does_not_shift_the_names(out: Path) -> None:
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
    modules = [module for module in cap.modules if module.name in LOOP_MODULES]
    reasons = [module.reason for module in modules]
    again = [module.record.call for module in modules if module.reason == "same"]
    # BrainPy 2.3.8 keeps its compiled function, and compiles nothing in a second run.
    assert (reasons, again) in (
        (["first", "same", "first", "same"], [1, 3]),
        (["first", "first"], []),
    )


class _Scaled(DynamicalSystem):
    """A model with a number that is a constant of its program."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = 0.5
        self.r = bm.Variable(bm.ones(4))

    def update(self) -> Any:
        self.r.value = self.r.value * self.gain
        return self.r.value


def test_a_program_is_reused_only_for_the_same_code(out: Path) -> None:
    model = _Scaled()
    runner = bp.DSRunner(model, monitors=["r"], progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.5)  # the Variables may have other types before the first run than after it
        for gain in (0.5, 0.25, 0.5, 0.25):
            model.gain = gain
            runner.run(0.5)
    first, other, *again = [call.record.program for call in cap.calls][1:]
    assert (first != other) == COMPILES_EACH_RUN
    assert again == [first, other]
