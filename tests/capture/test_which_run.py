"""Of the loops in a call, the probe finds the run, and gives it the right program."""

from __future__ import annotations

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
from brainpy_probe.recording.tracing.callables import callable_key
from tests import eras

STEPS = 5
DURATION = STEPS * 0.1


class Settling(eras.DynamicalSystem):
    """A model whose reset warms up, in a loop or in a jitted function."""

    def __init__(self, length: int = 0) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(2))
        self.y = bm.Variable(bm.zeros(2))
        self.length = length

    def settle(self, *_: Any) -> None:
        """Move one of the Variables towards its limit."""
        self.x.value = self.x * 0.5 + 1.0

    def reset_state(self, *_: Any, **__: Any) -> None:
        """Warm up."""
        if self.length:
            eras.for_loop(self.settle, jnp.arange(float(self.length)), self)
        else:
            eras.jit(self.settle, self)()

    def update(self, *_: Any) -> None:
        """Add one Variable to the other."""
        self.y.value = self.y + self.x


def _scan(body: Callable[..., Any], xs: Any) -> None:
    jax.lax.scan(lambda carry, x: (carry, body(x)), ([jnp.ones(2)] * 3, ()), xs)


class Before(bp.DSRunner):
    """A runner that scans over the run's own indices before the run."""

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        _scan(lambda x: x, args or kwargs["xs"])
        return super()._predict(*args, **kwargs)


class After(bp.DSRunner):
    """A runner that scans over the run's own indices after the run."""

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        result: Any = super()._predict(*args, **kwargs)
        _scan(lambda x: x, args or kwargs["xs"])
        return result


class LongerLoopAfter(bp.DSRunner):
    """A runner with a longer BrainPy loop after the run."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and then run a longer loop."""
        result: Any = super().predict(*args, **kwargs)
        eras.for_loop(lambda i: i * 2.0, jnp.arange(100.0))
        return result


class StepFirst(bp.DSRunner):
    """A runner that runs its step in a loop over other indices before the run."""

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        if eras.SINCE_2_4:
            eras.for_loop(self._step_func_predict, np.arange(9), self.target)
        return super()._predict(*args, **kwargs)


RUNS: dict[str, tuple[type[bp.DSRunner], int, dict[str, Any]]] = {
    "longer warm-up": (bp.DSRunner, 20, {}),
    "warm-up of the same length": (bp.DSRunner, STEPS, {}),
    "shorter warm-up": (bp.DSRunner, 2, {}),
    "compiled warm-up": (bp.DSRunner, 0, {}),
    "warm-up before a compiled step": (bp.DSRunner, 0, {"memory_efficient": True}),
    "warm-up loop before a compiled step": (bp.DSRunner, 9, {"memory_efficient": True}),
    "scan before": (Before, 0, {}),
    "scan after": (After, 0, {}),
    "loop after": (LongerLoopAfter, 0, {}),
    "the same step before": (StepFirst, 0, {}),
}


@pytest.mark.parametrize("name", RUNS)
def test_run_is_the_loop_over_the_runners_own_step(name: str, out: Path) -> None:
    runner_class, length, options = RUNS[name]
    runner = runner_class(Settling(length), monitors=["y"], progress_bar=False, **options)
    with probe.capture(out, data="full", strict=True) as cap:
        runner.predict(duration=DURATION, reset_state=True)
    (program,) = cap.programs
    assert len(list(cap.path.glob("programs/*"))) == 1
    paths = {result.path for result in program.results}
    assert {"monitors/y", "state/y"} <= paths
    assert program.kind == ("step" if options else "loop")
    if not options:
        assert program.replay().equal
        assert np.array_equal(program.replay().results["monitors/y"], runner.mon["y"])


class Inner(eras.DynamicalSystem):
    """A model with an inner loop in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(2))
        self.y = bm.Variable(bm.zeros(2))

    def _add(self, i: Any) -> None:
        self.x.value = self.x + i

    def update(self, *_: Any) -> None:
        """Accumulate in a loop, and add the result to the other Variable."""
        eras.for_loop(self._add, jnp.arange(4.0), self)
        self.y.value = self.y * 0.5 + self.x


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("memory_efficient", [True, False])
def test_loop_within_a_step_is_not_the_run(jit: bool, memory_efficient: bool, out: Path) -> None:
    runner = bp.DSRunner(
        Inner(), monitors=["y"], progress_bar=False, jit=jit, memory_efficient=memory_efficient
    )
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        runner.run(DURATION)
    (program,) = cap.programs
    assert {"monitors/y", "state/x", "state/y"} == {spec.path for spec in program.results}


class Twice(bp.DSRunner):
    """A runner that runs its model twice in one call."""

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run twice."""
        super().predict(*args, **kwargs)
        return super().predict(*args, **kwargs)


