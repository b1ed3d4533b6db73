"""A run without jit: nothing of the model's Python runs twice, unless the user asks for a trace."""

from __future__ import annotations

import array
import contextvars
import io
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import numpy as np
import pytest

import brainpy_probe as probe
from tests.eras import SINCE_2_4, DynamicalSystem

COUNTED = contextvars.ContextVar("counted", default=0)


class Counting(DynamicalSystem):
    """A model whose step counts itself in whatever a trace of it could not put back."""

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

        def called() -> None:
            vars(called)["calls"] = vars(called).get("calls", 0) + 1

        self.draw, self.called = draw, called
        COUNTED.set(0)
        os.environ["COUNTED"] = "0"

    def update(self) -> Any:
        self.bytes.append(1)
        self.array.append(1)
        self.text.write("x")
        self.file.write("x")
        os.write(self.writer, b"x")
        self.called()
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
            "attribute of a function": vars(self.called)["calls"],
            "context variable": COUNTED.get(),
            "environment": int(os.environ["COUNTED"]),
        }


def _runner(model: Any, **options: Any) -> bp.DSRunner:
    return bp.DSRunner(model, monitors=["x"], progress_bar=False, **options)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, probe.Capture]:
    """Return a plain run of three steps, the same in a capture, and that capture."""
    plain, probed = _runner(Counting(), jit=False), _runner(Counting(), jit=False)
    left = []
    plain.run(0.35)
    left.append((plain.mon["x"].tolist(), plain.target.counted()))
    COUNTED.set(0)
    os.environ["COUNTED"] = "0"
    with probe.capture(tmp_path_factory.mktemp("eager"), strict=True) as cap:
        probed.run(0.35)
    left.append((probed.mon["x"].tolist(), probed.target.counted()))
    return *left, cap


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


def test_the_finding_names_what_traces_it_and_its_price(counted: Any) -> None:
    *_, cap = counted
    (finding,) = (one for one in cap.findings if one.slug == "jit-disabled")
    assert "there is no program" in finding.sentence
    assert "capture(trace_eager=True)" in finding.remedy
    assert "once more" in finding.remedy
    with pytest.raises(probe.ProbeError, match="trace_eager=True"):
        cap.text  # noqa: B018 - a property


def test_the_step_is_traced_where_it_is_asked_for(out: Path) -> None:
    runner = _runner(_Decay(), jit=False)
    with probe.capture(out, trace_eager=True, strict=True) as cap:
        runner.run(0.35)
    (call,) = cap.calls
    assert call.program is not None
    assert call.program.kind == "step"
    (finding,) = (one for one in cap.findings if one.slug == "jit-disabled")
    assert "trace_eager" not in finding.remedy


class _Decay(DynamicalSystem):
    """A model whose step a test can look at."""

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
