"""Whatever fails while a capture is written: nothing wrong is recorded, nothing lost unsaid."""

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

# All moments take minutes: some of them are tried unless this is set.
EVERY = bool(os.environ.get("BRAINPY_PROBE_TESTS_ALL_FAULTS"))
ONCE, SOME_TIME, FOR_GOOD = 1, 7, 1_000_000


@pytest.fixture(scope="module")
def events() -> list[Any]:
    """Return the calls and modules of five real runs."""
    return faults.events_of(faults.block)


@pytest.fixture(scope="module")
def truth(events: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return what an undisturbed session records of them."""
    out = tmp_path_factory.mktemp("truth")
    outcome = faults.recorded(events, out, faults.interrupted(0))
    assert not outcome.said
    assert not outcome.raised
    assert outcome.capture is not None
    manifest = outcome.capture.manifest
    assert [call.program for call in manifest.calls] == [0, 1, 0, 1, 0]
    return manifest


def _moments(count: int, some: int, always: Iterable[int] = ()) -> list[int]:
    every = range(1, count + 1)
    return list(every) if EVERY else sorted({*every[:: max(count // some, 1)], *always})


@pytest.mark.timeout(3600 if EVERY else 300)
@pytest.mark.parametrize(
    ("number", "times"),
    [
        pytest.param(number, times, id=f"{name} {how}")
        for number, name in ((errno.ENOSPC, "full"), (errno.EIO, "broken"))
        for times, how in ((ONCE, "once"), (SOME_TIME, "for some time"), (FOR_GOOD, "for good"))
        if EVERY or (name, how) != ("broken", "for good")
    ],
)
def test_a_disk_that_fails_at_any_moment(
    events: list[Any], truth: Manifest, tmp_path: Path, number: int, times: int
) -> None:
    counted = faults.recorded(events, tmp_path / "none", faults.disk_fails(0, number, 0))
    for moment in _moments(counted.moments, 8, counted.written):
        fault = faults.disk_fails(moment, number, times)
        outcome = faults.recorded(events, tmp_path / str(moment), fault)
        faults.assert_right(outcome, truth, lost=1 if times == ONCE else 99)


@pytest.mark.timeout(3600 if EVERY else 300)
def test_a_disk_that_fails_changes_no_run(tmp_path: Path) -> None:
    native = faults.block()
    undisturbed, results = faults.captured(tmp_path / "none", faults.disk_fails(0, 0, 0))
    assert undisturbed.capture is not None
    assert results == native
    for moment in _moments(undisturbed.moments, 5):
        fault = faults.disk_fails(moment, errno.ENOSPC, ONCE)
        outcome, found = faults.captured(tmp_path / str(moment), fault)
        assert found == (results if outcome.capture else [])
        faults.assert_right(outcome, undisturbed.capture.manifest, lost=1, same_run=False)


@pytest.mark.timeout(3600 if EVERY else 300)
def test_an_interrupt_at_any_line(events: list[Any], truth: Manifest, tmp_path: Path) -> None:
    count = faults.recorded(events, tmp_path / "none", faults.interrupted(0)).moments
    for line in _moments(count, 24):
        outcome = faults.recorded(events, tmp_path / str(line), faults.interrupted(line))
        assert [type(error) for error in outcome.raised] == [KeyboardInterrupt]
        faults.assert_right(outcome, truth, lost=1)
        assert not OWN_WORK.get()
