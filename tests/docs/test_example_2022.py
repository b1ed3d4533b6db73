"""EINet as written in 2022, unedited and captured with an environment variable."""

from __future__ import annotations

from pathlib import Path

import pytest

import brainpy_probe as probe
from tests.processes import ROOT, Interpreter

pytestmark = pytest.mark.every_stack

EINET = ROOT / "examples" / "einet_2022.py"
OPTIONS = ["--scale", "0.02", "--duration", "100"]
# Runs the script unchanged, and prints a digest of the monitor of its runner.
PRINT_DIGEST = """
import hashlib, runpy, sys
import brainpy as bp, numpy as np
run = bp.dyn.DSRunner.run
def run_and_print(runner, *args, **kwargs):
    result = run(runner, *args, **kwargs)
    print(hashlib.sha256(np.asarray(runner.mon["E.spike"]).tobytes()).hexdigest())
    return result
bp.dyn.DSRunner.run = run_and_print
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter that has brainpy_probe.pth in its site-packages."""
    return Interpreter.make(tmp_path_factory.mktemp("einet"), with_pth=True)


def test_the_capture_of_the_example_is_complete(python: Interpreter, tmp_path: Path) -> None:
    variables = {"BRAINPY_PROBE": "out", "BRAINPY_PROBE_DIALECT": "mhlo,hlo"}
    done = python.run([EINET, *OPTIONS], tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "out").glob("run-*")
    assert f"brainpy-probe show {run}" in done.stderr
    cap = probe.load(run)
    assert cap.manifest.complete
    (call,) = cap.calls
    assert (call.model, call.steps, call.failure, call.error) == ("EINet", 1000, None, None)
    (program,) = cap.programs
    assert program.dialects == ("mhlo", "hlo")
    assert program.fidelity.proved
    assert program.fidelity.checks["mhlo"].returns
    assert program.fidelity.inlined_constants == ()
    assert program.fidelity.host_callbacks == ()
    names = {spec.path for spec in program.arguments}
    assert {"constants/ExpCOBA.conn_mask.0", "state/ExpCOBA_4.g", "state/E.V"} < names


def test_a_capture_does_not_change_the_spikes(python: Interpreter, tmp_path: Path) -> None:
    plain = python.run(["-c", PRINT_DIGEST, EINET, *OPTIONS], tmp_path)
    probed = python.run(["-c", PRINT_DIGEST, EINET, *OPTIONS], tmp_path, BRAINPY_PROBE="out")
    assert plain.returncode == probed.returncode == 0, probed.stderr
    assert "spikes" in plain.stdout
    assert probed.stdout == plain.stdout
    assert list((tmp_path / "out").glob("run-*/programs/*/program.stablehlo.mlir"))
