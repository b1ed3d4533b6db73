"""What every test shares: nothing stays patched, captures go to a folder of the test's own.

BrainPy and JAX are imported by the tests that use them, not here: those in `unit` run without.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The tests start many interpreters: without bytecode each would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from loguru import logger

from tests import sharing  # noqa: F401 - makes the folder of the run

# What these folders test depends on BrainPy and JAX; in the others, such files are marked.
_OF_STACKS = ("capture", "ir")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that each stack runs: ``-m every_stack``."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.parent.name in _OF_STACKS:
            item.add_marker(pytest.mark.every_stack)


def pytest_collection_finish() -> None:
    """Look at what is to stay before any test runs."""
    _assert_nothing_patched()


@pytest.fixture(autouse=True)
def nothing_stays_patched() -> Iterator[None]:
    """Check before and after each test, once BrainPy is there."""
    _assert_nothing_patched()
    yield
    _assert_nothing_patched()
    # The shell command, run within this process, turns the log on.
    logger.disable("brainpy_probe")


def _assert_nothing_patched() -> None:
    if sys.modules.get("brainpy") is not None:
        from tests.watching import assert_nothing_patched

        assert_nothing_patched()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder for the captures of one test."""
    return tmp_path / "captures"
