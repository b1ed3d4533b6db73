"""Each deliberate fault of ``tests/mutants`` fits the current source."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.faults import FAULTS
from tests.mutants.patching import with_fault

ROOT = Path(__file__).parents[2]


def test_each_fault_fits_the_source_and_names_tests() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 40
    for fault in FAULTS:
        with_fault(ROOT / "brainpy_probe", fault)
        assert all((ROOT / path).exists() for path in fault.tests.partition(" -k ")[0].split())
