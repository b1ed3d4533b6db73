"""Runs without jit: the model's Python code runs once, unless the user asks for a trace."""

from __future__ import annotations

import array
import contextvars
import io
import itertools
import os
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest
import xxhash

import brainpy_probe as probe
from brainpy_probe.recording.tracing import eager
from tests.eras import SINCE_2_4, DynamicalSystem
from tests.replaying import Replayer

COUNTED = contextvars.ContextVar("counted", default=0)


class Counting(DynamicalSystem):
    """A model whose step counts its calls in objects that a trace could not restore."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(1))
        self.bytes, self.array, self.text = bytearray(), array.array("i"), io.StringIO()
        self.file = tempfile.TemporaryFile("w")  # noqa: SIM115 - it lives as long as the model
        self.reader, self.writer = os.pipe()
        self.items, self.generator = (itertools.count(),), (n for n in itertools.count())
        count, generator = itertools.count(), self.generator

        def draw() -> tuple[int, int]:
            return next(count), next(generator)

        def record_call() -> None:
            vars(record_call)["calls"] = vars(record_call).get("calls", 0) + 1

        self.draw, self.record_call = draw, record_call
        COUNTED.set(0)
        os.environ["COUNTED"] = "0"

    def update(self) -> Any:
        self.bytes.append(1)
        self.array.append(1)
        self.text.write("x")
        self.file.write("x")
        os.write(self.writer, b"x")
        self.record_call()
        COUNTED.set(COUNTED.get() + 1)
        os.environ["COUNTED"] = str(int(os.environ["COUNTED"]) + 1)
        self.x.value = self.x * 0.0 + next(self.items[0]) + sum(self.draw())
        return self.x.value

    def counted(self) -> dict[str, int]:
        return {
            "bytearray": len(self.bytes),
            "array": len(self.array),
            "StringIO": len(self.text.getvalue()),
            "file": self.file.tell(),
            "pipe": len(os.read(self.reader, 100)),
            "attribute of a function": vars(self.record_call)["calls"],
            "context variable": COUNTED.get(),
            "environment": int(os.environ["COUNTED"]),
        }


def _runner(model: Any, **options: Any) -> bp.DSRunner:
    return bp.DSRunner(model, monitors=["x"], progress_bar=False, **options)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, probe.Capture]:
    """Return the values of a plain run of three steps, those of a captured one, and the capture."""
    plain, probed = _runner(Counting(), jit=False), _runner(Counting(), jit=False)
    values = []
    plain.run(0.35)
    values.append((plain.mon["x"].tolist(), plain.target.counted()))
    COUNTED.set(0)
    os.environ["COUNTED"] = "0"
    with probe.capture(tmp_path_factory.mktemp("eager"), strict=True) as cap:
        probed.run(0.35)
    values.append((probed.mon["x"].tolist(), probed.target.counted()))
    return *values, cap


def test_the_python_of_a_run_without_jit_runs_once(counted: Any) -> None:
    plain, probed, _ = counted
    assert probed == plain
    assert set(probed[1].values()) == {3}


def test_a_run_without_jit_is_a_call_without_a_program(counted: Any) -> None:
    *_, cap = counted
    (call,) = cap.calls
    assert (call.program, call.failure, call.error, call.steps) == (None, None, None, 3)
    assert not call.record.jit
    assert cap.programs == ()


def test_the_finding_names_trace_eager_and_its_cost(counted: Any) -> None:
    *_, cap = counted
    (finding,) = (finding for finding in cap.findings if finding.slug == "jit-disabled")
    assert "no program was captured" in finding.sentence
    assert "capture(trace_eager=True)" in finding.remedy
    assert "once more" in finding.remedy
    with pytest.raises(probe.ProbeError, match="trace_eager=True"):
        cap.text  # noqa: B018 - a property


def test_trace_eager_traces_the_step(out: Path) -> None:
    runner = _runner(_Decay(), jit=False)
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        runner.run(0.35)
    (call,) = cap.calls
    assert call.program is not None
    assert call.program.kind == "step"
    (finding,) = (finding for finding in cap.findings if finding.slug == "jit-disabled")
    assert "trace_eager" not in finding.remedy


class _Decay(DynamicalSystem):
    """A model with a simple step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))

    def update(self) -> Any:
        self.x.value = self.x * 0.5
        return self.x.value


def _bpff(**options: Any) -> Callable[[], Any]:
    dense: Any = bp.dnn.Dense if SINCE_2_4 else bp.layers.Dense  # type: ignore[attr-defined]
    with bm.training_environment():
        model = dense(3, 2)
    trainer = bp.BPFF(
        model,
        loss_fun=lambda p, y: bm.mean((p - y) ** 2),
        optimizer=bp.optim.Adam(lr=0.01, train_vars=model.train_vars().unique()),
        progress_bar=False,
        **options,
    )
    return lambda: trainer.predict(np.ones((4, 3), np.float32))


def test_a_trainer_without_jit_is_a_call_without_a_program(out: Path) -> None:
    predict = _bpff(jit=False)
    with probe.capture(out, strict=True) as cap:
        predict()
    (call,) = cap.calls
    assert (call.program, call.failure, call.record.jit) == (None, None, False)
    assert "jit-disabled" in {finding.slug for finding in cap.findings}


# --- A step that was traced before ----------------------------------------------------------------

GAIN = 0.5
MODULE = types.ModuleType("user_settings")
vars(MODULE)["gain"] = 0.5


def _halved(x: Any) -> Any:
    return x * 0.5


def _tripled(x: Any) -> Any:
    return x * 3.0


HELPER = [_halved]


