"""Counts runs that are not recorded as calls, by kind; or compiled functions of the user's."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import CodeType, FunctionType

from brainpy_probe.format.manifest.records import Uncaptured

__all__ = ["UncapturedRuns"]

# The names of the functions that are recorded.
_MAX_NAMES = 20


@dataclass
class _Kind:
    """The data of one kind: the number of runs, or the functions by the ``id`` of their code.

    A function that is defined again, such as one within a loop, has the same code.
    """

    runs: int = 0
    functions: dict[int, tuple[CodeType, str]] = field(default_factory=dict)


@dataclass
class UncapturedRuns:
    """The runs and functions of one capture that are not calls, by kind."""

    _kinds: dict[str, _Kind] = field(default_factory=dict)

    def add(self, idiom: str, function: FunctionType | None) -> bool:
        """Add a run, or a function; return whether it is time to write the counts.

        They are written at each power of two, so that even a killed capture has approximate counts.
        """
        kind = self._kinds.setdefault(idiom, _Kind())
        if function is None:
            kind.runs += 1
            count = kind.runs
        else:
            code = function.__code__
            if id(code) in kind.functions:
                return False
            name = function.__qualname__.replace("<locals>.", "")
            # The code is kept alive, so that its id stays unique.
            kind.functions[id(code)] = code, name
            count = len(kind.functions)
        return not count & (count - 1)

    def records(self) -> tuple[Uncaptured, ...]:
        """Return the counts."""
        return tuple(
            Uncaptured(
                idiom=idiom,
                count=len(kind.functions) or kind.runs,
                functions=tuple(name for _, name in kind.functions.values())[:_MAX_NAMES],
            )
            for idiom, kind in self._kinds.items()
        )
