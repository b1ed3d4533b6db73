"""Captured programs, compiled and run by IREE, a compiler that is independent of XLA."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import numpy as np
import pytest
from safetensors.numpy import load_file, save
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe.cli import app
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.reading import read_manifest
from brainpy_probe.verify import iree
from brainpy_probe.verify.api import verify
from brainpy_probe.verify.checks import Check
from brainpy_probe.verify.texts import check_texts, texts_of
from tests import eras
from tests.altering import alter, rewrite
from tests.networks import ABSENT
from tests.processes import run_script
from tests.replaying import captured, captured_with
from tests.sharing import made_once

pytestmark = pytest.mark.every_stack


def _checks(folder: Path, name: str) -> list[Check]:
    return [
        check for check in verify(folder, with_iree=True, limits=None).checks if check.name == name
    ]


# A loop, kernels, a delay, plasticity and a random state: other networks have the same operations.
NETWORKS = tuple(name for name in ("lif", "einet", "delay", "stdp", "noise") if name not in ABSENT)

_CAPTURE = """
import json, sys
import brainpy_probe as probe
from tests.networks import by_name

paths = {}
for name in sys.argv[2:]:
    case = by_name(name)
    runner = case.build()
    with probe.capture(sys.argv[1], data="full", portable=True, strict=True) as cap:
        case.run(runner)
    paths[name] = str(cap.path)
print(json.dumps(paths))
"""


def _capture(folder: Path) -> dict[str, str]:
    paths: dict[str, str] = run_script(_CAPTURE, folder, *NETWORKS, XLA_FLAGS="")
    return paths


def captured_with_default_flags(name: str) -> probe.Capture:
    """Return the capture of a network that XLA compiled with its default flags.

    Only with these does XLA round as IREE does: a spike that is one step late changes the rest of
    the simulation.
    """
    return probe.load(made_once("iree", _capture)[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_iree_gives_the_values_of_the_simulation(name: str) -> None:
    cap = captured_with_default_flags(name)
    (program,) = cap.programs
    (check,) = _checks(cap.path, "IREE")
    assert check.subject == "program 0, portable"
    assert program.portable is not None
    if program.portable.fidelity.custom_calls:
        # Up to 2.6 BrainPy selects its kernels during the trace.
        assert not eras.SINCE_2_7
        assert check.outcome == "undecided"
        assert set(program.portable.fidelity.custom_calls) == set(program.fidelity.custom_calls)
        assert all(call in check.reason for call in program.portable.fidelity.custom_calls)
        return
    assert check.outcome == "passed", check.reason
    assert check.reason.startswith("what the simulation gave: ")
    exact = sum(np.dtype(spec.dtype).kind in "biu" for spec in program.results)
    match = re.search(r"(\d+) results of booleans and integers equal", check.reason)
    assert (int(match.group(1)) if match else 0) == exact


def test_the_verify_command_prints_a_line_for_iree() -> None:
    words = ["verify", str(captured("lif").path), "--with", "iree", "--all"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert re.search(
        r"^passed +program 0, portable +IREE +what the simulation gave: \d+ results",
        done.stdout,
        re.MULTILINE,
    )


def test_the_first_step_that_differs_is_named(tmp_path: Path) -> None:
    """One step of the recorded result is altered, with matching digests."""
    copy = shutil.copytree(captured("lif").path, tmp_path / "run-copy")
    (spec,) = (
        spec for spec in probe.load(copy).programs[0].results if spec.path == "monitors/spike"
    )
    arrays = load_file(copy / spec.file)
    arrays[spec.entry][57, 3] ^= True
    rewrite(copy, spec.file, save(arrays))

    def update_digest(manifest: dict[str, Any]) -> None:
        for result in manifest["programs"][0]["results"]:
            if result["entry"] == spec.entry:
                result["digest"] = digest_of(arrays[spec.entry].tobytes())

    alter(copy, update_digest)
    done = CliRunner().invoke(app, ["verify", str(copy), "--with", "iree", "--json"])
    assert done.exit_code == 1
    checks = {
        (check["subject"], check["name"]): check for check in json.loads(done.stdout)["checks"]
    }
    failed = {key for key, check in checks.items() if check["outcome"] == "failed"}
    step_checks = {("program 0, step, portable", "IREE")} if eras.SINCE_2_4 else set()
    assert failed == {("program 0", "replay"), ("program 0, portable", "IREE"), *step_checks}
    reason = checks["program 0, portable", "IREE"]["reason"]
    assert "monitor spike: 1 of 2,000 differ, first at step 57" in reason
    # The portable program may round differently, and no monitor records t_last_spike.
    portable = checks["program 0, portable", "replay"]
    assert portable["outcome"] == "undecided"
    assert "monitors/spike" in portable["reason"]


def test_iree_runs_a_program_without_custom_calls() -> None:
    cap = captured_with("izhikevich", dialect="hlo")
    (check,) = _checks(cap.path, "IREE")
    assert (check.subject, check.outcome) == ("program 0", "passed"), check.reason


def test_iree_cannot_run_a_program_without_arrays() -> None:
    cap = captured_with("lif", data="none", portable=True)
    (check,) = _checks(cap.path, "IREE")
    assert check.outcome == "undecided"
    assert "no arrays" in check.reason


def test_a_program_that_iree_rejects_is_an_error() -> None:
    with pytest.raises(probe.ProbeError, match=r"IREE can't compile it: .*error: "):
        iree.compile_for_cpu(b"module { func.func @main() -> tensor<f32> { } }")


class Doubles(eras.DynamicalSystem):
    """A model with 64-bit Variables: a float that float32 could not increment, and an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.as_jax(np.ones(3, np.float64)))
        self.n = bm.Variable(bm.as_jax(np.full(3, 2**40, np.int64)))

    def update(self) -> Any:
        self.x.value = self.x + 1e-12
        self.n.value = self.n + 1
        return self.n.value


