"""What every test shares: nothing stays patched, captures go to a folder of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from loguru import logger

from brainpy_probe.recording.patches import LEDGER
from tests.eras import SINCE_2_4, SINCE_2_7
from tests.watching import PATCHED, wrappers_on_runners

# An example in the API of one side of 2.4 is run on that side.
collect_ignore = ["test_example_2022.py" if SINCE_2_4 else "test_example.py"]
# IREE belongs to the stacks on which every program has a plain form; on others it may be there.
if not SINCE_2_7 and find_spec("iree") is None:
    collect_ignore += ["test_iree.py", "test_handoff.py"]

ORIGINALS = [vars(owner)[name] for owner, name in PATCHED]


def assert_nothing_patched() -> None:
    """Assert that each patched attribute is the original object, and that nobody is watching."""
    for (owner, name), original in zip(PATCHED, ORIGINALS, strict=True):
        assert vars(owner)[name] is original, f"{owner!r}.{name} is patched"
    assert wrappers_on_runners() == []
    assert LEDGER.users == ()


@pytest.fixture(autouse=True)
def nothing_stays_patched() -> Iterator[None]:
    """Check before and after each test."""
    assert_nothing_patched()
    yield
    assert_nothing_patched()
    # The shell command, run within this process, turns the log on.
    logger.disable("brainpy_probe")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder for the captures of one test."""
    return tmp_path / "captures"
