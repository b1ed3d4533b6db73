"""Scripts that import brainstate but not BrainPy, in real interpreters."""

from __future__ import annotations

from pathlib import Path

import pytest

import brainpy_probe as probe
from brainpy_probe.verify.api import verify
from tests import eras
from tests.processes import Interpreter, run_script

pytestmark = [
    pytest.mark.every_stack,
    pytest.mark.skipif(not eras.SINCE_2_7, reason="BrainPy before 2.7 has no brainstate"),
]

CELL = """
import sys
import brainstate, jax.numpy as jnp

class Cell(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.v = brainstate.HiddenState(jnp.zeros(3))
        self.weight = jnp.arange(3.0)

    def update(self, x):
        self.v.value = self.v.value * 0.5 + self.weight * x + brainstate.random.rand(3)
        return self.v.value

cell = Cell()
step = brainstate.transform.jit(lambda x: cell.update(x))

def run():
    brainstate.transform.for_loop(lambda x: cell.update(x), jnp.arange(10.0))
    for _ in range(3):
        step(1.0)
"""

SCRIPT = f"""{CELL}
run()
assert "brainpy" not in sys.modules
import brainpy as bp
runner = bp.DSRunner(bp.neurons.LIF(4), inputs=("input", 20.0), progress_bar=False)
runner.run(1.0)
run()
"""


def test_a_script_is_captured_before_it_imports_brainpy(tmp_path: Path) -> None:
    python = Interpreter.make(tmp_path / "python", with_pth=True)
    done = python.run(["-c", SCRIPT], tmp_path, BRAINPY_PROBE="1", BRAINPY_PROBE_STRICT="1")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "brainpy-probe").glob("run-*")
    cap = probe.load(folder)
    calls = [(call.kind, call.count) for call in cap.calls]
    assert calls == [("loop", 1), ("jit", 6), ("predict", 1), ("loop", 1)]
    assert all(call.program is not None for call in cap.calls)
    first, *_, last = (call.program for call in cap.calls)
    assert first is not None
    assert {spec.path for spec in first.arguments} >= {"state/v", "state/random"}
    assert last is not None
    assert first.text() == last.text()
    assert all(check.outcome == "passed" for check in verify(folder, limits=None).checks)


# An environment without BrainPy: its import fails.
WITHOUT_BRAINPY = f"""
import json, sys
sys.modules["brainpy"] = None
{CELL}
import brainpy_probe as probe
from brainpy_probe.startup.doctor import diagnose
with probe.capture(sys.argv[1], strict=True) as cap:
    run()
waiting = [getattr(finder, "_name", "") for finder in sys.meta_path]
assert "brainpy" not in waiting, "an import hook remains after the capture"
with probe.capture(sys.argv[1], strict=True):
    pass
print(json.dumps([[call.kind for call in cap.calls], diagnose().problem]))
"""


def test_a_capture_and_the_doctor_need_no_brainpy(out: Path) -> None:
    assert run_script(WITHOUT_BRAINPY, out) == [["loop", "jit"], ""]
