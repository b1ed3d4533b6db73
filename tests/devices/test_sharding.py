"""A network on four devices is captured, verified, and replayed on four devices and on one."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import pytest

import brainpy_probe as probe
from brainpy_probe.compat import bindings
from brainpy_probe.ir.identity import ComparableModule
from brainpy_probe.verify.api import Verification, verify
from brainpy_probe.verify.checks import Check
from tests import eras
from tests.devices.sharded import DEVICES, KINDS
from tests.processes import run_script
from tests.sharing import made_once

pytestmark = [pytest.mark.every_stack, pytest.mark.xdist_group("sharded")]

# The flags of the test run, so that XLA compiles the same code for the verification.
_FLAGS = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={DEVICES}"
_ON_SEVERAL = [kind for kind in KINDS if kind != "second-device"]


def _captured(folder: Path) -> tuple[list[str], list[bool]]:
    source = (
        "import json, sys; from tests.devices.sharded import main; "
        "print(json.dumps(main(sys.argv[1])))"
    )
    paths, equal = run_script(source, folder, XLA_FLAGS=_FLAGS)
    return paths, equal


def _capture() -> probe.Capture:
    return probe.load(made_once("sharded", _captured)[0][0])


def _program(kind: str) -> probe.Program:
    return _capture().programs[KINDS.index(kind)]


@functools.cache
def _verified() -> Verification:
    return verify(_capture().path)


def test_a_capture_does_not_change_a_distributed_simulation() -> None:
    _, equal = made_once("sharded", _captured)
    unequal = {kind for kind, is_equal in zip(KINDS, equal, strict=True) if not is_equal}
    assert not unequal or eras.ADDS_IN_NO_ORDER


def test_every_program_is_verified() -> None:
    assert [check for check in _verified().checks if check.outcome == "failed"] == []


def test_the_program_of_a_step_is_verified() -> None:
    stepwise = verify(made_once("sharded", _captured)[0][1])
    assert [check for check in stepwise.checks if check.outcome == "failed"] == []
    driven = [c for c in stepwise.checks if c.subject.endswith("step") and c.name == "replay"]
    outcome = "passed" if eras.SINCE_2_4 else "undecided"  # before 2.4 the step is not known
    assert [check.outcome for check in driven] == [outcome]


def _replayed(kind: str, more: str = "") -> Check:
    subject = f"program {KINDS.index(kind)}{more}"
    (found,) = [c for c in _verified().checks if (c.subject, c.name) == (subject, "replay")]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_on_all_devices_gives_the_same_bits(kind: str) -> None:
    found = _replayed(kind)
    if eras.ADDS_IN_NO_ORDER and "bit for bit" not in found.reason:
        assert "this jaxlib adds the parts of several devices in no fixed order" in found.reason
    else:
        assert found.outcome == "passed", found


@pytest.mark.skipif(not eras.SINCE_2_7, reason="JAX up to 0.4.30 has no Shardy ops")
@pytest.mark.parametrize("kind", KINDS)
def test_the_equations_of_all_shards_are_checked(kind: str) -> None:
    subject = f"program {KINDS.index(kind)}"
    (found,) = [c for c in _verified().checks if (c.subject, c.name) == (subject, "equations")]
    assert found.outcome == "passed", found
    assert "not evaluated" not in found.reason


@pytest.mark.skipif(not eras.SINCE_2_7, reason="JAX up to 0.4.30 has no Shardy ops")
def test_a_shard_map_is_explained_for_one_shard() -> None:
    explained = str(_program("shard-map").explain())
    assert "x' = tanh(shard_map(weights, x) + " in explained
    assert "shard_map(arg0, arg1) = arg0 @ all_gather(arg1) + 0.1 * psum(sum(arg1))" in explained


@pytest.mark.parametrize("kind", _ON_SEVERAL)
def test_the_portable_program_needs_one_device(kind: str) -> None:
    program = _program(kind)
    portable = program.portable
    assert portable is not None
    assert program.fidelity.placement.devices == DEVICES
    assert portable.fidelity.placement.devices == 1
    assert not re.search(
        r"sdy\.|sharding|SPMD|all_gather|all_reduce|partition_id|replica_id", portable.text()
    )
    assert _replayed(kind, ", portable").outcome == "passed"


def test_the_manifest_has_the_shardings() -> None:
    specs = {kind: {s.path: s.sharding for s in _program(kind).arguments} for kind in KINDS}
    state = specs["state"]["state/x"]
    placement = _program("state").fidelity.placement
    if placement.meshes:  # Shardy
        assert state == '<@mesh, [{"n"}]>'
        assert placement.meshes == {"mesh": '<["n"=4]>'}
        assert specs["weights"]["constants/weights"] == '<@mesh, [{"n"}, {}]>'
    else:
        assert state.startswith("{devices=[4]")
        assert specs["weights"]["constants/weights"].startswith("{devices=[4,1]")
    assert set(specs["second-device"].values()) == {""}
    assert _program("state").fidelity.placement.platform == "cpu"


def test_another_sharding_is_another_program() -> None:
    program = _program("weights")
    text = program.text()
    other = text.replace('[{"n"}, {}]', '[{}, {"n"}]').replace("devices=[4,1]", "devices=[1,4]")
    assert other != text
    vhlo = bindings.read_mlir(program.paths["vhlo"].read_bytes())
    same, changed = (bindings.read_mlir(content.encode()) for content in (text, other))
    expected = ComparableModule(vhlo)
    assert ComparableModule(same).difference(expected) == ""
    assert "sharding" in ComparableModule(changed).difference(expected)


def test_the_costs_of_a_shard_map_are_those_of_one_shard() -> None:
    program = _program("shard-map")
    assert any("part of the arrays that one of 4 devices has" in n for n in program.costs.notes)
    assert not any(row.custom_calls for row in program.costs.components)
    assert program.portable is not None
    assert program.portable.costs.notes == ()
    assert program.portable.costs.step.flops > program.costs.step.flops
