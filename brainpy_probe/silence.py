"""Turns the package's log off as soon as loguru is there, and not before; knows no log line.

loguru reads its settings when it is imported, which is the script's to do.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from brainpy_probe.importing import around_import

__all__ = ["be_silent"]

_LOGURU = "loguru"


def be_silent() -> None:
    """Have loguru leave out what this package says, until the user enables it."""
    around_import(_LOGURU, _silencing)


@contextlib.contextmanager
def _silencing() -> Iterator[None]:
    yield
    sys.modules[_LOGURU].logger.disable("brainpy_probe")
