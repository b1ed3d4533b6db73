"""The program of one step: driven from Python, it gives the results of the loop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe.cli import app
from brainpy_probe.verify.api import verify
from tests import eras
from tests.altering import alter, rewrite
from tests.networks import ABSENT
from tests.processes import ROOT, run_script
from tests.replaying import STEPS, captured, captured_with

pytestmark = pytest.mark.every_stack

since_2_4 = pytest.mark.skipif(
    not eras.SINCE_2_4, reason="BrainPy 2.3 compiles the loop with the rest of the run"
)
since_2_7 = pytest.mark.skipif(not eras.SINCE_2_7, reason="2.7 added loops without a runner")


def _step(program: probe.Program) -> Any:
    step = program.step
    assert step is not None
    return step


@since_2_4
@pytest.mark.parametrize("name", [name for name in STEPS if name not in ABSENT])
def test_a_driven_step_gives_the_results_of_the_loop(name: str) -> None:
    program = captured(name).program
    step = _step(program)
    if step.fidelity.custom_calls and not eras.SINCE_2_7:
        pytest.skip("the kernels of this BrainPy exist only in the process of the capture")
    driven = step.within(None).drive()
    # XLA may round a single step differently from the body of a loop.
    assert driven.verdict.outcome in ("bit for bit", "agrees"), driven.verdict.reason
    for spec in program.results:
        if np.dtype(spec.dtype).kind in "biu":
            expected = program.data("results")[spec.path]
            np.testing.assert_array_equal(driven.results[spec.path], expected)


@since_2_4
def test_a_step_program_has_no_axis_of_steps() -> None:
    program = captured("lstm-batched").program
    step = _step(program)
    loop = {spec.path: spec for spec in program.arguments}
    entry = next(spec for spec in step.arguments if spec.role == "input" and spec.loop_axis == 0)
    whole = loop[entry.loop_path or entry.path]
    assert whole.shape == (step.steps, *entry.shape)
    assert "stablehlo.while" in program.text("stablehlo")
    for dialect in program.dialects:
        assert step.text(dialect)
        assert f"{step.steps}x" not in step.text(dialect)
    assert "stablehlo.while" not in step.text("stablehlo")
    # The runner swaps the axes of its results.
    assert {spec.loop_axis for spec in step.results} == {1, None}


@since_2_4
def test_the_first_step_has_its_arrays() -> None:
    program = captured("lif").program
    step = _step(program)
    arrays, whole = step.data(), program.data()
    assert arrays.keys() == {spec.path for spec in step.arguments}
    np.testing.assert_array_equal(arrays["inputs/i"], whole["inputs/indices"][0])
    np.testing.assert_array_equal(arrays["state/V"], whole["state/V"])
    replayed = step.within(None).replay()
    equal = {result.name: result.equal for result in replayed.compared}
    assert equal["monitors/spike"] is True
    assert equal["state/V"] is None  # the loop records only the final state


@pytest.mark.skipif(eras.SINCE_2_4, reason="later versions trace the step separately")
def test_a_step_that_is_not_known_has_a_note() -> None:
    step = _step(captured("lif").program)
    assert step.dialects == ()
    with pytest.raises(probe.BadSetting, match="one step is not known"):
        step.text()
    with pytest.raises(probe.CannotReplay, match="one step is not known"):
        step.drive()
    checks = verify(captured("lif").path, limits=None).checks
    assert "noted" in {check.outcome for check in checks if check.subject == "program 0, step"}


@since_2_4
def test_a_step_that_differs_from_the_loop_fails(tmp_path: Path) -> None:
    copy = shutil.copytree(captured("lif").path, tmp_path / "run-copy")
    record = probe.load(copy).programs[0].record.step
    assert record is not None
    (path,) = (file.path for file in record.files if file.kind == "stablehlo")
    text = (copy / path).read_text()
    assert "dense<2.000000e+01>" in text
    rewrite(copy, path, text.replace("dense<2.000000e+01>", "dense<1.900000e+01>").encode())
    verdict = _step(probe.load(copy).programs[0]).within(None).drive().verdict
    assert verdict.outcome == "failed"
    assert "after one step from the run's own state" in verdict.reason


@since_2_4
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda step: step.update(steps=7), "of shape"),
        (lambda step: step["arguments"].pop(), "other arguments"),
        (lambda step: step["arguments"][0].update(dtype="int32"), "of int32"),
    ],
)
def test_a_step_that_does_not_fit_its_loop_is_refused(
    change: Any, fault: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(captured("lif").path, tmp_path / "run-copy")
    alter(copy, lambda manifest: change(manifest["programs"][0]["step"]))
    with pytest.raises(probe.DamagedCapture, match=fault):
        probe.load(copy)


@since_2_4
def test_without_recorded_results_the_loop_is_replayed() -> None:
    cap = captured_with("lif", step=True)
    driven = _step(cap.programs[0]).within(None).drive()
    assert driven.verdict.outcome in ("bit for bit", "agrees")
    (check,) = (c for c in verify(cap.path, limits=None).checks if c.subject == "program 0, step"
                and c.name == "replay")  # fmt: skip
    assert check.outcome == "passed", check.reason


@since_2_4
def test_the_replay_command_drives_a_step() -> None:
    path = str(captured("lif").path)
    done = CliRunner().invoke(app, ["replay", path, "--step"])
    assert done.exit_code == 0, done.output
    assert "monitors/spike" in done.output
    refused = CliRunner().invoke(app, ["replay", path, "--step", "--repeat", "2"])
    assert refused.exit_code != 0
    assert "neither --repeat" in refused.output


def _carries(net: Any) -> Any:
    """Return a function for ``scan`` with a carry of two arrays."""

    def walk(carry: tuple[Any, Any], entry: dict[str, Any]) -> tuple[Any, Any]:
        value, count = carry
        y = net(entry["x"]).sum() + value
        return (value * 0.5 + y, count + 1), (y, count)

    return walk


@since_2_7
def test_carries_keys_and_reversed_loops_have_steps(out: Path) -> None:
    import brainstate

    class Net(brainstate.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.h = brainstate.ShortTermState(jnp.ones(3))

        def update(self, x: Any) -> Any:
            self.h.value = self.h.value * 0.5 + x
            return self.h.value

    net, xs = Net(), jnp.arange(5.0)
    start = jnp.float32(1.0), jnp.int32(0)

    def noise(i: Any, key: Any) -> Any:
        return net(jax.random.normal(key, (3,))) + i

    with probe.capture(out, step=True, data="full", strict=True) as cap:
        brainstate.transform.scan(_carries(net), start, {"x": xs})
        brainstate.transform.scan(_carries(net), start, {"x": xs}, reverse=True)
        brainstate.transform.for_loop(noise, xs, jax.random.split(jax.random.key(0), 5))
        brainstate.transform.jit(net)(1.0)
    forward, backward, keys, whole = cap.programs
    assert {spec.path: spec.loop_path for spec in _step(forward).arguments} == {
        "state/carry.0": "inputs/carry.0",
        "state/carry.1": "inputs/carry.1",
        "state/h": "",
        "inputs/entry.x": "",
    }
    assert [_step(program).reverse for program in (forward, backward, keys)] == [False, True, False]
    assert whole.step is None
    for program in (forward, backward, keys):
        verdict = _step(program).within(None).drive().verdict
        assert verdict.outcome == "bit for bit", verdict.reason


_EINET = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
import brainpy as bp
import brainpy.math as bm
import brainpy_probe as probe
from brainpy_probe.verify import iree

spec = spec_from_file_location("einet", sys.argv[1])
example = module_from_spec(spec)
spec.loader.exec_module(example)
bm.random.seed(1)
populations = ("E", "I")
runner = bp.DSRunner(
    example.EINet(0.1),
    inputs=[(f"{name}.input", 20.0) for name in populations],
    monitors=[f"{name}.spike" for name in populations],
    progress_bar=False,
)
with probe.capture(sys.argv[2], portable=True, step=True, data="full", strict=True) as cap:
    runner.run(100.0)
(program,) = cap.programs
expected = program.data("results")
step = program.step
main = iree.Executable(iree.compile_for_cpu(step.portable.read("vhlo")))
driven = dict(zip(expected, step.portable.drive_with(main), strict=True))
by_xla = step.within(None).drive().verdict
spikes = [f"monitors/{name}.spike" for name in populations]
print(json.dumps({
    "steps with spikes": int(expected[spikes[0]].any(axis=1).sum()),
    "custom calls": step.portable.fidelity.custom_calls,
    "by XLA": [by_xla.outcome, by_xla.reason],
    "other spikes by IREE": [int((driven[path] != expected[path]).sum()) for path in spikes],
}))
"""


@since_2_7
def test_einet_fires_the_same_spikes_step_by_step(out: Path) -> None:
    """The benchmark at a tenth of its size, driven for 1,000 steps by XLA and by IREE.

    XLA compiles it with its default flags: only with these does it round as IREE does.
    """
    done = run_script(_EINET, ROOT / "examples" / "einet.py", out, XLA_FLAGS="")
    assert done["steps with spikes"] > 200
    assert done["custom calls"] == {}
    outcome, reason = done["by XLA"]
    assert outcome == "bit for bit", reason
    assert done["other spikes by IREE"] == [0, 0]
