"""Loops, conditions and jitted functions without a runner are calls with programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.verify.api import verify
from tests import eras
from tests.watching import as_numpy

pytestmark = pytest.mark.every_stack

_leaves = jax.tree_util.tree_leaves
Idiom = Callable[["Net"], Any]


class Net(bp.DynamicalSystem):
    """A network with a constant, a state and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = bm.asarray(np.arange(4, dtype="float32"))
        self.x = bm.Variable(bm.zeros(4))
        self.rng = bm.random.RandomState(3)

    def update(self, *_: Any) -> Any:
        self.x.value = self.x * 0.9 + self.weight + self.rng.rand(4)
        return self.x.value


def _variables(net: Net) -> dict[str, Any]:
    """Return the argument by which a loop of BrainPy 2.3 gets its state."""
    return {} if eras.SINCE_2_4 else {"dyn_vars": net.vars().unique()}


def _for_loop(net: Net) -> Any:
    def body(i: Any) -> Any:
        return net.update() + i

    return bm.for_loop(body, bm.arange(20.0), **_variables(net))


def _jitted_steps(net: Net) -> Any:
    def step(factor: Any) -> Any:
        return net.update() * factor

    jitted = bm.jit(step, **_variables(net))
    return [jitted(2.0) for _ in range(5)]


def _loop_over_time(net: Net) -> Any:
    return bp.LoopOverTime(net)(bm.zeros((5, 4)))


def _integrator_runner(_: Net) -> Any:
    def voltage(v: Any, t: Any, w: Any) -> Any:
        return v - v**3 / 3 - w + 0.8

    def recovery(w: Any, t: Any, v: Any) -> Any:
        return (v + 0.7 - 0.8 * w) / 12.5

    runner = bp.IntegratorRunner(
        bp.odeint(bp.JointEq([voltage, recovery]), method="rk4"),
        monitors=["v"],
        inits={"v": 0.1, "w": 0.2},
        dt=0.1,
        progress_bar=False,
    )
    runner.run(2.0)
    return runner.mon.v


def _scan(net: Net) -> Any:
    import brainstate

    def body(total: Any, factor: Any) -> Any:
        return total + net.update() * factor, total

    return brainstate.transform.scan(body, np.zeros(4, "float32"), np.arange(9.0, dtype="float32"))


def _while_loop(net: Net) -> Any:
    import brainstate

    return brainstate.transform.while_loop(
        lambda n: n < 5, lambda n: n + (net.update()[0] > -1), np.int32(0)
    )


def _checkpointed(net: Net) -> Any:
    import brainstate

    return brainstate.transform.checkpointed_for_loop(
        lambda i: net.update() * i, bm.as_jax(bm.arange(9.0))
    )


def _cond(net: Net) -> Any:
    import brainstate

    return brainstate.transform.cond(True, net.update, lambda: net.x.value)


_IDIOMS: dict[str, tuple[Idiom, str, str]] = {
    "for_loop": (_for_loop, "loop", "_for_loop.body"),
    "jit": (_jitted_steps, "jit", "_jitted_steps.step"),
    "integrator-runner": (
        _integrator_runner, "loop", "IntegratorRunner._step_fun_integrator"
    ),
}  # fmt: skip
if eras.SINCE_2_4:
    _IDIOMS["loop-over-time"] = _loop_over_time, "loop", "LoopOverTime._run"
if eras.SINCE_2_7:
    _IDIOMS |= {
        "scan": (_scan, "loop", "_scan.body"),
        "while_loop": (_while_loop, "loop", "_while_loop.<lambda>"),
        "checkpointed_for_loop": (_checkpointed, "loop", "_checkpointed.<lambda>"),
        "cond": (_cond, "cond", "Net.update"),
    }


def _run(idiom: Idiom) -> tuple[list[Any], list[Any]]:
    """Return the results of an idiom, and the state after it."""
    net = Net()
    results = [np.asarray(leaf) for leaf in _leaves(idiom(net))]
    return results, [as_numpy(net.x), as_numpy(net.rng.value)]


@pytest.fixture(params=_IDIOMS)
def idiom(request: pytest.FixtureRequest) -> str:
    """Return the name of an idiom."""
    return str(request.param)


