"""The portable form: the same program without BrainPy's own kernels, and nothing else disturbed."""

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

# BrainPy chooses its kernels when they are lowered from 2.7 on, before that when it is traced.
CHOOSES = find_spec("brainevent") is not None


def _captured(name: str, out: Path, *, portable: bool = True) -> probe.Capture:
    case = by_name(name)
    runner = case.build()
    with probe.capture(
        out, dialect=DIALECTS, data="full", portable=portable, strict=True
    ) as capture:
        case.run(runner)
    return capture


@pytest.mark.parametrize("name", ["einet", "noise", "hh", "delay", "reservoir"])
def test_a_portable_program_needs_no_kernel_and_gives_the_same(name: str) -> None:
    program = captured(name).program
    portable = program.portable
    assert portable is not None
    assert portable.fidelity.proved
    assert portable.arguments == program.arguments
    if program.fidelity.custom_calls and not CHOOSES:
        assert portable.fidelity.custom_calls
        assert any("no portable version" in note for note in portable.fidelity.notes)
        return
    assert portable.fidelity.custom_calls == {}
    recorded = program.data("results")
    for dialect in DIALECTS:
        text = portable.text(dialect)
        assert not re.search(r"custom_call|custom-call\(|\bsdy\.", text)
        assert not re.search(r"hlo\.reduce_window|reduce-window\(", text)
        # JAX 0.4 has no pass from CHLO to StableHLO, which is said.
        assert "chlo." not in text or "can't decompose" in " ".join(portable.fidelity.notes)
        for key, value in replay(portable, dialect).items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, recorded[key], rtol=1e-3, atol=1e-6)
            else:
                np.testing.assert_array_equal(value, recorded[key])


def test_the_native_form_is_what_it_is_without(out: Path) -> None:
    # In one line, since HLO tells where it was called.
    both, native = (_captured("lif", out, portable=portable) for portable in (True, False))
    assert native.programs[0].portable is None
    # BrainPy 2.4 to 2.6 order a loop's Variables by their addresses, and so does the program.
    for dialect in () if eras.ORDERS_BY_IDS else DIALECTS:
        assert both.programs[0].text(dialect) == native.programs[0].text(dialect)
    assert both.programs[0].arguments == native.programs[0].arguments


def _backends(config: Any) -> tuple[int, dict[str, str]]:
    """Return brainevent's choice of backends, where there is one: which dict, and what it holds."""
    chosen = getattr(config, "_global_backends", {})
    return (id(chosen) if chosen is not None and config else 0), dict(chosen)


def test_brainpys_backend_and_the_native_run_are_left_alone(out: Path) -> None:
    config = import_module("brainevent.config") if CHOOSES else None
    case = by_name("einet")
    # Once before, so that both sides find the same operations compiled in this process.
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


def test_both_forms_cost_is_estimated() -> None:
    record = captured("einet").program.record.portable
    assert record is not None
    assert record.native_cost.keys() == record.cost.keys() == {"flops", "bytes accessed"}
    if CHOOSES:
        assert record.cost["flops"] > record.native_cost["flops"]


def test_a_portable_form_is_read_back_from_disk(out: Path) -> None:
    capture = _captured("lif", out)
    loaded = probe.load(capture.path).programs[0].portable
    assert loaded is not None
    assert capture.programs[0].portable == loaded
    assert loaded.text() == capture.programs[0].portable.text()
