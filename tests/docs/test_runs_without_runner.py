"""The examples of runs without a runner, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import brainpy_probe as probe
from tests import eras
from tests.processes import ROOT

pytestmark = pytest.mark.skipif(not eras.SINCE_2_7, reason="they are written for BrainPy 2.7")

# Options; kind and count of the call; names in its program; what the example prints besides.
EXAMPLES = {
    "state_network": (["--steps", "100"], ("loop", 1), {"neurons.V"}, "spikes"),
    "jitted_step": (["--steps", "50"], ("jit", 50), {"v", "w", "rng"}, "mean after 50 steps"),
    "train_bptt": (["--batches", "2"], ("fit", 4), {"rnn.Wi", "out.W"}, "optimizer"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_one_named_program(name: str, out: Path) -> None:
    options, expected, names, printed = EXAMPLES[name]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *options, "--out", str(out)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    cap = probe.load(folder)
    (call,) = cap.calls
    assert (call.kind, call.count) == expected
    assert call.program is not None
    assert call.program.fidelity.proved
    assert names <= {spec.name for spec in call.program.arguments}
    assert str(cap) in done.stdout
    assert printed in done.stdout