def test_an_idiom_without_a_runner_is_a_proved_call(idiom: str, out: Path) -> None:
    run, kind, name = _IDIOMS[idiom]
    expected = _run(run)
    with probe.capture(out, data="full", strict=True) as cap:
        found = _run(run)
    for plain, captured in zip(_leaves(expected), _leaves(found), strict=True):
        np.testing.assert_array_equal(plain, captured)
    (call,) = cap.calls
    assert (call.kind, call.name, call.failure) == (kind, name, None)
    assert call.steps == {"for_loop": 20, "scan": 9}.get(idiom, call.steps)
    assert call.program is not None
    if idiom != "integrator-runner":
        arguments = {spec.path for spec in call.program.arguments}
        assert {"constants/weight", "state/x", "state/rng"} <= arguments
        assert call.program.record.components == {"Net": "Net"}
    checks = verify(cap.path, limits=None).checks
    (replayed,) = (check for check in checks if check.name == "replay")
    assert "results, bit for bit" in replayed.reason
    failed = [check for check in checks if check.outcome in ("failed", "undecided")]
    # Not every expression of an inner loop can be evaluated.
    assert [check for check in failed if check.name != "equations"] == []


def test_repeated_calls_of_a_jitted_step_are_one_counted_call(out: Path) -> None:
    net = Net()
    step = bm.jit(net.update, **_variables(net))
    step()
    with probe.capture(out, data="full") as cap:
        for _ in range(100):
            step()
    (call,) = cap.calls
    np.testing.assert_array_equal(call.last_state()["state/x"], as_numpy(net.x))
    assert call.count == 100
    assert call.total_seconds > 50 * call.median_seconds > 0
    assert probe.load(cap.path).calls[0].count == 100


@pytest.mark.skipif(not eras.SINCE_2_7, reason="brainstate exists from 2.7 on")
def test_a_jitted_function_that_raises_is_recorded(out: Path) -> None:
    import brainstate

    net = Net()

    def failing() -> Any:
        net.update()
        raise RuntimeError("raised in the trace")

    with probe.capture(out) as cap:
        with pytest.raises(RuntimeError, match="raised in the trace"):
            brainstate.transform.jit(failing)()
        brainstate.transform.jit(net.update)()
    traced, last = cap.calls
    assert traced.error is not None
    assert traced.error.message == "raised in the trace"
    assert last.error is None
    assert last.program is not None


def test_functions_without_state_are_named_once(out: Path) -> None:
    def simulated(x: Any) -> Any:
        return x + 1

    def loss(x: Any) -> Any:
        return (x**2).sum()

    with probe.capture(out, strict=True) as cap:
        x = jax.numpy.arange(3.0)
        for _ in range(2):
            bm.jit(simulated)(2.0)
        jax.jit(jax.grad(loss))(x)
        jax.jit(loss)(jax.numpy.ones(2))
        jax.lax.fori_loop(0, 3, lambda i, n: n + i, 0)
        jax.lax.cond(True, simulated, lambda x: x, x)
        # Functions of libraries, which are jitted as well.
        jax.numpy.linalg.norm(jax.numpy.sort(x))
        bp.init.Normal()((3,))
    assert cap.calls == ()
    prefix = "test_functions_without_state_are_named_once"
    found = {kind.idiom: (kind.count, kind.functions) for kind in cap.manifest.uncaptured}
    assert found == {
        "jitted function without BrainPy state": (2, (f"{prefix}.simulated", f"{prefix}.loss")),
        "loop without BrainPy state": (1, (f"{prefix}.<lambda>",)),
        "condition without BrainPy state": (1, (f"{prefix}.simulated",)),
    }
    assert "not captured: 2 jitted functions without BrainPy state were" in str(cap)


@pytest.mark.skipif(eras.SINCE_2_7, reason="from 2.7 on it is a call")
def test_an_uncaptured_loop_of_brainpy_is_listed(out: Path) -> None:
    net = Net()

    def step(n: Any) -> Any:
        net.update()
        return n + 1

    with probe.capture(out, strict=True) as cap:
        bm.while_loop(step, lambda n: n < 3, 0, **_variables(net))
    (found,) = cap.manifest.uncaptured
    assert found.idiom == "bm.while_loop run without a runner"
    assert found.functions == ("test_an_uncaptured_loop_of_brainpy_is_listed.step",)


@pytest.mark.skipif(not eras.SINCE_2_7, reason="brainstate exists from 2.7 on")
def test_uncaptured_transformations_are_listed_once(out: Path) -> None:
    import brainstate

    weight = brainstate.ParamState(np.ones(3, "float32"))

    def loss() -> Any:
        return (weight.value**2).sum()

    with probe.capture(out) as cap:
        for _ in range(3):
            brainstate.transform.grad(loss, {"weight": weight})()
        brainstate.transform.vmap(lambda x: brainstate.transform.jit(lambda: x + 1)())(np.ones(2))
    assert cap.calls == ()
    text = str(cap)
    assert text.count("not captured: gradient outside of a jitted function, 3 times") == 1
    assert "not captured: loop or jitted function inside another transformation" in text


