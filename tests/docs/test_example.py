"""The EINet example, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import brainpy_probe as probe

EINET = Path(__file__).parents[2] / "examples" / "einet.py"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, probe.Capture]:
    """Return what the example prints, and its capture."""
    out = tmp_path_factory.mktemp("example")
    options = ["--scale", "0.05", "--duration", "20", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, str(EINET), *options, "--dialect", "mhlo", "stablehlo", "hlo"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(EINET.parent.parent)},
    )
    (run,) = out.iterdir()
    return done.stdout, probe.load(run)


def test_the_example_prints_what_was_captured(ran: tuple[str, probe.Capture]) -> None:
    printed, cap = ran
    assert str(cap) in printed
    assert all(len(line) <= 80 for line in str(cap).splitlines())


def test_connectivity_and_variables_are_named_arguments(ran: tuple[str, probe.Capture]) -> None:
    (program,) = ran[1].programs
    assert {one.name for one in program.arguments if one.role == "constant"} == {
        f"{group}.comm.{array}"
        for group in ("E2E", "E2I", "I2E", "I2I")
        for array in ("indices", "indptr")
    }
    given = {one.name for one in program.arguments if one.role == "state"}
    assert len(given) == 12
    # Up to 2.4 the synapse has its conductance as an attribute of its own.
    assert {"E.V", "I.spike"} < given
    assert given & {"E2I.syn.g", "E2I.g"}
    assert given == {one.name for one in program.results if one.role == "state"}
    assert [one.name for one in program.results if one.role == "monitor"] == ["E.spike"]


def test_texts_are_small_named_and_proved(ran: tuple[str, probe.Capture]) -> None:
    (program,) = ran[1].programs
    assert program.fidelity.proved
    assert program.fidelity.checks["mhlo"].returns
    assert not program.fidelity.inlined_constants
    assert not program.fidelity.host_callbacks
    # Written out, the connectivity alone would be twice as much.
    assert len(program.text("hlo").encode()) < 150_000
    assert program.text("hlo").startswith("HloModule EINet")
    assert "module @EINet" in program.text("mhlo")
