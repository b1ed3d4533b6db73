"""Disk errors and interrupts at any time: the record is correct, and each loss is reported."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.recording.current import OWN_WORK
from tests import faults

# Testing all points takes minutes: without this variable, the tests use a sample.
ALL_POINTS = bool(os.environ.get("BRAINPY_PROBE_TESTS_ALL_FAULTS"))
ONE_CALL, SEVEN_CALLS, ALL_CALLS = 1, 7, 1_000_000


@pytest.fixture(scope="module")
def events() -> list[Any]:
    """Return the calls and modules of five real runs."""
    return faults.events_of(faults.block)


@pytest.fixture(scope="module")
def truth(events: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return the manifest of a recording without a fault."""
    out = tmp_path_factory.mktemp("truth")
    outcome = faults.record_with_fault(events, out, faults.interrupt(0))
    assert not outcome.messages
    assert not outcome.raised
    assert outcome.capture is not None
    manifest = outcome.capture.manifest
    assert [call.program for call in manifest.calls] == [0, 1, 0, 1, 0]
    return manifest


def _points(count: int, sample_size: int, always: Iterable[int] = ()) -> list[int]:
    every = range(1, count + 1)
    return list(every) if ALL_POINTS else sorted({*every[:: max(count // sample_size, 1)], *always})


@pytest.mark.timeout(3600 if ALL_POINTS else 300)
@pytest.mark.parametrize(
    ("number", "times"),
    [
        pytest.param(number, times, id=f"{name} {how}")
        for number, name in ((errno.ENOSPC, "full"), (errno.EIO, "broken"))
        for times, how in (
            (ONE_CALL, "once"),
            (SEVEN_CALLS, "seven times"),
            (ALL_CALLS, "permanently"),
        )
        if ALL_POINTS or (name, how) != ("broken", "permanently")
    ],
)
def test_a_disk_error_at_any_time_loses_nothing_silently(
    events: list[Any], truth: Manifest, tmp_path: Path, number: int, times: int
) -> None:
    counted = faults.record_with_fault(events, tmp_path / "none", faults.failing_disk(0, number, 0))
    for point in _points(counted.points, 8, counted.index_writes):
        fault = faults.failing_disk(point, number, times)
        outcome = faults.record_with_fault(events, tmp_path / str(point), fault)
        faults.assert_consistent(outcome, truth, lost=1 if times == ONE_CALL else 99)


@pytest.mark.timeout(3600 if ALL_POINTS else 300)
def test_a_disk_error_changes_no_run(tmp_path: Path) -> None:
    native = faults.block()
    undisturbed, results = faults.capture_with_fault(
        tmp_path / "none", faults.failing_disk(0, 0, 0)
    )
    assert undisturbed.capture is not None
    assert results == native
    for point in _points(undisturbed.points, 5):
        fault = faults.failing_disk(point, errno.ENOSPC, ONE_CALL)
        outcome, found = faults.capture_with_fault(tmp_path / str(point), fault)
        assert found == (results if outcome.capture else [])
        faults.assert_consistent(outcome, undisturbed.capture.manifest, lost=1, same_run=False)


@pytest.mark.timeout(3600 if ALL_POINTS else 300)
def test_an_interrupt_at_any_line_loses_nothing_silently(
    events: list[Any], truth: Manifest, tmp_path: Path
) -> None:
    count = faults.record_with_fault(events, tmp_path / "none", faults.interrupt(0)).points
    for line in _points(count, 24):
        outcome = faults.record_with_fault(events, tmp_path / str(line), faults.interrupt(line))
        assert [type(error) for error in outcome.raised] == [KeyboardInterrupt]
        faults.assert_consistent(outcome, truth, lost=1)
        assert not OWN_WORK.get()
