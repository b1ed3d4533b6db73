"""Programs that are lowered for a GPU, on a machine without a GPU."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import pytest

import brainpy_probe as probe
from brainpy_probe.ir.executables import devices
from brainpy_probe.verify.api import Verification, verify
from tests.eras import SINCE_2_7
from tests.processes import run_script
from tests.sharing import made_once

pytestmark = [
    pytest.mark.every_stack,
    pytest.mark.xdist_group("cuda"),
    pytest.mark.skipif(not SINCE_2_7, reason="JAX up to 0.4.30 lowers for the present device"),
]

# Networks with event-driven synapses and running sums, and with random draws.
NETWORKS = ("einet", "noise")

# The child process lowers its programs for CUDA instead of its own device. It selects kernels in
# JAX, because brainevent compiles its default GPU kernels for the GPU of the machine.
_CAPTURE = """
import json, sys
import brainevent
import brainpy_probe as probe
from brainpy_probe.compat import jax_compiler
from tests.networks import by_name
brainevent.config.set_backend("gpu", "jax_raw")
def lowered_with_jaxpr(jitted, arguments, platform=""):
    traced = jitted.trace(*arguments)
    return traced.lower(lowering_platforms=(platform or "cuda",)), traced.jaxpr
jax_compiler.lowered_with_jaxpr = lowered_with_jaxpr
cases = [by_name(name) for name in sys.argv[2:]]
runners = [case.build() for case in cases]
dialects = ["stablehlo", "mhlo", "hlo"]
with probe.capture(sys.argv[1], dialect=dialects, data="full", portable=True, strict=True) as cap:
    for case, runner in zip(cases, runners):
        case.run(runner)
print(json.dumps(str(cap.path)))
"""


def _captured(folder: Path) -> str:
    path: str = run_script(_CAPTURE, folder, *NETWORKS, XLA_FLAGS=os.environ["XLA_FLAGS"])
    return path


def _program(name: str) -> probe.Program:
    return probe.load(made_once("cuda", _captured)).programs[NETWORKS.index(name)]


@functools.cache
def _verified() -> Verification:
    return verify(made_once("cuda", _captured))


def test_every_dialect_of_a_gpu_program_parses() -> None:
    for name in NETWORKS:
        fidelity = _program(name).fidelity
        assert fidelity.placement.platform == "cuda"
        assert fidelity.checks.keys() == {"stablehlo", "mhlo", "hlo", "vhlo"}
        assert fidelity.proved, fidelity.checks
        assert "AllocateBuffer" not in fidelity.custom_calls
    assert [check for check in _verified().checks if check.outcome == "failed"] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_the_portable_program_of_a_gpu_runs_on_a_cpu(name: str) -> None:
    portable = _program(name).portable
    assert portable is not None
    assert portable.fidelity.custom_calls == {}
    assert portable.fidelity.chlo == {}
    assert not re.search(r"custom_call|chlo\.", portable.text())
    subject = f"program {NETWORKS.index(name)}, portable"
    (replayed,) = [c for c in _verified().checks if (c.subject, c.name) == (subject, "replay")]
    assert replayed.outcome == "passed", replayed


def test_a_gpu_program_replays_on_a_cpu_in_agreement() -> None:
    replayed = _program("einet").replay()
    assert "it ran on cuda, and here on a CPU" in replayed.reasons
    assert replayed.verdict.outcome in ("bit for bit", "agrees")


def test_a_program_replays_on_the_client_of_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    of_jax = devices.of_jax
    monkeypatch.setattr(devices, "of_jax", lambda _, count: of_jax("cpu", count))
    replayed = _program("einet").within(None).replay()
    assert "XLA may choose other algorithms each time that it compiles" in replayed.reasons
    assert replayed.verdict.outcome in ("bit for bit", "agrees")
