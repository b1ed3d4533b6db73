"""A dictionary by what its keys are, which need be neither hashable nor comparable."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["IdentityDict", "reference"]


def reference(thing: Any) -> Callable[[], Any]:
    """Return what returns a thing for as long as it lives; forever, if it allows no weak reference.

    A Variable of BrainPy 2.4 to 2.6 allows none.
    """
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


Value = TypeVar("Value")


@dataclass
class IdentityDict(Generic[Value]):
    """Values by objects, of which none is kept alive and none is mistaken for a later one.

    An object that allows no weak reference is kept until the dictionary is cleared.
    """

    _entries: dict[int, tuple[Callable[[], Any], Value]] = field(default_factory=dict)

    def get(self, thing: Any) -> Value | None:
        """Return the value of an object; None if it has none."""
        entry = self._entries.get(id(thing))
        # An id is given away again: the reference tells whether it is still the same object's.
        return entry[1] if entry is not None and entry[0]() is thing else None

    def set(self, thing: Any, value: Value) -> Value:
        """Keep a value for as long as its object lives; return the value."""
        key, entries = id(thing), self._entries

        def forget(dead: Any) -> None:
            if key in entries and entries[key][0] is dead:
                del entries[key]

        try:
            found: Callable[[], Any] = weakref.ref(thing, forget)
        except TypeError:
            found = reference(thing)
        entries[key] = found, value
        return value

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
