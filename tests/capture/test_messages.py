"""Warnings about the probe's failures: location, content and count."""

from __future__ import annotations

import errno
import inspect
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.recording.modules.log import ModuleLog
from tests import eras
from tests.eras import DynamicalSystem


class Decay(DynamicalSystem):
    """A model that halves its state at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))

    def update(self) -> Any:
        self.x.value = self.x * 0.5
        return self.x.value


def _runner() -> bp.DSRunner:
    return bp.DSRunner(Decay(), progress_bar=False)


def _fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("deep trouble")


def _full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def _current_line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_warning_points_at_the_users_line(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModuleLog, "record", _fail)
    runner = _runner()
    with warnings.catch_warnings(record=True) as seen, probe.capture(out):
        warnings.simplefilter("always")
        lines = [_current_line() + 1]
        jax.jit(lambda x: x + np.float32(lines[0]))(1.0)
        monkeypatch.setattr(ModuleLog, "record", lambda *_, **__: 1 / 0)
        lines.append(_current_line() + 1)
        runner.run(1.0)
    probe_warnings = [warning for warning in seen if warning.category is probe.ProbeWarning]
    assert [(warning.filename, warning.lineno) for warning in probe_warnings[:2]] == [
        (__file__, n) for n in lines
    ]


def test_a_warning_names_the_place_of_the_traceback(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModuleLog, "record", _fail)
    with warnings.catch_warnings(record=True) as seen, probe.capture(out) as cap:
        warnings.simplefilter("always")
        jax.jit(lambda x: x + 2.0)(1.0)
    message = str(seen[0].message)
    is_written = any("deep trouble" in file.read_text() for file in cap.path.iterdir())
    assert (f"The traceback is in {cap.path}" in message) == is_written
    assert is_written or f"raised at {__file__}" in message


def test_a_repeated_failure_is_counted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = _runner()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with probe.capture(out):
            monkeypatch.setattr(RunFolder, "append", _full)
            for _ in range(3):
                runner.run(1.0)
    first, last = (
        str(warning.message) for warning in seen if warning.category is probe.ProbeWarning
    )
    assert "No space left on device" in first
    assert "Free some space" in first
    assert last == "The probe failed 3 times: OSError: [Errno 28] No space left on device"


def test_lost_calls_are_not_reported_as_no_model_run(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = _runner()
    with warnings.catch_warnings(), probe.capture(out) as cap:
        warnings.simplefilter("ignore")
        monkeypatch.setattr(RunFolder, "append", _full)
        monkeypatch.setattr(RunFolder, "write_manifest", _full)
        runner.run(1.0)
        assert "No model was run" not in str(cap)
    assert "No model was run" not in str(cap)
    with pytest.raises(probe.ProbeError) as caught:
        cap.text  # noqa: B018 - a property
    assert "no model was run" not in str(caught.value)


def test_a_summary_is_printed_to_an_ascii_terminal(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with probe.capture(out / "gr\u00f6\u00dfer") as cap:
        pass
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    print(cap, flush=True)  # noqa: T201 - printing is what is tested
    assert b"gr\\xf6\\xdfer" in content.getvalue()


@pytest.mark.parametrize(
    ("place", "remedy"),
    [("/proc/nowhere", "in which you may write"), ("x" * 300, "shorter name")],
    ids=["proc", "long"],
)
def test_a_folder_that_cannot_be_created_is_a_probe_error(
    place: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(probe.ProbeError, match=remedy) as caught, probe.capture(tmp_path / place):
        pytest.fail("the capture opened")
    assert place in str(caught.value)


def test_a_full_disk_is_a_probe_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFolder, "write_manifest", _full)
    with pytest.raises(probe.CannotWrite, match="Free some space") as caught, probe.capture(out):
        pytest.fail("the capture opened")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    assert not list(out.iterdir())


def test_a_long_name_is_truncated_in_paths(out: Path) -> None:
    name = "longer_than_any_file_may_be_called_" * 10

    def tripled(x: Any) -> Any:
        return x * 3.0

    model = type(name, (Decay,), {})()
    tripled.__name__ = tripled.__qualname__ = name
    with probe.capture(out, strict=True) as cap:
        jax.jit(tripled)(1.0)
        bp.DSRunner(model, progress_bar=False).run(0.2)
    (module,) = (module for module in cap.modules if module.name.startswith("jit_longer"))
    (program,) = cap.programs
    assert program.name == name
    for path in (*module.paths.values(), *program.paths.values()):
        assert path.is_file()
        assert max(map(len, path.parts)) < 200


def test_a_run_inside_a_transformation_is_no_failure(out: Path) -> None:
    runner = _runner()
    with warnings.catch_warnings(record=True) as seen, probe.capture(out, strict=True) as cap:
        warnings.simplefilter("always")
        eras.traced(lambda: runner.run(0.2))()
    assert [warning.category for warning in seen].count(probe.ProbeWarning) == 1
    assert {call.failure and call.failure.kind for call in cap.calls} == {"InsideTransformation"}
    assert "no program: predict ran inside another JAX transformation" in str(cap)
    assert "the probe failed" not in str(cap)


def test_a_program_that_cannot_be_measured_has_a_note(out: Path) -> None:
    class CallingBack(Decay):
        def update(self) -> Any:
            jax.debug.callback(lambda _: None, bm.as_jax(self.x))
            return super().update()

    runner = bp.DSRunner(CallingBack(), progress_bar=False)
    with probe.capture(out, profile=True, strict=True) as cap:
        runner.run(0.5)
    assert cap.calls[0].failure is None
    assert cap.programs[0].measured is None
    assert cap.programs[0].record.unmeasured
