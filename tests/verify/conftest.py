"""A small capture that the tests of this folder alter."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import brainpy_probe as probe
from tests.networks import by_name


@pytest.fixture(scope="session")
def lif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a capture with all arrays."""
    case = by_name("lif")
    runner = case.build()
    with probe.capture(tmp_path_factory.mktemp("lif"), data="full", strict=True) as cap:
        case.run(runner)
    return cap.path


@pytest.fixture
def copy(lif: Path, tmp_path: Path) -> Path:
    """Return a copy of the capture, to be altered."""
    return shutil.copytree(lif, tmp_path / lif.name)
