"""Computes costly results once for all processes of a test run, in a folder of the run."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["made_once"]

_T = TypeVar("_T")

# conftest.py imports this module, so that the first process creates the folder: the workers of
# pytest-xdist inherit the variable.
_VARIABLE = "PROBE_TESTS_FOLDER"

if _VARIABLE not in os.environ:
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="brainpy-probe-tests-")
    atexit.register(shutil.rmtree, os.environ[_VARIABLE], ignore_errors=True)

_FOLDER = Path(os.environ[_VARIABLE])


@functools.cache
def made_once(name: str, make: Callable[[Path], _T]) -> _T:
    """Return the result of `make`, which is called once for all processes of the test run.

    Parameters
    ----------
    name : str
        A unique name.
    make : callable
        Takes a folder that exists for the whole run; its result is pickled.
    """
    result = _FOLDER / f"{name}.pickle"
    with (_FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            folder = _FOLDER / name
            folder.mkdir(exist_ok=True)
            result.write_bytes(pickle.dumps(make(folder)))
    loaded: _T = pickle.loads(result.read_bytes())  # noqa: S301
    return loaded
