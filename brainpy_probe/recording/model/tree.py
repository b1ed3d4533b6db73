"""Walks through the objects of a model, and checks later whether the model has changed."""

from __future__ import annotations

import functools
import heapq
import itertools
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat.brainpy_model import (
    MANTISSA,
    VALUE,
    array_classes,
    quantity_class,
    raw_value,
    unit_class,
)

__all__ = ["Parts", "Structure", "Visit", "children", "name_part", "step_cost", "walk"]

_MAX_ATOMS = 4096
# Limits of a walk: some objects create new parts each time they are inspected.
_MAX_OBJECTS = 100_000
_MAX_COST = 200
# The cost of one step of a path, by its key. Paths with few private names and few keys that are not
# identifiers are preferred. BrainPy keeps shared synapses in dicts with long texts as keys.
_PLAIN, _PRIVATE, _SENTENCE = 1, 3, 20
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type, ModuleType)
_CALLABLES = (FunctionType, BuiltinFunctionType, MethodType)
_WITHOUT_PARTS = (*_ATOMS, *_CALLABLES, np.ndarray, jax.Array, jax.core.Tracer)
# Classes of objects that have neither a name nor parts, and may replace each other.
_NAMELESS = (*_ATOMS, *_CALLABLES, jax.core.Tracer)

# The kinds of an object's parts: no parts, and no name for the object; no parts; dict entries;
# items; attributes; attributes and the value of a BrainPy Array; the number or array of a quantity;
# items and attributes.
_ATOM, _LEAF, _ENTRIES, _ITEMS, _ATTRIBUTES, _ARRAY, _QUANTITY, _SEVERAL = range(8)


def _kind(obj: Any) -> int:
    """Return the kind of an object's parts, from its class.

    ``isinstance`` is not used: it may call the object's ``__getattribute__``, which components
    define.
    """
    cls: Any = type(obj)
    return _kind_of(cls)


@functools.lru_cache(maxsize=4096)
def _kind_of(cls: type) -> int:
    for kind, classes in (
        (_ATOM, _ATOMS),
        (_ENTRIES, (dict, MappingProxyType)),
        (_LEAF, _WITHOUT_PARTS),
        (_SEVERAL, (list, tuple, deque, set, frozenset)),
        (_ARRAY, array_classes()),
        (_QUANTITY, quantity_class() or ()),
        (_LEAF, unit_class() or ()),
    ):
        if issubclass(cls, classes):
            return _ITEMS if cls in (list, tuple) else kind
    return _ATTRIBUTES


def _parts(obj: Any, kind: int) -> tuple[Sequence[Any], list[Any]]:
    """Return the keys and the values of an object's parts.

    There are none for a long list of plain numbers, or if code of the object's class fails.
    """
    try:
        if kind == _ENTRIES:
            # dict's own methods are used, because a subclass may override them (as on 2.3.8).
            entries = obj if isinstance(obj, dict) else dict(obj)
            return list(dict.keys(entries)), list(dict.values(entries))
        if kind == _ATTRIBUTES:
            attributes = _attributes(obj)
            return list(attributes), list(attributes.values())
        if kind == _ARRAY:
            attributes = _attributes(obj)
            return [VALUE, *attributes], [raw_value(obj), *attributes.values()]
        if kind == _QUANTITY:
            return (MANTISSA,), [obj.mantissa]
        if kind in (_ATOM, _LEAF) or (
            len(obj) > _MAX_ATOMS and isinstance(next(iter(obj)), _ATOMS)
        ):
            return (), []
        if kind == _ITEMS:
            return range(len(obj)), list(obj)
        ordered = sorted(obj, key=_set_order) if isinstance(obj, (set, frozenset)) else obj
        attributes = _attributes(obj)
        keys = _fields(obj) or range(len(obj))
        return [*keys, *attributes], [*ordered, *attributes.values()]
    except Exception:  # raised by an iterator or attribute of the user's class
        return (), []


