"""What is noted of one module while JAX compiles it; knows neither how it is seen nor what for."""

from __future__ import annotations

import functools
import itertools
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainpy_probe.format.digests import digest_of
from brainpy_probe.recording.modules.pending import Ended

__all__ = ["CURRENT_COMPILATION", "PENDING_PHASES", "SERIALS", "Compilation"]

# No two calls or compilations of a process have the same number.
SERIALS = itertools.count(1)


@dataclass
class Compilation:
    """One module on its way through JAX's compiler.

    Attributes
    ----------
    bytecode : bytes
        The module as MLIR bytecode, complete.
    trace, lower, numba, compile : float or None
        Seconds; None if they were not measured.
    compiled : bool
        Whether XLA compiled it; else it came from JAX's persistent cache.
    executable : Any
        What XLA made of it.
    dumps : Path or None
        The folder into which XLA dumped its files.
    """

    name: str
    bytecode: bytes
    backend: str
    serial: int = field(default_factory=SERIALS.__next__)
    thread: str = field(default_factory=lambda: threading.current_thread().name)
    trace: float | None = 0.0
    lower: float | None = 0.0
    numba: float | None = 0.0
    compile: float = 0.0
    compiled: bool = False
    executable: Any = None
    dumps: Path | None = None
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def digest(self) -> str:
        """XXH3-128 of the bytecode."""
        return digest_of(self.bytecode)


CURRENT_COMPILATION: ContextVar[Compilation | None] = ContextVar(
    "brainpy_probe_compilation", default=None
)
# Phases that have ended in this thread and led to no module yet.
PENDING_PHASES: ContextVar[tuple[Ended, ...]] = ContextVar("brainpy_probe_phases", default=())
