"""The records of a capture, gathered one addition after the other; knows no file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.format.records import Addition, CallRecord, Manifest, ModuleRecord

__all__ = ["Index", "named_files"]


class _Count(NamedTuple):
    """How many records count, how many bytes of the journal hold them, after how many additions."""

    calls: int
    programs: int
    modules: int
    lost_modules: int
    complete: bool
    end: int
    additions: int


class Index:
    """An index that grows; each addition costs the same, however many came before.

    An addition counts from one moment on, the last assignment of :meth:`add`: an interrupt before
    it has added nothing, and another thread reads all of an addition or nothing.

    Parameters
    ----------
    begun : Manifest
        What is in it at first.
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
            begun.complete,
            end=0,
            additions=0,
        )
        self._read = self._count, begun

    def add(self, addition: Addition, *, end: int = 0, complete: bool = False) -> None:
        """Add what an addition has and the index has not yet.

        Parameters
        ----------
        addition : Addition
            The records.
        end : int
            How long the journal is with them.
        complete : bool
            Whether the capture has ended.
        """
        count = self._count
        self._count = _Count(
            _put(self._calls, count.calls, addition.calls),
            _put(self._programs, count.programs, addition.programs),
            _put(self._modules, count.modules, addition.modules),
            _put(self._lost_modules, count.lost_modules, addition.lost_modules),
            complete,
            end,
            count.additions + 1,
        )

    @property
    def manifest(self) -> Manifest:
        """The records as they stand now."""
        count, read = self._read
        now = self._count
        if count is not now:
            read = replace(
                self._begun,
                calls=tuple(self._calls[: now.calls]),
                programs=tuple(self._programs[: now.programs]),
                modules=tuple(self._modules[: now.modules]),
                lost_modules=tuple(self._lost_modules[: now.lost_modules]),
                complete=now.complete,
            )
            self._read = now, read
        return read

    @property
    def begun(self) -> Manifest:
        """What was in it at first."""
        return self._begun

    @property
    def end(self) -> int:
        """How many bytes of the journal hold these records; what stands behind them is none."""
        return self._count.end

    @property
    def additions(self) -> int:
        """How many additions there were."""
        return self._count.additions

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return self._count.calls

    @property
    def programs(self) -> int:
        """How many programs there are."""
        return self._count.programs

    @property
    def modules(self) -> int:
        """How many modules there are."""
        return self._count.modules

    @property
    def lost_modules(self) -> int:
        """How many modules could not be recorded."""
        return self._count.lost_modules

    def call(self, number: int) -> CallRecord:
        """Return a call."""
        return self._calls[number]

    def program(self, number: int) -> ProgramRecord:
        """Return a program."""
        return self._programs[number]

    def module(self, number: int) -> ModuleRecord:
        """Return a module."""
        return self._modules[number]


def _put(records: list[Any], count: int, more: tuple[Any, ...]) -> int:
    """Put records behind those that count; return how many count with them."""
    del records[count:]  # what an interrupted addition has left
    records += [record for record in more if record.index >= count]
    return len(records)


def named_files(manifest: Manifest) -> Iterator[WrittenFile]:
    """Yield each file that a manifest names."""
    for program in manifest.programs:
        yield from program.files
        if program.portable is not None:
            yield from program.portable.files
    for module in manifest.modules:
        yield from module.files