def test_iree_keeps_64_bit_types(out: Path) -> None:
    bm.enable_x64()
    try:
        runner: Any = bp.DSRunner(Doubles(), monitors=["x"], progress_bar=False)
        with probe.capture(out, portable=True, data="full", strict=True) as cap:
            runner.run(1.0)
    finally:
        bm.disable_x64()
    assert {spec.dtype for spec in cap.programs[0].results} == {"float64", "int64"}
    (check,) = _checks(cap.path, "IREE")
    assert check.outcome == "passed", check.reason


def test_native_and_portable_program_differ_in_their_calls(tmp_path: Path) -> None:
    copy = shutil.copytree(captured("einet").path, tmp_path / "run-copy")
    program = captured("einet").program
    assert program.fidelity.custom_calls
    assert program.portable is not None
    assert bool(program.portable.fidelity.custom_calls) == (not eras.SINCE_2_7)
    for texts in texts_of(read_manifest(copy)[1])[:2]:
        (calls,) = _checks_of_texts(copy, texts, "custom calls")
        assert calls.outcome == "passed"
    if eras.SINCE_2_7:
        _swap_texts(copy)
        for texts in texts_of(read_manifest(copy)[1])[:2]:
            (calls,) = _checks_of_texts(copy, texts, "custom calls")
            assert calls.outcome == "failed"
            assert texts.files[0].path in calls.reason


def _checks_of_texts(folder: Path, texts: Any, name: str) -> list[Check]:
    return [
        check
        for check in check_texts(folder, texts)
        if isinstance(check, Check) and check.name == name
    ]


def _swap_texts(folder: Path) -> None:
    """Swap the texts of a program and of its portable program, and update all digests."""
    record = read_manifest(folder)[1].programs[0]
    assert record.portable is not None
    kinds = ("stablehlo", "vhlo")
    for kind in kinds:
        first, second = (
            next(file.path for file in files if file.kind == kind)
            for files in (record.files, record.portable.files)
        )
        contents = [(folder / path).read_bytes() for path in (first, second)]
        rewrite(folder, first, contents[1])
        rewrite(folder, second, contents[0])