def _attributes(obj: Any) -> dict[str, Any]:
    """Return an object's own attributes, without calling its ``__getattribute__``."""
    cls: Any = type(obj)
    slots = _slots(cls)
    try:
        found: dict[str, Any] = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        found = {}
    if not slots:
        return found
    found = dict(found)
    for name, slot in slots:
        try:
            found[name] = slot.__get__(obj)
        except AttributeError:  # it has no value
            continue
    return found


@functools.lru_cache(maxsize=4096)
def _slots(cls: type) -> tuple[tuple[str, MemberDescriptorType], ...]:
    """Return the attributes that a class keeps in slots.

    JAX's own classes are skipped: its jaxprs are large, and belong to no model.
    """
    if cls.__module__.partition(".")[0] in ("jax", "jaxlib"):
        return ()
    return tuple(
        (name, slot)
        for base in reversed(cls.__mro__)
        if "__slots__" in vars(base)
        for name, slot in vars(base).items()
        if isinstance(slot, MemberDescriptorType)
    )


def _fields(obj: Any) -> tuple[str, ...]:
    """Return the names of a named tuple's items; empty for any other object."""
    fields = getattr(type(obj), "_fields", ())
    is_named = isinstance(obj, tuple) and isinstance(fields, tuple) and len(fields) == len(obj)
    return fields if is_named else ()


def _set_order(obj: Any) -> tuple[str, int, str]:
    """Return a sort key that orders a set's elements the same in every process, if possible."""
    name = str(getattr(obj, "name", ""))
    return type(obj).__name__, len(name), name


def children(obj: Any) -> list[tuple[Any, Any]]:
    """Return an object's parts with their keys: dict entries, items by position, or attributes.

    Arrays, functions, classes and modules have no parts.
    """
    return list(zip(*_parts(obj, _kind(obj)), strict=True))


@dataclass(frozen=True, slots=True)
class Visit:
    """An object that a walk has visited.

    Attributes
    ----------
    parent : int
        The number of the object that holds it, in the walk's order; -1 for the root.
    place : int
        Its position among that object's parts.
    key : Any
        Its key there: an attribute's name, a dict key, or a position.
    obj : Any
        The object itself.
    """

    parent: int
    place: int
    key: Any
    obj: Any


Parts = Callable[[Any], Sequence[tuple[Any, Any]]]


def step_cost(key: Any) -> int:
    """Return the cost of a step of a path, by its key. Plain names have the lowest cost."""
    if isinstance(key, int) or (isinstance(key, str) and key.isdecimal()):
        return _PLAIN
    if not isinstance(key, str) or not key.isidentifier():
        return _SENTENCE
    return _PRIVATE if key.startswith("_") else _PLAIN


def walk(
    root: Any,
    parts: Parts = children,
    step_cost: Callable[[Any], int] = step_cost,
    seen: dict[int, Any] | None = None,
) -> Iterator[Visit]:
    """Visit each object that can be reached from a root once, on its path of lowest cost.

    Among paths of equal cost, the path that the model's code created first is chosen.

    Parameters
    ----------
    root : Any
        The first object.
    parts : callable
        Returns the parts of an object; default :func:`children`.
    step_cost : callable
        Returns the cost of a step by its key; default :func:`step_cost`.
    seen : dict, optional
        Objects that are not visited, by their ids. Visited objects are added.
    """
    order = itertools.count()
    queue: list[tuple[int, int, Visit]] = [(0, next(order), Visit(-1, 0, "", root))]
    seen = {} if seen is None else seen
    number, limit = -1, len(seen) + _MAX_OBJECTS
    while queue and len(seen) < limit:
        cost, _, visit = heapq.heappop(queue)
        if id(visit.obj) in seen:
            continue
        # Kept alive, so that no other object gets the same id during the walk.
        seen[id(visit.obj)] = visit.obj
        number += 1
        yield visit
        if cost > _MAX_COST:
            continue
        for place, (key, child) in enumerate(parts(visit.obj)):
            if id(child) not in seen and _kind(child) != _ATOM:
                step = Visit(number, place, key, child)
                heapq.heappush(queue, (cost + step_cost(key), next(order), step))


