"""A small capture that the tests of this folder alter, and the choice of tests by stack."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.eras import SINCE_2_7
from tests.replaying import captured_with

# The IREE tests need a stack on which every program has a portable form, or an installed IREE.
collect_ignore = [] if SINCE_2_7 or find_spec("iree") is not None else ["test_iree.py"]


@pytest.fixture(scope="session")
def lif() -> Path:
    """Return a capture with all arrays; tests must not alter it."""
    return captured_with("lif", data="full").path


@pytest.fixture
def copy(lif: Path, tmp_path: Path) -> Path:
    """Return a copy of the capture that a test can alter."""
    return shutil.copytree(lif, tmp_path / lif.name)