@pytest.mark.skipif(not eras.SINCE_2_7, reason="brainstate exists from 2.7 on")
def test_a_donated_argument_is_noted(out: Path) -> None:
    import brainstate

    net = Net()
    step = brainstate.transform.jit(lambda a: net.update() + a, donate_argnums=0)
    for _ in range(2):
        step(jax.numpy.ones(4))
    with probe.capture(out, data="full", strict=True) as cap:
        step(jax.numpy.ones(4))
    (call,) = cap.calls
    assert any("took over the memory of a " in note for note in call.record.notes)
    assert call.program is not None
    with pytest.raises(probe.ProbeError, match="no value of inputs/a"):
        call.program.replay()


@pytest.mark.skipif(not eras.SINCE_2_7, reason="brainstate exists from 2.7 on")
def test_a_counted_call_that_compiles_starts_a_new_one(out: Path) -> None:
    import brainstate

    net = Net()
    step = brainstate.transform.jit(net.update)
    for _ in range(2):
        step()
    with probe.capture(out, strict=True) as cap:
        for _ in range(3):
            step()
        jax.clear_caches()
        for _ in range(2):
            step()
    assert [call.count for call in cap.calls] == [3, 2]
    assert [len(call.modules) for call in cap.calls] == [0, 1]
    assert len(cap.programs) == 1


class Experiment:
    """A user's object that holds a model and is no component itself."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def step(self, factor: Any) -> Any:
        return self.net.update() * factor


@pytest.mark.skipif(not eras.SINCE_2_4, reason="bm.jit has static arguments from 2.4 on")
def test_a_jitted_method_finds_the_model_of_its_object(out: Path) -> None:
    # bm.cls_jit does the same.
    step = bm.jit(Experiment.step, static_argnums=0)
    with probe.capture(out, strict=True) as cap:
        step(Experiment(Net()), 2.0)
    (call,) = cap.calls
    found = {spec.path for spec in call.program.arguments}
    prefix = "Experiment.net"
    assert found == {
        "inputs/factor",
        *(f"constants/{prefix}.weight", f"state/{prefix}.x", f"state/{prefix}.rng"),
    }


@pytest.mark.skipif(not eras.SINCE_2_7, reason="brainstate exists from 2.7 on")
def test_a_bound_method_from_before_the_patches_has_a_name(out: Path) -> None:
    import brainstate

    class Layer(brainstate.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = brainstate.ShortTermState(np.zeros(3, "float32"))

        def update(self, factor: Any) -> Any:
            self.x.value = self.x.value * factor
            return self.x.value

    layer = Layer()
    with probe.capture(out, strict=True) as cap:
        for _ in range(2):
            brainstate.transform.for_loop(layer.update, np.ones(4, "float32"))
    assert len(cap.programs) == 1
    assert "~Layer/mul" in cap.text


class Cable(NamedTuple):
    """A named tuple of quantities."""

    resistance: Any


@dataclasses.dataclass(slots=True)
class Scale:
    """An object with ``__slots__``."""

    factor: Any
    cable: Cable


@pytest.mark.skipif(not eras.SINCE_2_7, reason="quantities exist from 2.7 on")
def test_units_are_recorded_by_name(out: Path) -> None:
    import brainstate
    import brainunit as u

    voltage = brainstate.ShortTermState(np.zeros(3, "float32") * u.mV)
    ohms = jax.numpy.arange(3.0) * u.ohm
    scale = Scale(jax.numpy.full(3, 2.0), Cable(ohms))

    def step(current: Any) -> Any:
        factor = scale.factor * np.asarray([1, 2, 4], "float32")
        voltage.value = voltage.value + current * scale.cable.resistance * factor
        return voltage.value

    with probe.capture(out, strict=True) as cap:
        brainstate.transform.for_loop(step, np.ones(4, "float32") * u.mA)
    program = cap.programs[0]
    found = {spec.path: spec.unit for spec in (*program.arguments, *program.results)}
    assert found == {
        "constants/unnamed": "",
        "constants/scale.factor": "",
        "constants/scale.cable.resistance": "ohm",
        "state/voltage": "mV",
        "inputs/current": "mA",
        "outputs/outputs": "mV",
    }


class Refusing:
    """An object whose ``__class__`` raises."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no class")


def test_an_object_that_fails_on_inspection_is_skipped(out: Path) -> None:
    net, refusing = Net(), Refusing()

    def step(i: Any) -> Any:
        assert refusing is not None
        return net.update() + i

    with probe.capture(out) as cap:
        bm.for_loop(step, bm.arange(5.0), **_variables(net))
    (call,) = cap.calls
    assert call.program is not None
    assert any("could not be named" in note for note in call.program.fidelity.notes)
