"""Turns the paths of a walk through a model into names.

A name is the path to an object, the same in every process. It contains no counter of BrainPy, no
object's id, and none of the containers that BrainPy itself inserts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from brainpy_probe.compat import brainpy_model
from brainpy_probe.compat.brainpy_model import (
    MANTISSA,
    VALUE,
    array_classes,
    object_classes,
    quantity_class,
    state_class,
)
from brainpy_probe.recording.model.pytrees import unique_name
from brainpy_probe.recording.model.tree import Visit, name_part, step_cost

__all__ = ["PathNames", "path_cost"]

_ID = re.compile(r"0x[0-9a-f]{6,}|\d{9,}")
_WORD = re.compile(r"\w+")
_COUNTED = re.compile(r"(\D+)\d+")
# Containers that no name includes.
_OMITTED = (*brainpy_model.CONTAINERS, VALUE, MANTISSA)
_IMPLICIT_COST = 3


def path_cost(key: Any) -> int:
    """Return the cost of one step of a path; containers that no name includes cost nothing.

    The containers ``implicit_...`` and the target of a delay cost more, because most of their
    objects have a plainer path.
    """
    if key == brainpy_model.DELAYED:
        return step_cost(key) + 1
    if key in _OMITTED:
        return _IMPLICIT_COST if "implicit" in key else 0
    return step_cost(key)


class PathNames:
    """The names of the objects of one walk, each used once.

    Parameters
    ----------
    visits : sequence of Visit
        The visits of the walk, in their order.
    root_name, title : str
        The root's name as prefix of the other names; and the root's name when other names refer to
        it.
    taken : set of str
        Names that are already used. The new names are added.
    """

    def __init__(
        self, visits: Sequence[Visit], root_name: str, title: str, taken: set[str]
    ) -> None:
        self._visits, self._root_name, self._title, self._taken = visits, root_name, title, taken
        self._numbers = {id(visit.obj): number for number, visit in enumerate(visits)}
        self._names: dict[int, str] = {}
        self._in_progress: set[int] = set()
        component = object_classes()
        self._counted = {
            name: number
            for number, visit in enumerate(visits)
            if isinstance(visit.obj, component) and (name := _automatic_name(visit.obj))
        }

    def of(self, number: int) -> str:
        """Return the name of the object of a visit, given the visit's number."""
        if number not in self._names:
            visit = self._visits[number]
            if visit.parent < 0:
                self._names[number] = self._root_name
            elif visit.key in _OMITTED and self._is_omitted(visit):
                self._names[number] = self.of(visit.parent)
            else:
                self._in_progress.add(number)
                path = ".".join(filter(None, (self.of(visit.parent), self._part(number))))
                self._in_progress.discard(number)
                self._names[number] = unique_name(path, self._taken)
        return self._names[number]

    def _is_omitted(self, visit: Visit) -> bool:
        """Return whether an object has its holder's name, like the value of an Array."""
        holder = self._visits[visit.parent].obj
        if visit.key == MANTISSA:
            quantity = quantity_class()
            return quantity is not None and issubclass(type(holder), quantity)
        if visit.key == VALUE:
            return isinstance(holder, array_classes())
        return isinstance(holder, object_classes()) and isinstance(visit.obj, dict)

    def _part(self, number: int) -> str:
        """Return the last part of an object's name."""
        visit = self._visits[number]
        key = str(visit.key)
        if isinstance(visit.key, int) and not _ID.fullmatch(key):
            return key
        if key == _automatic_name(visit.obj):
            return type(visit.obj).__name__
        if key.startswith(brainpy_model.DELAYS):
            target = getattr(visit.obj, "__dict__", {}).get(brainpy_model.DELAYED)
            if isinstance(target, state_class()) and self._can_be_named(target):
                return f"delay_of_{self._reference(number, target)}"
        elif " " in key and isinstance(visit.obj, object_classes()):
            return type(visit.obj).__name__.lstrip("_")
        if any(map(str.isdigit, key)):
            key = _ID.sub(lambda match: self._replace_id(number, match[0]), key)
            key = _WORD.sub(lambda match: self._replace_counted(number, match[0]), key)
        return name_part(key)

    def _can_be_named(self, obj: Any) -> bool:
        number = self._numbers.get(id(obj))
        return number is not None and number not in self._in_progress

    def _reference(self, number: int, obj: Any) -> str:
        """Return an object's name as one word, relative to the component that holds both."""
        name = self.of(self._numbers[id(obj)])
        holder = self._visits[number].parent
        while holder > 0:
            prefix = self.of(holder)
            if name.startswith(f"{prefix}."):
                name = name.removeprefix(f"{prefix}.")
                break
            holder = self._visits[holder].parent
        return (name or self._title).replace(".", "_")

    def _replace_id(self, number: int, text: str) -> str:
        """Replace an id in a key by the name of its object."""
        known = self._numbers.get(int(text, 16 if text.startswith("0x") else 10))
        if known == number:
            return ""
        if known is None or known in self._in_progress:
            return "id"
        return self._reference(number, self._visits[known].obj)

    def _replace_counted(self, number: int, word: str) -> str:
        """Return the name of the object that BrainPy calls by a word, or the word itself."""
        known = self._counted.get(word)
        if known is not None and known not in self._in_progress:
            return self._reference(number, self._visits[known].obj)
        # If the projection that left this part no longer exists, its counter has no meaning.
        counted = _COUNTED.fullmatch(word)
        holder = self._visits[number].parent
        if counted and word[0].isupper() and self._visits[holder].key in brainpy_model.UPDATES:
            return counted[1]
        return word


def _automatic_name(obj: Any) -> str:
    """Return the name that BrainPy made from an object's class and a counter, or "".

    A name that the user gave is not automatic.
    """
    if not isinstance(obj, object_classes()):
        return ""
    try:
        name = str(obj.name)
    except Exception:  # a property of the user's own class
        return ""
    cls = type(obj).__name__
    return name if name.startswith(cls) and name[len(cls) :].isdecimal() else ""
