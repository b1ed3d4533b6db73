"""Records of the process in which a capture was made."""

from __future__ import annotations

from brainpy_probe.format.manifest.common_records import NonNegativeInt, Record

__all__ = ["Environment", "Rank"]


class Rank(Record, frozen=True, kw_only=True):
    """The place of a process among the processes that run one program (jax.distributed).

    Attributes
    ----------
    index, count : int
        JAX's index of the process, and the number of processes.
    session : str
        A name that is equal in all of them; empty if it is unknown.
    capture : int
        How many captures the process had opened before this one.
    """

    index: NonNegativeInt
    count: NonNegativeInt
    session: str = ""
    capture: NonNegativeInt = 0


class Environment(Record, frozen=True, kw_only=True):
    """The environment of the run: interpreter, host, process, backend and package versions.

    Attributes
    ----------
    host, python : str
        The name of the machine; the version of the interpreter.
    pid : int
        The number of the process.
    backend : str
        JAX's default platform in the process. Each program has its own in its ``placement``.
    versions : dict
        The version of each package that was installed, by its name.
    rank : Rank or None
        The place of the process, if several processes run one program.
    processor : str
        Model and vector instructions of the CPU, for which XLA compiles; empty if unknown.
    xla_flags : str or None
        The flags in the variable ``XLA_FLAGS`` that can change the code which XLA compiles; None
        if they are unknown.
    untested : str
        A warning if the probe was not tested with these versions; otherwise empty.
    """

    host: str
    pid: NonNegativeInt
    python: str
    backend: str
    versions: dict[str, str]
    rank: Rank | None = None
    processor: str = ""
    xla_flags: str | None = None
    untested: str = ""

    @property
    def jaxlib(self) -> str:
        """The version of jaxlib; empty if it is unknown."""
        return self.versions.get("jaxlib", "")
