"""A dictionary whose keys are compared by identity, without keeping them alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["IdentityDict", "reference"]


def reference(obj: Any) -> Callable[[], Any]:
    """Return a weak reference to an object, or a strong one if the object supports no weak ones.

    A Variable of BrainPy 2.4 to 2.6 has no weak references.
    """
    try:
        return weakref.ref(obj)
    except TypeError:
        return lambda: obj


_Value = TypeVar("_Value")


@dataclass
class IdentityDict(Generic[_Value]):
    """A dictionary with objects as keys, compared by identity. The keys may be unhashable.

    A key is not kept alive, and a later object with the same ``id`` is not mistaken for it. A key
    that supports no weak references is kept alive until the dictionary is cleared.
    """

    _entries: dict[int, tuple[Callable[[], Any], _Value]] = field(default_factory=dict)

    def get(self, obj: Any) -> _Value | None:
        """Return the value of an object; None if it has none."""
        entry = self._entries.get(id(obj))
        # Python reuses ids: the reference shows whether the object is still the same.
        return entry[1] if entry is not None and entry[0]() is obj else None

    def set(self, obj: Any, value: _Value) -> _Value:
        """Store the value of an object for as long as the object lives; return the value."""
        key, entries = id(obj), self._entries

        def forget(dead: Any) -> None:
            if key in entries and entries[key][0] is dead:
                del entries[key]

        try:
            key_reference: Callable[[], Any] = weakref.ref(obj, forget)
        except TypeError:
            key_reference = reference(obj)
        entries[key] = key_reference, value
        return value

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