class OwnLoops(bp.DSRunner):
    """A runner with two loops of its own instead of BrainPy's."""

    def predict(self, *_: Any, **__: Any) -> Any:
        """Run loops."""
        for length in (3, 7):
            eras.for_loop(lambda _: self.target(), bm.arange(length), self.target)


@pytest.mark.parametrize("runner_class", [Twice, OwnLoops])
def test_a_call_with_two_runs_has_no_program(runner_class: type[bp.DSRunner], out: Path) -> None:
    runner = runner_class(Inner(), progress_bar=False)
    with pytest.warns(probe.ProbeWarning, match="2 "), probe.capture(out) as cap:
        runner.predict(DURATION)
    (call,) = cap.calls
    assert call.program is None
    assert call.failure is not None
    assert not list(cap.path.glob("programs/*"))


class JittedTwice(bp.DSRunner):
    """A runner that calls a jitted function twice instead of BrainPy's loop."""

    def predict(self, *_: Any, **__: Any) -> Any:
        """Call the function twice, and return the second result."""
        step = eras.jit(self.target, self.target)
        step()
        return step()


@pytest.mark.skipif(not eras.SINCE_2_7, reason="before 2.7, a call with two runs has no program")
def test_a_jitted_function_that_runs_twice_is_a_step(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        JittedTwice(Inner(), progress_bar=False).predict(DURATION)
    (program,) = cap.programs
    assert program.kind == "step"


@pytest.mark.skipif(not eras.SINCE_2_7, reason="before 2.7, BrainPy has one implementation")
def test_another_kernel_implementation_is_another_program(out: Path) -> None:
    import brainevent

    def run() -> None:
        comm = bp.dnn.EventCSRLinear(bp.conn.FixedProb(0.5, seed=1)(4, 4), 1.0)
        runner = bp.DSRunner(_Events(comm), progress_bar=False)
        runner.run(0.3)

    with probe.capture(out, strict=True) as cap:
        run()
        before = brainevent.config.get_backend("cpu")
        brainevent.config.set_backend("cpu", "jax_raw")
        try:
            run()
        finally:
            brainevent.config.set_backend("cpu", before)
    assert [bool(program.fidelity.custom_calls) for program in cap.programs] == [True, False]


class _Events(eras.DynamicalSystem):
    """A model that sums spikes with an event-driven connection."""

    def __init__(self, comm: Any) -> None:
        super().__init__()
        self.comm, self.x = comm, bm.Variable(bm.zeros(4))

    def update(self, *_: Any) -> None:
        """Sum the spikes."""
        self.x.value = self.x + self.comm(self.x < 1.0)


# --- The program of a run ---------------------------------------------------------------------


class Pair(eras.DynamicalSystem):
    """A model that subtracts one Variable from the other, in either order."""

    def __init__(self, how: str, swapped: bool) -> None:
        super().__init__()
        start = bm.ones(3) * 5.0
        self.a, self.b = bm.Variable(start), bm.Variable(bm.ones(3) * 2.0)
        self.x = bm.Variable(bm.zeros(3))
        if how == "one array in both":
            self.b = bm.Variable(bm.as_jax(start))
            self.a = bm.Variable(bm.as_jax(start))
        self.how, self.swapped = how, swapped

    def update(self, *_: Any) -> None:
        """Subtract one Variable from the other."""
        a, b = self.a.value, self.b.value
        if self.how == "order of reading" and self.swapped:
            b, a = self.b.value, self.a.value
        # On one source line, so that the modules are identical, including locations.
        minuend, subtrahend = (b, a) if self.swapped else (a, b)
        same_array = self.how == "one array in both"
        self.x.value = (a - b) + minuend if same_array else minuend - subtrahend


def _run(model: Any) -> Any:
    runner = bp.DSRunner(model, monitors=["x"], progress_bar=False)
    runner.run(DURATION)
    return runner.mon["x"]


@pytest.mark.parametrize("how", ["order of reading", "order of using", "one array in both"])
def test_swapped_variables_have_their_own_program(how: str, out: Path) -> None:
    with probe.capture(out, data="full", strict=True) as cap:
        seen = [_run(Pair(how, swapped)) for swapped in (False, True, False)]
    first, second, third = cap.calls
    assert first.record.program == third.record.program != second.record.program
    with probe.capture(out, data="full", strict=True) as alone:
        _run(Pair(how, True))
    assert second.program is not None
    assert second.program.text() == alone.programs[0].text()
    assert np.array_equal(second.program.replay().results["monitors/x"], seen[1])


class CallingBack(eras.DynamicalSystem):
    """A model that calls back into Python at each step."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))
        self.factor = factor

    def update(self, *_: Any) -> None:
        """Scale the Variable with NumPy."""
        factor = self.factor

        def scale(x: Any) -> Any:
            return np.asarray(x * factor, np.float32)

        result_type = jax.ShapeDtypeStruct((3,), np.float32)
        self.x.value = jax.pure_callback(scale, result_type, bm.as_jax(self.x))


def test_models_with_other_callbacks_have_other_programs(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        for factor in (2.0, 3.0, 2.0):
            _run(CallingBack(factor))
    assert [call.record.program for call in cap.calls] == [0, 1, 0]
    assert len({program.fingerprint for program in cap.programs}) == 2


def test_functions_with_the_same_code_and_values_are_equal() -> None:
    def scaled(factor: object) -> Callable[[float], object]:
        return lambda x: (x, factor)

    shared = [1.0]
    assert callable_key(scaled(2.0)) == callable_key(scaled(2.0))
    assert callable_key(scaled(shared)) == callable_key(scaled(shared))
    assert callable_key(scaled((1, "a"))) == callable_key(scaled((1, "a")))
    for first, second in [(2.0, 3.0), (1, True), (1, 1.0), ([1.0], [1.0]), (0.0, -0.0)]:
        assert callable_key(scaled(first)) != callable_key(scaled(second)), (first, second)
    assert callable_key(scaled(1).__call__) != callable_key(scaled(2).__call__)
    assert callable_key(lambda x: x) != callable_key(lambda x: x)


@pytest.mark.skipif(not eras.SINCE_2_7, reason="before 2.7, no equation has the flag")
def test_another_generator_setting_is_another_program(out: Path) -> None:
    class Noisy(eras.DynamicalSystem):
        def __init__(self) -> None:
            super().__init__()
            self.x = bm.Variable(bm.zeros(3))

        def update(self, *_: Any) -> None:
            self.x.value = bm.random.normal(size=3)

    with probe.capture(out, strict=True) as cap:
        _run(Noisy())
        with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
            _run(Noisy())
    assert [call.record.program for call in cap.calls] == [0, 1]


# --- Inside a transformation ------------------------------------------------------------------


class Held(eras.DynamicalSystem):
    """A model that holds a value that may be a tracer of an outer trace."""

    def __init__(self, tau: Any) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))
        self.tau = tau

    def update(self, *_: Any) -> None:
        """Decay."""
        self.x.value = bm.as_jax(self.x) * 0.9 + 0.1 / self.tau


def _simulate(tau: Any, jit: bool = True) -> Any:
    runner = bp.DSRunner(
        Held(tau), monitors=["x"], progress_bar=False, numpy_mon_after_run=False, jit=jit
    )
    runner.run(DURATION)
    return bm.as_jax(runner.mon["x"])


TRANSFORMED: dict[str, Callable[[], Any]] = {
    "vmap": lambda: jax.vmap(_simulate)(jnp.linspace(5.0, 10.0, 4)),
    "grad": lambda: jax.grad(lambda tau: _simulate(tau).sum())(5.0),
    "jit": lambda: jax.jit(lambda tau: _simulate(tau))(5.0),
    "vmap, step by step": lambda: jax.vmap(lambda tau: _simulate(tau, jit=False))(jnp.ones(2)),
    "vectorized by BrainPy": lambda: bp.running.jax_vectorize_map(
        _simulate, {"tau": bm.arange(1.0, 5.0)}, num_parallel=2
    ),
}


@pytest.mark.parametrize("data", ["none", "full"])
@pytest.mark.parametrize("name", TRANSFORMED)
def test_run_inside_a_transformation_has_one_reason(name: str, data: str, out: Path) -> None:
    expected = TRANSFORMED[name]()
    with (
        pytest.warns(probe.ProbeWarning, match="inside another JAX transformation"),
        probe.capture(out, data=data, trace_eager=True) as cap,
    ):
        seen = TRANSFORMED[name]()
    assert np.array_equal(bm.as_jax(seen), bm.as_jax(expected))
    assert {call.failure and call.failure.kind for call in cap.calls} == {"InsideTransformation"}
    assert not cap.programs
    assert not list(cap.path.glob("programs/*"))
