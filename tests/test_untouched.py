"""The first promise: the simulation never notices. On every network of the zoo."""

from __future__ import annotations

from pathlib import Path

import pytest

import brainpy_probe as probe
from tests import watching
from tests.networks import NETWORKS, UNSTABLE_NAMES, Case


@pytest.mark.parametrize("case", NETWORKS + UNSTABLE_NAMES, ids=lambda case: case.name)
def test_runs_leave_bit_for_bit_what_plain_runs_leave(case: Case, out: Path) -> None:
    """Two runs in the block and one after it, against three plain ones."""
    # Once before, so that both sides find the same operations compiled in this process.
    warm = case.build()
    for _ in range(3):
        case.run(warm)
    plain = case.build()
    expected = [watching.run(case, plain) for _ in range(3)]

    probed = case.build()
    dialects = ["stablehlo", "mhlo", "hlo"]
    with probe.capture(out, dialect=dialects, trace_eager=True, strict=True) as cap:
        seen = [watching.run(case, probed) for _ in range(2)]
    seen.append(watching.run(case, probed))

    for number, (one, other) in enumerate(zip(expected, seen, strict=True)):
        watching.assert_same_left(case, other.left, one.left, number)
        assert one.compilations == other.compilations, f"run {number}"
    assert [call.error for call in cap.calls] == [None, None]
    assert [call.failure for call in cap.calls] == [None, None]
    assert cap.programs[0].fidelity.proved, cap.programs[0].fidelity
    assert cap.programs[0].kind == ("step" if case.stepwise else "loop")
    assert cap.programs[0].fidelity.host_callbacks == ()
