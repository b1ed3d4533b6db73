"""The portable program: the same computation without BrainPy's kernels; the run is unchanged."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import brainpy_probe as probe
from tests import eras, watching
from tests.networks import by_name
from tests.replaying import DIALECTS, captured, replay

# From 2.7 on, BrainPy selects its kernels when it lowers them; before, when it traces them.
SELECTS_WHEN_LOWERED = find_spec("brainevent") is not None


def _captured(name: str, out: Path, *, portable: bool = True) -> probe.Capture:
    case = by_name(name)
    runner = case.build()
    with probe.capture(
        out, dialect=DIALECTS, data="full", portable=portable, strict=True
    ) as capture:
        case.run(runner)
    return capture


@pytest.mark.parametrize("name", ["einet", "noise", "hh", "delay", "reservoir"])
def test_a_portable_program_gives_the_same_without_kernels(name: str) -> None:
    program = captured(name).program
    portable = program.portable
    assert portable is not None
    assert portable.fidelity.proved
    assert portable.arguments == program.arguments
    if program.fidelity.custom_calls and not SELECTS_WHEN_LOWERED:
        assert portable.fidelity.custom_calls
        assert any("no portable version" in note for note in portable.fidelity.notes)
        return
    assert portable.fidelity.custom_calls == {}
    recorded = program.data("results")
    for dialect in DIALECTS:
        text = portable.text(dialect)
        assert not re.search(r"custom_call|custom-call\(|\bsdy\.", text)
        assert not re.search(r"hlo\.reduce_window|reduce-window\(", text)
        # JAX 0.4 has no pass from CHLO to StableHLO; a note says so.
        assert "chlo." not in text or "can't decompose" in " ".join(portable.fidelity.notes)
        for key, value in replay(portable, dialect).items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, recorded[key], rtol=1e-3, atol=1e-6)
            else:
                np.testing.assert_array_equal(value, recorded[key])


def test_portable_does_not_change_the_native_program(out: Path) -> None:
    # Both are captured on one line, because HLO has the location of the call.
    both, native = (_captured("lif", out, portable=portable) for portable in (True, False))
    assert native.programs[0].portable is None
    # BrainPy 2.4 to 2.6 order the Variables of a loop, and so of the program, by address.
    for dialect in () if eras.ORDERS_BY_IDS else DIALECTS:
        assert both.programs[0].text(dialect) == native.programs[0].text(dialect)
    assert both.programs[0].arguments == native.programs[0].arguments


def _backends(config: Any) -> tuple[int, dict[str, str]]:
    """Return the identity and the content of brainevent's dict of backends, if it exists."""
    backends = getattr(config, "_global_backends", {})
    return (id(backends) if backends is not None and config else 0), dict(backends)


def test_portable_does_not_change_brainpys_backend_and_runs(out: Path) -> None:
    config = import_module("brainevent.config") if SELECTS_WHEN_LOWERED else None
    case = by_name("einet")
    # A first run, so that this process has compiled the same operations for both.
    warm = case.build()
    for _ in range(2):
        case.run(warm)
    plain, probed = case.build(), case.build()
    expected = [watching.run(case, plain) for _ in range(2)]
    before = _backends(config)
    with probe.capture(out, portable=True, strict=True) as cap:
        seen = [watching.run(case, probed) for _ in range(2)]
    assert _backends(config) == before
    assert [run.values for run in seen] == [run.values for run in expected]
    assert [run.compilations for run in seen] == [run.compilations for run in expected]
    assert cap.programs[0].fidelity.custom_calls
    assert all(module.record.custom_calls for module in cap.calls[-1].modules)


def test_both_programs_have_estimated_costs() -> None:
    record = captured("einet").program.record.portable
    assert record is not None
    assert record.native_cost.keys() == record.cost.keys() == {"flops", "bytes accessed"}
    if SELECTS_WHEN_LOWERED:
        assert record.cost["flops"] > record.native_cost["flops"]


def test_a_portable_program_loads_from_disk(out: Path) -> None:
    capture = _captured("lif", out)
    loaded = probe.load(capture.path).programs[0].portable
    assert loaded is not None
    assert capture.programs[0].portable == loaded
    assert loaded.text() == capture.programs[0].portable.text()
