"""Failures of the probe are recorded and stop no run."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import brainpy as bp
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.format.folder import RunFolder
from tests.eras import DynamicalSystem
from tests.networks import by_name


class Sealed:
    """A pytree that JAX can flatten but not unflatten."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _fail_to_unflatten(_: Any, __: Any) -> Sealed:
    raise RuntimeError("sealed")


jax.tree_util.register_pytree_node(
    Sealed, lambda sealed: ((sealed.value,), None), _fail_to_unflatten
)


class SealingRunner(bp.DSRunner):
    """A runner whose outputs are a `Sealed` pytree."""

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        outputs, monitors = super()._predict(*args, **kwargs)
        return Sealed(outputs), monitors


def test_a_result_that_cannot_be_copied_stops_no_run(out: Path) -> None:
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


def test_strict_raises_for_a_result_that_cannot_be_copied(out: Path) -> None:
    runner = SealingRunner(by_name("lif").build().target, inputs=("input", 20.0))
    with (
        pytest.raises(probe.ProbeError, match="sealed"),
        probe.capture(out, strict=True) as cap,
    ):
        runner.run(2.0)
    assert runner.i0 == 20
    assert len(cap.calls) == 1


class Doubling(DynamicalSystem):
    """A model without Variables: only its inputs can be tracers of an outer trace."""

    def update(self, x: Any) -> Any:
        return 2.0 * x


def test_a_run_within_a_transformation_has_no_program(out: Path) -> None:
    runner = bp.DSRunner(Doubling(), progress_bar=False, numpy_mon_after_run=False)
    with pytest.warns(probe.ProbeWarning, match="inside another"), probe.capture(out) as cap:
        doubled = jax.jit(lambda xs: runner.run(inputs=xs))(np.ones(5, np.float32))
    assert np.array_equal(doubled, np.full(5, 2.0, np.float32))
    assert not cap.programs
    assert not list(cap.path.glob("programs/*"))


def test_a_removed_folder_is_reported_and_not_created_again(out: Path) -> None:
    case = by_name("lif")
    runner = case.build()

    def block() -> probe.Capture:
        with probe.capture(out) as cap:
            case.run(runner)
            shutil.rmtree(cap.path)
            case.run(runner)
        return cap

    with pytest.warns(probe.ProbeWarning, match="removed or moved"):
        cap = block()
    assert runner.i0 == 200
    assert not cap.path.exists()
    assert not cap.manifest.complete


def test_removed_files_are_reported_when_the_capture_ends(out: Path) -> None:
    case = by_name("lif")

    def block() -> probe.Capture:
        with probe.capture(out) as cap:
            case.run(case.build())
            cap.programs[0].paths["stablehlo"].unlink()
        return cap

    with pytest.warns(probe.ProbeWarning, match="1 files in|Files in"):
        cap = block()
    assert probe.load(cap.path).manifest.complete


def test_an_error_of_the_first_manifest_is_raised_as_it_is(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", fail)
    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(Exception, match="No space left on device"), probe.capture(out):
        pass
    monkeypatch.undo()
    assert list(out.glob("*/manifest.json")) == []


def test_a_failed_write_of_a_call_is_repeated_with_the_next(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = by_name("lif")
    runner = case.build()

    def fail_to_write(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def block() -> probe.Capture:
        with probe.capture(out) as cap:
            with monkeypatch.context() as patch:
                patch.setattr(RunFolder, "append", fail_to_write)
                case.run(runner)
            assert cap.calls == ()
            case.run(runner)
        return cap

    with pytest.warns(probe.ProbeWarning, match="Input/output"):
        cap = block()
    first, second = probe.load(cap.path).calls
    assert first.program is None
    assert first.failure is not None
    assert "Input/output" in first.failure.message
    assert (first.model, first.steps) == ("LIF", 100)
    assert second.program is not None
    lost = cap.manifest.lost_modules
    assert lost
    assert f"! {lost[0].name} was compiled" in str(cap)
