"""Captured programs, compiled and run by IREE, which knows nothing of BrainPy."""

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


# A loop, kernels, a delay, a plasticity and a random state: the others have the same operations.
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


def captured_with_xlas_own_flags(name: str) -> probe.Capture:
    """Return the capture of a network that XLA compiled as it does by itself.

    Only then does XLA round as IREE does: a spike that is a step late is another simulation.
    """
    return probe.load(made_once("iree", _capture)[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_iree_gives_what_the_simulation_gave(name: str) -> None:
    cap = captured_with_xlas_own_flags(name)
    (program,) = cap.programs
    (check,) = _checks(cap.path, "IREE")
    assert check.subject == "program 0, portable"
    assert program.portable is not None
    if program.portable.fidelity.custom_calls:
        # Up to 2.6 BrainPy chooses its kernels while it traces.
        assert not eras.SINCE_2_7
        assert check.outcome == "undecided"
        assert set(program.portable.fidelity.custom_calls) == set(program.fidelity.custom_calls)
        assert all(call in check.reason for call in program.portable.fidelity.custom_calls)
        return
    assert check.outcome == "passed", check.reason
    assert check.reason.startswith("what the simulation gave: ")
    whole = sum(np.dtype(spec.dtype).kind in "biu" for spec in program.results)
    said = re.search(r"(\d+) results of booleans and integers equal", check.reason)
    assert (int(said.group(1)) if said else 0) == whole


def test_the_shell_says_it_in_a_line() -> None:
    words = ["verify", str(captured("lif").path), "--with", "iree", "--all"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert re.search(
        r"^passed +program 0, portable +IREE +what the simulation gave: \d+ results",
        done.stdout,
        re.MULTILINE,
    )


def test_the_first_step_that_differs_is_named(tmp_path: Path) -> None:
    """What the simulation gave is said to be something else in one step."""
    copy = shutil.copytree(captured("lif").path, tmp_path / "run-copy")
    (spec,) = (
        spec for spec in probe.load(copy).programs[0].results if spec.path == "monitors/spike"
    )
    arrays = load_file(copy / spec.file)
    arrays[spec.entry][57, 3] ^= True
    rewrite(copy, spec.file, save(arrays))

    def told(manifest: dict[str, Any]) -> None:
        for result in manifest["programs"][0]["results"]:
            if result["entry"] == spec.entry:
                result["digest"] = digest_of(arrays[spec.entry].tobytes())

    alter(copy, told)
    done = CliRunner().invoke(app, ["verify", str(copy), "--with", "iree", "--json"])
    assert done.exit_code == 1
    checks = {
        (check["subject"], check["name"]): check for check in json.loads(done.stdout)["checks"]
    }
    failed = {key for key, check in checks.items() if check["outcome"] == "failed"}
    stepped = {("program 0, step, portable", "IREE")} if eras.SINCE_2_4 else set()
    assert failed == {("program 0", "replay"), ("program 0, portable", "IREE"), *stepped}
    reason = checks["program 0, portable", "IREE"]["reason"]
    assert "monitor spike: 1 of 2,000 differ, first at step 57" in reason
    # The portable program may round otherwise, and no monitor records t_last_spike.
    portable = checks["program 0, portable", "replay"]
    assert portable["outcome"] == "undecided"
    assert "monitors/spike" in portable["reason"]


def test_without_a_portable_form_iree_runs_what_is_plain() -> None:
    cap = captured_with("izhikevich", dialect="hlo")
    (check,) = _checks(cap.path, "IREE")
    assert (check.subject, check.outcome) == ("program 0", "passed"), check.reason


def test_without_arrays_there_is_nothing_to_run() -> None:
    cap = captured_with("lif", data="none", portable=True)
    (check,) = _checks(cap.path, "IREE")
    assert check.outcome == "undecided"
    assert "no arrays" in check.reason


def test_a_program_that_iree_refuses_is_a_fault() -> None:
    with pytest.raises(probe.ProbeError, match=r"IREE can't compile it: .*error: "):
        iree.compile_for_cpu(b"module { func.func @main() -> tensor<f32> { } }")


class Doubles(eras.DynamicalSystem):
    """A model of 64 bits: a float in which a single would stand still, and an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.as_jax(np.ones(3, np.float64)))
        self.n = bm.Variable(bm.as_jax(np.full(3, 2**40, np.int64)))

    def update(self) -> Any:
        self.x.value = self.x + 1e-12
        self.n.value = self.n + 1
        return self.n.value


def test_64_bits_stay_64_bits(out: Path) -> None:
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


def test_a_program_and_its_plain_form_differ_in_their_calls(tmp_path: Path) -> None:
    copy = shutil.copytree(captured("einet").path, tmp_path / "run-copy")
    program = captured("einet").program
    assert program.fidelity.custom_calls
    assert program.portable is not None
    assert bool(program.portable.fidelity.custom_calls) == (not eras.SINCE_2_7)
    for texts in texts_of(read_manifest(copy)[1])[:2]:
        (calls,) = _told(copy, texts, "custom calls")
        assert calls.outcome == "passed"
    if eras.SINCE_2_7:
        _swap(copy)
        for texts in texts_of(read_manifest(copy)[1])[:2]:
            (calls,) = _told(copy, texts, "custom calls")
            assert calls.outcome == "failed"
            assert texts.files[0].path in calls.reason


def _told(folder: Path, texts: Any, name: str) -> list[Check]:
    return [
        check
        for check in check_texts(folder, texts)
        if isinstance(check, Check) and check.name == name
    ]


def _swap(folder: Path) -> None:
    """Have a program and its plain form change places, all digests with them."""
    record = read_manifest(folder)[1].programs[0]
    assert record.portable is not None
    kinds = ("stablehlo", "vhlo")
    for kind in kinds:
        one, other = (
            next(file.path for file in files if file.kind == kind)
            for files in (record.files, record.portable.files)
        )
        contents = [(folder / path).read_bytes() for path in (one, other)]
        rewrite(folder, one, contents[1])
        rewrite(folder, other, contents[0])
