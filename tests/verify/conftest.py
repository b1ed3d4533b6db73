"""A small capture that the tests of this folder alter, and which tests this stack can run."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.eras import SINCE_2_7
from tests.replaying import captured_with

# IREE belongs to the stacks on which every program has a plain form; on others it may be there.
collect_ignore = [] if SINCE_2_7 or find_spec("iree") is not None else ["test_iree.py"]


@pytest.fixture(scope="session")
def lif() -> Path:
    """Return a capture with all arrays, which must stay as it is."""
    return captured_with("lif", data="full").path


@pytest.fixture
def copy(lif: Path, tmp_path: Path) -> Path:
    """Return a copy of the capture, to be altered."""
    return shutil.copytree(lif, tmp_path / lif.name)
