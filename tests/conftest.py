"""Fixtures and hooks of all tests: no patch remains, and each test has its own folder.

Only the tests that use BrainPy and JAX import them: the tests in `unit` run without.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Half of the tests' time would go into compiling programs that run for milliseconds: a third of it
# into LLVM's optimisations, and half of the rest into emitting fusions with MLIR. XLA's own passes
# remain, including fusion. nox tests the stacks with the default flags: it sets XLA_FLAGS.
# jaxlib 0.12 lacks the second flag, and an unknown flag ends the process.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib") == "0.10.2" else ""),
)
# OpenBLAS starts a busy-waiting thread for each core: 2 % of the tests' CPU time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The tests start many interpreters: without bytecode each would compile all of its imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from loguru import logger

from tests import sharing  # noqa: F401 - makes the shared folder of the test run

# By default a tenth of the tests' time goes into garbage collection, which visits the permanent
# objects of JAX, BrainPy and pytest. Tests of freed memory call gc.collect() themselves.
gc.set_threshold(100_000, 20, 50)

# The tests in these folders depend on BrainPy and JAX; in other folders, such files are marked.
_OF_STACKS = ("capture", "ir")

# The files of these folders take seconds each. pytest-xdist hands them out last, so that no core
# waits for a long file at the end.
_SHORT = ("report", "cli", "ir", "unit")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark the tests that each stack runs, ``-m every_stack``, and put long files first."""
    for item in items:
        if item.path.parent.name in _OF_STACKS:
            item.add_marker(pytest.mark.every_stack)
    yield
    items.sort(key=lambda item: item.path.parent.name in _SHORT)


def pytest_collection_finish() -> None:
    """Check before the first test that nothing is patched."""
    _assert_nothing_patched()


@pytest.fixture(autouse=True)
def nothing_stays_patched() -> Iterator[None]:
    """Check before and after each test that nothing is patched, once BrainPy is imported."""
    _assert_nothing_patched()
    yield
    _assert_nothing_patched()
    # The shell command enables the log when it runs in this process.
    logger.disable("brainpy_probe")


def _assert_nothing_patched() -> None:
    if sys.modules.get("brainpy") is not None:
        from tests.watching import assert_nothing_patched

        assert_nothing_patched()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder for the captures of one test."""
    return tmp_path / "captures"
