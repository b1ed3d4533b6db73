"""The record of a finding, and how findings group and name calls, modules and programs."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.format.manifest.records import CallRecord, Manifest, ModuleRecord
from brainpy_probe.showing import Shown

__all__ = [
    "Finding",
    "at_least",
    "call_of",
    "calls_by_model",
    "count_phrase",
    "modules_by_model",
    "program_numbers",
    "program_phrase",
    "programs_by_model",
    "programs_of_calls",
    "programs_of_modules",
    "seconds_phrase",
]


class Finding(Shown, msgspec.Struct, frozen=True, kw_only=True):
    """A fact about a capture on which the user may want to act.

    Attributes
    ----------
    slug : str
        The kind of finding.
    sentence : str
        The fact, with figures.
    remedy : str
        The action that the user can take.
    model : str
        The model's class; empty if the finding is not about a model.
    count : int
        Number of occurrences.
    seconds : float or None
        Total time that it took, if it was measured.
    programs : tuple of int
        The programs to which it applies.
    """

    slug: str
    sentence: str
    remedy: str
    model: str = ""
    count: int = 1
    seconds: float | None = None
    programs: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"<Finding {self.slug}: {self.count}>"


# --- Groups ---------------------------------------------------------------------------------------


def calls_by_model(calls: Iterable[CallRecord]) -> dict[str, list[CallRecord]]:
    """Group calls by the class of their model."""
    groups: dict[str, list[CallRecord]] = {}
    for call in calls:
        groups.setdefault(call.model, []).append(call)
    return groups


def call_of(manifest: Manifest, module: ModuleRecord) -> CallRecord | None:
    """Return the call during which a module was compiled, or None."""
    return None if module.call is None else manifest.calls[module.call]


def modules_by_model(
    manifest: Manifest, modules: Iterable[ModuleRecord]
) -> dict[str, list[ModuleRecord]]:
    """Group modules by the class of the model during whose calls they were compiled."""
    groups: dict[str, list[ModuleRecord]] = {}
    for module in modules:
        call = call_of(manifest, module)
        groups.setdefault("" if call is None else call.model, []).append(module)
    return groups


def programs_by_model(manifest: Manifest) -> dict[str, list[ProgramRecord]]:
    """Group programs by the class of the model that first ran them."""
    models: dict[int, str] = {}
    for call in manifest.calls:
        if call.program is not None:
            models.setdefault(call.program, call.model)
    groups: dict[str, list[ProgramRecord]] = {}
    for program in manifest.programs:
        groups.setdefault(models.get(program.index, program.name), []).append(program)
    return groups


def program_numbers(programs: Iterable[ProgramRecord]) -> tuple[int, ...]:
    """Return the numbers of programs."""
    return tuple(program.index for program in programs)


def programs_of_calls(calls: Iterable[CallRecord]) -> tuple[int, ...]:
    """Return the numbers of the programs of calls."""
    return tuple(sorted({call.program for call in calls if call.program is not None}))


def programs_of_modules(manifest: Manifest, modules: Iterable[ModuleRecord]) -> tuple[int, ...]:
    """Return the numbers of the programs of the calls during which modules were compiled."""
    calls = [call_of(manifest, module) for module in modules]
    return programs_of_calls(call for call in calls if call is not None)


def at_least(manifest: Manifest, package: str, version: tuple[int, ...]) -> bool:
    """Return whether a package had at least this version; True if its version is unknown."""
    numbers = re.findall(r"\d+", manifest.environment.versions.get(package, ""))
    return not numbers or tuple(map(int, numbers[: len(version)])) >= version


# --- Phrases --------------------------------------------------------------------------------------


def count_phrase(number: int, singular: str, plural: str) -> str:
    """Return a number with its noun."""
    return f"{number} {singular if number == 1 else plural}"


def program_phrase(programs: Iterable[ProgramRecord]) -> str:
    """Return the numbers of programs as a phrase: ``programs 0, 2``."""
    numbers = [str(program.index) for program in programs]
    return f"program{'s' * (len(numbers) > 1)} {', '.join(numbers)}"


def seconds_phrase(seconds: float | None) -> str:
    """Return seconds as a phrase."""
    return "an unknown time" if seconds is None else f"{seconds:.2f} s"
