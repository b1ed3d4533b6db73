"""Combines the captures of the processes of one distributed run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from brainpy_probe.format.manifest.common_records import Record
from brainpy_probe.format.manifest.records import Manifest

__all__ = ["ModuleOnSome", "ProgramOfRanks", "RankTimes", "Ranks", "compare_ranks"]


class RankTimes(Record, frozen=True, kw_only=True):
    """The calls of one process, and their seconds.

    Attributes
    ----------
    rank : int
        JAX's index of the process.
    name : str
        The name of its capture folder.
    host : str
        The machine.
    calls : int
        The number of its calls.
    compile, run, wall : float or None
        The seconds of its calls: in XLA's compiler; in total without tracing, lowering and
        compiling; and in total. None if a part of them is unknown.
    """

    rank: int
    name: str
    host: str
    calls: int
    compile: float | None
    run: float | None
    wall: float | None


class ProgramOfRanks(Record, frozen=True, kw_only=True):
    """A program, and the ranks that ran it.

    Attributes
    ----------
    name : str
        Its name.
    identity : str
        Its identity; empty if it has none. It is then not compared with other ranks.
    ranks : tuple of int
        The ranks that ran it.
    """

    name: str
    identity: str
    ranks: tuple[int, ...]


class ModuleOnSome(Record, frozen=True, kw_only=True):
    """A module that not all ranks compiled.

    Attributes
    ----------
    name : str
        JAX's name for it.
    ranks : tuple of int
        The ranks that compiled it.
    seconds : float
        The longest time that one rank took.
    """

    name: str
    ranks: tuple[int, ...]
    seconds: float


class Ranks(Record, frozen=True, kw_only=True):
    """The captures of a distributed run, one for each process.

    Attributes
    ----------
    count : int
        The number of processes.
    times : tuple of RankTimes
        The data of each rank that has a capture here.
    programs : tuple of ProgramOfRanks
        The distinct programs.
    modules : tuple of ModuleOnSome
        The modules that not all of these ranks compiled.
    """

    count: int
    times: tuple[RankTimes, ...]
    programs: tuple[ProgramOfRanks, ...]
    modules: tuple[ModuleOnSome, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that have no capture here."""
        return tuple(sorted(set(range(self.count)) - {times.rank for times in self.times}))

    @property
    def slowest(self) -> RankTimes | None:
        """The rank whose calls took longest; None if some seconds are unknown."""
        known = [(times.wall, times) for times in self.times if times.wall is not None]
        if len(known) < len(self.times) or not known:
            return None
        return max(known, key=lambda pair: pair[0])[1]


def compare_ranks(captures: Sequence[tuple[str, Manifest]]) -> Ranks:
    """Compare the captures of the processes of one run.

    Parameters
    ----------
    captures : sequence of (str, Manifest)
        The name of each capture folder and its records, in the order of the ranks.
    """
    ranks = {manifest.environment.rank: (name, manifest) for name, manifest in captures}
    found = {rank.index: both for rank, both in ranks.items() if rank is not None}
    count = max((rank.count for rank in ranks if rank is not None), default=1)
    manifests = {rank: manifest for rank, (_, manifest) in found.items()}
    return Ranks(
        count=count,
        times=tuple(_times(rank, name, manifest) for rank, (name, manifest) in found.items()),
        programs=tuple(_programs(manifests)),
        modules=tuple(_modules(manifests)),
    )


def _times(rank: int, name: str, manifest: Manifest) -> RankTimes:
    calls = [call.native for call in manifest.calls]
    return RankTimes(
        rank=rank,
        name=name,
        host=manifest.environment.host,
        calls=len(calls),
        compile=_total(timing.compile for timing in calls),
        run=_total(timing.execute for timing in calls),
        wall=_total(timing.wall for timing in calls),
    )


def _total(seconds: Iterable[float | None]) -> float | None:
    known = list(seconds)
    return None if None in known else sum(value for value in known if value is not None)


def _programs(manifests: Mapping[int, Manifest]) -> list[ProgramOfRanks]:
    ranks: dict[tuple[str, str, int], list[int]] = {}
    for rank, manifest in manifests.items():
        for program in manifest.programs:
            # A program without identity is not compared: it belongs to its rank alone.
            own = -1 if program.identity else rank
            found = ranks.setdefault((program.name, program.identity, own), [])
            if rank not in found:
                found.append(rank)
    return [
        ProgramOfRanks(name=name, identity=identity, ranks=tuple(found))
        for (name, identity, _), found in ranks.items()
    ]


def _modules(manifests: Mapping[int, Manifest]) -> list[ModuleOnSome]:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for rank, manifest in manifests.items():
        for module in manifest.modules:
            ranks = found.setdefault((module.name, module.fingerprint), {})
            seconds = module.seconds.wall or 0.0
            ranks[rank] = max(seconds, ranks.get(rank, 0.0))
    return [
        ModuleOnSome(name=name, ranks=tuple(ranks), seconds=max(ranks.values()))
        for (name, _), ranks in found.items()
        if len(ranks) < len(manifests)
    ]
