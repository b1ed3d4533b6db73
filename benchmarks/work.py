"""What a measured process is to do, and what it tells; knows neither BrainPy nor the probe."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Measured", "Run", "Way", "Work"]

Way = Literal["plain", "probe", "old", "jax-dump", "xla-flags"]
Task = Literal["runs", "replay", "verify", "mhlo", "data", "index"]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is to do.

    Attributes
    ----------
    task : str
        ``runs`` runs a network; ``data`` writes arrays of ``size`` bytes; ``index`` adds ``runs``
        calls to an index; the others read a capture.
    network : str
        ``einet`` or ``components``.
    size : float
        EINet's scale, the number of components, or bytes.
    steps : int
        Time steps in a run.
    runs : int
        How many times it runs.
    way : str
        ``plain``; ``probe``, with ``options`` for ``capture()``; ``old``, as by editing BrainPy;
        ``jax-dump`` and ``xla-flags``, which the process finds in its environment.
    folder : str
        Where files go, or where those of a capture are.
    """

    task: Task = "runs"
    network: str = "einet"
    size: float = 1.0
    steps: int = 10_000
    runs: int = 1
    way: Way = "plain"
    options: dict[str, Any] = {}
    folder: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes
    ----------
    wall, cpu : float
        Seconds of ``runner.run(...)``, and of the processor in it.
    added : float
        The seconds of it that the probe, or the edited lines, took on their own clock.
    compilations : int
        How many modules XLA compiled in it.
    resident : int
        Bytes that the process holds after it.
    """

    wall: float
    cpu: float
    added: float
    compilations: int
    resident: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells.

    Attributes
    ----------
    runs : list of Run
        In their order.
    process : float
        Seconds from the process's start to its end, as its parent sees them.
    peak : int
        The most bytes that the process held while it ran.
    around : float
        Seconds of opening and closing the capture.
    text, folder : int
        Bytes of the program's text in the first dialect; of all files.
    seconds : dict
        What else was timed, by name.
    """

    runs: list[Run] = []
    process: float = 0.0
    peak: int = 0
    around: float = 0.0
    text: int = 0
    folder: int = 0
    seconds: dict[str, float] = {}