def name_part(key: Any) -> str:
    """Return a key as one part of a name: an identifier, a number, or words joined by ``_``."""
    part = str(key)
    if part.isidentifier() or part.isdecimal():
        return part
    return re.sub(r"\W+", "_", part).strip("_") or "item"


# The number, parent, position and kind of an object; the keys and types of its parts; the position
# and id of each part that may have a name.
_Row = tuple[int, int, int, int, Sequence[Any], list[type], list[tuple[int, int]]]


class Structure:
    """The structure of a model at one moment, for comparison with its later structure.

    Parts are compared by identity, not by value, and no object is kept alive. Python may reuse the
    id of a dead object, so types and the parts of parts are compared too. The caller also checks
    weak references to the named objects. If everything is the same, the same walk would visit the
    same objects on the same paths.

    Parameters
    ----------
    visits : sequence of Visit
        All visits of a walk by :func:`children`, in their order.
    whole : type or tuple of types
        Types whose objects' parts were not visited.
    without : collection of str
        Attributes of the root that are not compared.
    """

    def __init__(self, visits: Sequence[Visit], whole: Any, without: Collection[str] = ()) -> None:
        self._number, self._without = len(visits), without
        self._rows: list[_Row] = []
        self._empty: list[tuple[int, int]] = []
        for number, visit in enumerate(visits):
            kind = _kind(visit.obj)
            if kind in (_ATOM, _LEAF) or issubclass(type(visit.obj), whole):
                continue
            keys, values = self._current_parts(visit.obj, visit.parent, kind)
            if not values and kind in (_ENTRIES, _ITEMS) and not len(visit.obj):
                self._empty.append((visit.parent, visit.place))
                continue
            types = list(map(type, values))
            named = [
                (n, id(v)) for n, v in enumerate(values) if not issubclass(types[n], _NAMELESS)
            ]
            kept = keys if named else ()
            self._rows.append((number, visit.parent, visit.place, kind, kept, types, named))

    def _current_parts(self, obj: Any, parent: int, kind: int) -> tuple[Sequence[Any], list[Any]]:
        keys, values = _parts(obj, kind)
        if parent < 0 and self._without:
            marked = zip(keys, values, strict=True)
            values = [None if key in self._without else value for key, value in marked]
        return keys, values

    def is_unchanged(self, root: Any) -> bool:
        """Return whether the same walk from a root would visit the same objects and paths."""
        current: list[Sequence[Any]] = [()] * (self._number + 1)
        current[-1] = (root,)  # the root's parent has the number -1
        try:
            for number, parent, place, kind, keys, types, named in self._rows:
                now_keys, values = self._current_parts(current[parent][place], parent, kind)
                if types != list(map(type, values)) and not self._types_match(
                    number, types, values
                ):
                    return False
                if named:
                    if now_keys != keys:
                        return False
                    for position, known in named:
                        if id(values[position]) != known:
                            return False
                current[number] = values
            return not any(len(current[parent][place]) for parent, place in self._empty)
        except Exception:  # an error in the user's code, in a key's __eq__ or a __dict__
            return False

    def _types_match(self, number: int, types: list[type], values: Sequence[Any]) -> bool:
        """Return whether objects have the given types; objects without a name may differ.

        In a first run BrainPy replaces some of these by empty containers, which have no parts to
        name. From then on such a container is compared too.
        """
        if len(types) != len(values):
            return False
        for place, (kind, value) in enumerate(zip(types, values, strict=True)):
            if type(value) is kind:
                continue
            if not issubclass(kind, _NAMELESS):
                return False
            if _kind(value) in (_ENTRIES, _ITEMS) and not len(value):
                self._empty.append((number, place))
                types[place] = type(value)
            elif not issubclass(type(value), _NAMELESS):
                return False
        return True
