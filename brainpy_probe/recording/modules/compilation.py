"""The data that the recorder collects about one module while JAX compiles it."""

from __future__ import annotations

import functools
import itertools
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from brainpy_probe.compat.types import Executable
from brainpy_probe.format.digests import digest_of
from brainpy_probe.recording.modules.ended_phases import EndedPhase

__all__ = ["CURRENT_COMPILATION", "PENDING_PHASES", "SERIALS", "Compilation"]

# Calls and compilations share these serial numbers. Each number is used once per process.
SERIALS = itertools.count(1)


@dataclass
class Compilation:
    """One compilation of one module.

    Attributes
    ----------
    bytecode : bytes
        The complete module as MLIR bytecode.
    trace, lower, numba, compile : float or None
        Seconds per phase; None if the phase was not measured.
    compiled : bool
        Whether XLA compiled the module; False if JAX's persistent cache had it.
    executable : Executable
        The loaded executable.
    dumps : Path or None
        The folder into which XLA dumped files for this module.
    place, function : str
        The line of the user's code that led to it, and the function of that line.
    cache_minimum : float or None
        The seconds that a compilation must take for JAX's persistent cache to keep it.
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
    executable: Executable = None
    dumps: Path | None = None
    place: str = ""
    function: str = ""
    cache_minimum: float | None = None
    notes: list[str] = field(default_factory=list)

    @functools.cached_property
    def digest(self) -> str:
        """The XXH3-128 digest of the bytecode."""
        return digest_of(self.bytecode)


CURRENT_COMPILATION: ContextVar[Compilation | None] = ContextVar(
    "brainpy_probe_compilation", default=None
)
# Phases that have ended in this thread and are not yet assigned to a module.
PENDING_PHASES: ContextVar[tuple[EndedPhase, ...]] = ContextVar("brainpy_probe_phases", default=())