class Dependent(DynamicalSystem):
    """A model whose step depends on attributes, globals, closures, modules and functions."""

    factor = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))
        self.leak = 0.5
        self.table = {"deep": [0.5]}
        self.weights = np.full(3, 0.5, np.float32)
        self.array = bm.Array(np.full(3, 0.5, np.float32))
        self.mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("neurons",))
        self.sharding = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec())
        held = 0.5

        def closure(value: float | None = None) -> float:
            nonlocal held
            held = held if value is None else value
            return held

        self.closure = closure

    def update(self) -> Any:
        shared: Any = bp.share
        x = self.x * self.leak * self.table["deep"][0] * self.factor * self.closure() * GAIN
        x = HELPER[0](x * MODULE.gain) * self.weights + self.array
        self.x.value = x + (shared["more"] if "more" in shared.get_shargs() else 0.0)
        return self.x.value


def _set_global(name: str, value: Any) -> None:
    globals()[name] = value


CHANGES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda model: setattr(model, "leak", 0.25),
    "sign of zero": lambda model: setattr(model, "leak", -0.0),
    "type of a number": lambda model: setattr(model, "leak", 1),
    "item": lambda model: model.table["deep"].__setitem__(0, 0.25),
    "class attribute": lambda _: setattr(Dependent, "factor", 0.25),
    "closure": lambda model: model.closure(0.25),
    "global": lambda _: _set_global("GAIN", 0.25),
    "module": lambda _: vars(MODULE).update(gain=0.25),
    "function": lambda _: HELPER.__setitem__(0, _tripled),
    "array in place": lambda model: model.weights.__setitem__(1, 0.25),
    "BrainPy array": lambda model: setattr(model.array, "value", bm.zeros(3).value),
    "sharding": lambda model: setattr(
        model,
        "sharding",
        jax.sharding.NamedSharding(model.mesh, jax.sharding.PartitionSpec("neurons")),
    ),
}


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that gets a call for each trace of a step."""
    traced_calls: list[Any] = []
    trace = eager._trace

    def counting(call: Any, *args: Any) -> Any:
        traced_calls.append(call)
        return trace(call, *args)

    monkeypatch.setattr(eager, "_trace", counting)
    return traced_calls


@pytest.fixture
def restored_globals() -> Iterator[None]:
    """Restore the globals that CHANGES changes."""
    yield
    Dependent.factor = 0.5
    _set_global("GAIN", 0.5)
    vars(MODULE)["gain"] = 0.5
    HELPER[0] = _halved


@pytest.mark.usefixtures("restored_globals")
@pytest.mark.parametrize("change", CHANGES)
def test_a_step_is_traced_again_after_a_change(change: str, out: Path, traces: list[Any]) -> None:
    runner = bp.DSRunner(Dependent(), monitors=["x"], jit=False, progress_bar=False)
    with probe.capture(out, data="full", trace_eager=True, strict=True) as cap:
        runner.run(0.1)
        runner.run(0.1)
        count = len(traces)
        runner.run(0.1)
        assert len(traces) == count, "traced again without a change"
        CHANGES[change](runner.target)
        before = np.asarray(runner.target.x.value)
        runner.run(0.1)
    assert len(traces) == count + 1
    last = cap.calls[3]
    assert last.program is not None
    # The arrays in the capture are those of the program's first call.
    arrays = last.program.data()
    model = runner.target
    for name, value in {"weights": model.weights, "array": model.array.value}.items():
        arrays[f"constants/{name}"] = np.asarray(value)
        digest = xxhash.xxh3_128_hexdigest(np.asarray(value).tobytes())
        assert last.digests[f"in/constants/{name}"] == digest, "the digest of this call's own array"
    arrays["state/x"] = before
    made = Replayer(last.program, "stablehlo")(arrays)
    np.testing.assert_allclose(made["state/x"], np.asarray(runner.target.x.value), rtol=1e-6)


@pytest.mark.usefixtures("restored_globals")
def test_a_known_step_has_the_digests_of_each_call(out: Path, traces: list[Any]) -> None:
    runner = bp.DSRunner(Dependent(), monitors=["x"], jit=False, progress_bar=False)
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        for _ in range(4):
            runner.run(0.1)
    assert len(traces) <= 2, (
        "objects that BrainPy creates in its first run may cause a second trace"
    )
    assert len(cap.programs) == 1
    digests = [call.digests["in/state/x"] for call in cap.calls]
    assert len(set(digests)) == 4


class Impure(DynamicalSystem):
    """A model whose step depends on a value that the probe cannot inspect."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))
        self.draw = draw

    def update(self) -> Any:
        self.x.value = self.x + self.draw()
        return self.x.value


def _clock() -> float:
    return time.time()


def _imported() -> float:
    import platform

    return float(len(platform.node()))


def _counter() -> Callable[[], float]:
    count = itertools.count()
    return lambda: float(next(count))


@pytest.mark.parametrize(
    ("draw", "reason"),
    [
        (_clock, "it uses time"),
        (_imported, "it uses platform"),
        (_counter(), "it depends on an object of itertools.count"),
        (lambda: float(np.random.default_rng().random()), "NumPy"),
        (lambda: float(np.random.rand()), ""),
    ],
    ids=["clock", "import", "iterator", "entropy", "global random numbers"],
)
def test_a_step_that_cannot_be_compared_is_always_traced(
    draw: Callable[[], float], reason: str, out: Path, traces: list[Any]
) -> None:
    runner = bp.DSRunner(Impure(draw), jit=False, progress_bar=False)
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        for _ in range(3):
            runner.run(0.1)
    assert len(traces) == 3
    notes = cap.programs[0].fidelity.notes
    assert any(note.startswith("The step is traced at every call") for note in notes) == bool(
        reason
    )
    assert any(reason in note for note in notes)
