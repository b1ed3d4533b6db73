"""The records of an open capture in memory, to which additions are appended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.format.manifest.records import (
    Addition,
    CallCount,
    CallRecord,
    Manifest,
    ModuleRecord,
    Uncaptured,
)

__all__ = ["Index", "named_files"]


class _Count(NamedTuple):
    """Number of valid records, size of the journal that holds them, and number of additions."""

    calls: int
    programs: int
    modules: int
    lost_modules: int
    counts: dict[int, CallCount]
    uncaptured: dict[str, Uncaptured]
    complete: bool
    journal_size: int
    additions: int


class Index:
    """A manifest that grows. The cost of an addition does not depend on the number of records.

    An addition takes effect in one assignment, the last of :meth:`add`. An interrupt before it adds
    nothing, and another thread reads all of an addition or nothing of it.

    Parameters
    ----------
    begun : Manifest
        The records that the index starts with.
    """

    def __init__(self, begun: Manifest) -> None:
        self._begun = begun
        self._calls = list(begun.calls)
        self._programs = list(begun.programs)
        self._modules = list(begun.modules)
        self._lost_modules = list(begun.lost_modules)
        self._count = _Count(
            len(self._calls),
            len(self._programs),
            len(self._modules),
            len(self._lost_modules),
            {},
            {found.idiom: found for found in begun.uncaptured},
            begun.complete,
            journal_size=0,
            additions=0,
        )
        self._read = self._count, begun

    def add(self, addition: Addition, *, journal_size: int = 0, complete: bool = False) -> None:
        """Add those records of an addition that the index does not have yet.

        Parameters
        ----------
        addition : Addition
            The records.
        journal_size : int
            The size of the journal with these records.
        complete : bool
            Whether the capture has ended.
        """
        count = self._count
        self._count = _Count(
            _append(self._calls, count.calls, addition.calls),
            _append(self._programs, count.programs, addition.programs),
            _append(self._modules, count.modules, addition.modules),
            _append(self._lost_modules, count.lost_modules, addition.lost_modules),
            count.counts | {found.call: found for found in addition.counts},
            count.uncaptured | {found.idiom: found for found in addition.uncaptured},
            complete,
            journal_size,
            count.additions + 1,
        )

    @property
    def manifest(self) -> Manifest:
        """The manifest with all records added so far."""
        count, read = self._read
        now = self._count
        if count is not now:
            read = replace(
                self._begun,
                calls=tuple(_counted(self._calls[: now.calls], now.counts)),
                programs=tuple(self._programs[: now.programs]),
                modules=tuple(self._modules[: now.modules]),
                lost_modules=tuple(self._lost_modules[: now.lost_modules]),
                uncaptured=tuple(now.uncaptured.values()),
                complete=now.complete,
            )
            self._read = now, read
        return read

    @property
    def begun(self) -> Manifest:
        """The manifest with which the index started."""
        return self._begun

    @property
    def journal_size(self) -> int:
        """Number of bytes of the journal that contain these records; later bytes are ignored."""
        return self._count.journal_size

    @property
    def additions(self) -> int:
        """Number of additions."""
        return self._count.additions

    @property
    def calls(self) -> int:
        """Number of calls."""
        return self._count.calls

    @property
    def programs(self) -> int:
        """Number of programs."""
        return self._count.programs

    @property
    def modules(self) -> int:
        """Number of modules."""
        return self._count.modules

    @property
    def lost_modules(self) -> int:
        """Number of modules that could not be recorded."""
        return self._count.lost_modules

    def call(self, number: int) -> CallRecord:
        """Return a call by its number."""
        return self._calls[number]

    def program(self, number: int) -> ProgramRecord:
        """Return a program by its number."""
        return self._programs[number]

    def module(self, number: int) -> ModuleRecord:
        """Return a module by its number."""
        return self._modules[number]


def _counted(calls: list[CallRecord], counts: dict[int, CallCount]) -> Iterator[CallRecord]:
    """Yield calls with the counts of their runs."""
    for call in calls:
        count = counts.get(call.index)
        yield call if count is None else replace(call, repeats=count)


def _append(records: list[Any], count: int, more: tuple[Any, ...]) -> int:
    """Append records after the first ``count``; return the new number of valid records."""
    del records[count:]  # records that an interrupted addition appended
    records += [record for record in more if record.index >= count]
    return len(records)


def named_files(manifest: Manifest) -> Iterator[WrittenFile]:
    """Yield each file that a manifest names."""
    for program in manifest.programs:
        yield from program.files
        step = program.step
        for form in (program.portable, step, None if step is None else step.portable):
            yield from () if form is None else form.files
    for module in manifest.modules:
        yield from module.files
    for call in manifest.calls:
        if call.repeats is not None and call.repeats.last_state is not None:
            yield call.repeats.last_state
