"""The probe raises nothing into a run, and a failing private name costs only its own result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.compat import (
    brainpy_runner,
    brainpy_transforms,
    jax_compiler,
    jax_tracing,
    lookup,
    versions,
)
from brainpy_probe.compat.lookup import PrivateName
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.modules import compiler_hooks, phase_events
from tests.eras import SINCE_2_4, SINCE_2_7, DynamicalSystem

MISSING = "jax._src.core:there_is_no_such_name"


class Decay(DynamicalSystem):
    """A model that halves its state at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))

    def update(self) -> Any:
        self.x.value = self.x * 0.5
        return self.x.value


def _run(model: Any) -> Any:
    runner = bp.DSRunner(model, monitors=["x"], progress_bar=False)
    runner.run(0.35)
    return runner.mon["x"][:, 0].tolist()


@pytest.mark.parametrize("name", sorted(versions.expected()))
def test_a_missing_private_name_is_reported_at_the_start(
    name: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_name = lookup.NAMES[name]
    monkeypatch.setitem(lookup.NAMES, name, dataclasses.replace(private_name, places=(MISSING,)))
    if private_name.optional:
        versions.resolve()
        return
    with (
        pytest.raises(probe.PrivateNameMissing, match=MISSING.partition(":")[0]),
        probe.capture(out),
    ):
        pytest.fail("the capture opened")
    assert not out.exists()


def test_all_missing_names_are_reported_in_one_error(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lookup.NAMES, "literal", PrivateName("JAX's literals", (MISSING,), ""))
    other = dataclasses.replace(lookup.NAMES["runner"], members=("predict", "no_such_method"))
    monkeypatch.setitem(lookup.NAMES, "runner", other)
    monkeypatch.setattr(versions, "expected", lambda: dict(lookup.NAMES))
    with pytest.raises(probe.PrivateNameMissing) as missing, probe.capture(out):
        pytest.fail("the capture opened")
    assert {"there_is_no_such_name", "no_such_method"} <= set(str(missing.value).split("'"))


def _fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("injected failure")


# Functions that the wrappers call within a run, and whether the call then has a program.
CALLED_IN_A_RUN: list[tuple[Any, str, bool]] = [
    (jax_tracing, "trace_state_clean", False),
    (brainpy_runner, "compiles_its_step", False),
    (brainpy_runner, "predict_arguments", not SINCE_2_4),
    (jax_tracing, "scan_arguments", not SINCE_2_4),
    (jax_compiler, "names_are_in_cache_keys", True),
    (scopes, "name_components", True),
    (scopes, "scope", True),
    (compiler_hooks, "_new_compilation", True),
    (phase_events, "_keep_phase", False),
    *([(brainpy_transforms, "scanned_function", False)] if SINCE_2_7 else []),
]


@pytest.mark.filterwarnings("ignore::brainpy_probe.ProbeWarning")
@pytest.mark.parametrize(
    ("owner", "name", "captured"), CALLED_IN_A_RUN, ids=lambda value: str(value)
)
def test_a_failure_in_a_wrapper_does_not_stop_the_run(
    owner: Any, name: str, captured: bool, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with probe.capture(out) as cap:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, _fail)
            values = _run(Decay())
        assert values == [0.5, 0.25, 0.125]
        assert _run(Decay()) == values, "another result without the failure"
    broken, whole = cap.calls
    assert broken.error is None
    assert (broken.program is not None) == captured, broken.failure
    assert whole.program is not None
    assert whole.failure is None


def test_a_failing_listener_stops_no_compilation(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase_events, "_keep_phase", _fail)
    with pytest.warns(probe.ProbeWarning, match="injected failure"), probe.capture(out):
        assert float(jax.jit(lambda x: x * 3.0)(np.float32(2.0))) == 6.0


def test_a_failure_to_name_components_is_noted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "name_components", _fail)
    with probe.capture(out, strict=True) as cap:
        _run(Decay())
    (program,) = cap.programs
    assert program.record.components == {}
    (note,) = (note for note in program.fidelity.notes if "injected failure" in note)
    assert note.startswith("Some objects of the model could not be named")


def test_a_failure_to_name_variables_keeps_the_program(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes, "read_components", _fail)
    with probe.capture(out, strict=True) as cap:
        _run(Decay())
    (program,) = cap.programs
    assert "state" in {spec.role for spec in program.arguments}
    assert any("injected failure" in note for note in program.fidelity.notes)


class FailingDict(dict[str, Any]):
    """A dictionary that raises when it is read."""

    def items(self) -> Any:
        raise RuntimeError("not open")


class Lazy:
    """An object whose `__dict__` raises."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("not loaded")


@dataclasses.dataclass(init=False, repr=False)
class Unhashable(bp.DSRunner):
    """A runner that compares by its fields and therefore has no hash."""


FAILING_OBJECTS: dict[str, Any] = {
    "failing dictionary": FailingDict(a=1),
    "object without a __dict__": Lazy(),
}


# BrainPy 2.3 itself calls the model's vars().
FAILING_NAMES = ["attribute called vars"] if SINCE_2_4 else []


@pytest.mark.parametrize("case", [*FAILING_OBJECTS, *FAILING_NAMES])
def test_objects_that_fail_on_inspection_prevent_no_capture(case: str, out: Path) -> None:
    model = Decay()
    name = "store" if case in FAILING_OBJECTS else "vars"
    object.__setattr__(model, name, FAILING_OBJECTS.get(case, {"tau": 1.0}))
    with probe.capture(out, strict=True) as cap:
        values = _run(model)
    assert values == [0.5, 0.25, 0.125]
    assert "x" in {spec.name for spec in cap.programs[0].arguments}


def test_a_runner_without_a_hash_is_captured(out: Path) -> None:
    runner = Unhashable(Decay(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.2)
        runner.run(0.2)
    assert len(cap.programs) == 1
