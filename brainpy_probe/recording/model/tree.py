"""Walks over what a model holds, and says whether it still holds the same; gives no names."""

from __future__ import annotations

import functools
import heapq
import itertools
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat.brainpy_model import VALUE, raw_value, take

__all__ = ["Holdings", "Met", "Parts", "children", "plain", "walk"]

_LONG = 4096
# Where a walk ends: some objects make new ones as often as they are asked for their parts.
_MOST = 100_000
_DEEPEST = 200
# What a step of a path costs: the fewer of its parts are private, or no identifiers, the plainer a
# name is. BrainPy keeps shared synapses in dictionaries whose keys are whole sentences.
_PLAIN, _PRIVATE, _SENTENCE = 1, 3, 20
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type, ModuleType)
_CALLABLES = (FunctionType, BuiltinFunctionType, MethodType)
_WITHOUT_PARTS = (*_ATOMS, *_CALLABLES, np.ndarray, jax.Array, jax.core.Tracer)
# What has neither a name nor parts: one of them may stand for another.
_NAMELESS = (*_ATOMS, *_CALLABLES, jax.core.Tracer)

# What an object's parts are: none, and it has no name either; none; entries; items; attributes; the
# value of an Array of BrainPy's beside its attributes; items beside attributes.
_ATOM, _LEAF, _ENTRIES, _ITEMS, _ATTRIBUTES, _ARRAY, _SEVERAL = range(7)


def _kind(thing: Any) -> int:
    """Return what an object's parts are.

    By its class: where that is not of a class that is asked for, ``isinstance`` would have the
    object's own ``__getattribute__`` say what it is, and components have one.
    """
    cls: Any = type(thing)
    return _kind_of(cls)


@functools.lru_cache(maxsize=4096)
def _kind_of(cls: type) -> int:
    for kind, classes in (
        (_ATOM, _ATOMS),
        (_ENTRIES, (dict, MappingProxyType)),
        (_LEAF, _WITHOUT_PARTS),
        (_SEVERAL, (list, tuple, deque, set, frozenset)),
        (_ARRAY, take("array")),
    ):
        if issubclass(cls, classes):
            return _ITEMS if cls in (list, tuple) else kind
    return _ATTRIBUTES


def _held(thing: Any, kind: int) -> tuple[Sequence[Any], list[Any]]:
    """Return the keys of an object's parts, and these.

    Neither long lists of plain numbers have parts, nor objects whose own code fails when they are
    asked for them.
    """
    try:
        if kind == _ENTRIES:
            # Not by its own methods, which a subclass may have others for (those of 2.3.8 do).
            entries = thing if isinstance(thing, dict) else dict(thing)
            return list(dict.keys(entries)), list(dict.values(entries))
        if kind == _ATTRIBUTES:
            attributes = _attributes(thing)
            return list(attributes), list(attributes.values())
        if kind == _ARRAY:
            attributes = _attributes(thing)
            return [VALUE, *attributes], [raw_value(thing), *attributes.values()]
        if kind in (_ATOM, _LEAF) or (len(thing) > _LONG and isinstance(next(iter(thing)), _ATOMS)):
            return (), []
        if kind == _ITEMS:
            return range(len(thing)), list(thing)
        ordered = sorted(thing, key=_of_class) if isinstance(thing, (set, frozenset)) else thing
        attributes = _attributes(thing)
        return [*range(len(thing)), *attributes], [*ordered, *attributes.values()]
    except Exception:
        return (), []


def _attributes(thing: Any) -> dict[str, Any]:
    """Return an object's own attributes, without asking its own ``__getattribute__``."""
    try:
        found: dict[str, Any] = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return {}
    return found


def _of_class(thing: Any) -> tuple[str, int, str]:
    """Return what orders a set's elements the same in every process, as far as that is possible."""
    name = str(getattr(thing, "name", ""))
    return type(thing).__name__, len(name), name


def children(thing: Any) -> list[tuple[Any, Any]]:
    """Return the parts of an object with their keys: entries, items by position, or attributes.

    Arrays, functions, classes and modules have none.
    """
    return list(zip(*_held(thing, _kind(thing)), strict=True))


@dataclass(frozen=True, slots=True)
class Met:
    """An object that a walk has met.

    Attributes
    ----------
    parent : int
        The number of the object whose part it is, in the walk's order; -1 for a root.
    place : int
        Its place among that object's parts.
    key : Any
        By what that object holds it: an attribute's name, a key, a position.
    thing : Any
        The object itself.
    """

    parent: int
    place: int
    key: Any
    thing: Any


Parts = Callable[[Any], Sequence[tuple[Any, Any]]]


def price(key: Any) -> int:
    """Return what a step to a part costs by the part's key: the least for the plainest."""
    if isinstance(key, int) or (isinstance(key, str) and key.isdecimal()):
        return _PLAIN
    if not isinstance(key, str) or not key.isidentifier():
        return _SENTENCE
    return _PRIVATE if key.startswith("_") else _PLAIN


def walk(
    root: Any,
    parts: Parts = children,
    price: Callable[[Any], int] = price,
    seen: dict[int, Any] | None = None,
) -> Iterator[Met]:
    """Yield each object that is reached from a root once, by the plainest path that leads to it.

    Of two paths that are equally plain, the one that the model's code made first is taken.

    Parameters
    ----------
    root : Any
        The first object.
    parts : callable
        What an object consists of, by default :func:`children`.
    price : callable
        What a step costs by its key, by default :func:`price`.
    seen : dict, optional
        Objects by their ids that are passed over; this walk's are added to them.
    """
    order = itertools.count()
    queue: list[tuple[int, int, Met]] = [(0, next(order), Met(-1, 0, "", root))]
    seen = {} if seen is None else seen
    number, most = -1, len(seen) + _MOST
    while queue and len(seen) < most:
        cost, _, met = heapq.heappop(queue)
        if id(met.thing) in seen:
            continue
        # Held, so that no other object gets the same id while the walk goes on.
        seen[id(met.thing)] = met.thing
        number += 1
        yield met
        if cost > _DEEPEST:
            continue
        for place, (key, child) in enumerate(parts(met.thing)):
            if id(child) not in seen and _kind(child) != _ATOM:
                step = Met(number, place, key, child)
                heapq.heappush(queue, (cost + price(key), next(order), step))


def plain(key: Any) -> str:
    """Return a key as a part of a name: an identifier, a number, or the words of a sentence."""
    part = str(key)
    if part.isidentifier() or part.isdecimal():
        return part
    return re.sub(r"\W+", "_", part).strip("_") or "item"


# Number, parent and place of an object; its kind; its parts' keys and types; place and id of each
# part that may have a name.
_Row = tuple[int, int, int, int, Sequence[Any], list[type], list[tuple[int, int]]]


class Holdings:
    """What the objects of a walk hold, so that a later look tells whether it is still the same.

    An object's parts are compared by identity, never by value, and no object is kept alive.
    An id may be given away again when an object has died: so the type is compared as well, and
    whatever the object of that id and type holds itself. Whoever needs a certain object asks a weak
    reference besides. Then the same walk would meet the same objects on the same paths.

    Parameters
    ----------
    met : sequence of Met
        All that a walk by :func:`children` has met, in its order.
    whole : type or tuple of types
        Objects of which no part was met.
    without : collection of str
        Attributes of the first object that do not count.
    """

    def __init__(self, met: Sequence[Met], whole: Any, without: Collection[str] = ()) -> None:
        self._number, self._without = len(met), without
        self._rows: list[_Row] = []
        self._empty: list[tuple[int, int]] = []
        for number, one in enumerate(met):
            kind = _kind(one.thing)
            if kind in (_ATOM, _LEAF) or issubclass(type(one.thing), whole):
                continue
            keys, values = self._now(one.thing, one.parent, kind)
            if not values and kind in (_ENTRIES, _ITEMS) and not len(one.thing):
                self._empty.append((one.parent, one.place))
                continue
            types = list(map(type, values))
            named = [
                (n, id(v)) for n, v in enumerate(values) if not issubclass(types[n], _NAMELESS)
            ]
            kept = keys if named else ()
            self._rows.append((number, one.parent, one.place, kind, kept, types, named))

    def _now(self, thing: Any, parent: int, kind: int) -> tuple[Sequence[Any], list[Any]]:
        keys, values = _held(thing, kind)
        if parent < 0 and self._without:
            marked = zip(keys, values, strict=True)
            values = [None if key in self._without else value for key, value in marked]
        return keys, values

    def are_still(self, root: Any) -> bool:
        """Whether the same walk from a root would meet the same objects on the same paths."""
        current: list[Sequence[Any]] = [()] * (self._number + 1)
        current[-1] = (root,)  # whose parent's number is -1
        try:
            for number, parent, place, kind, keys, types, named in self._rows:
                now, values = self._now(current[parent][place], parent, kind)
                if types != list(map(type, values)) and not self._alike(number, types, values):
                    return False
                if named:
                    if now != keys:
                        return False
                    for position, known in named:
                        if id(values[position]) != known:
                            return False
                current[number] = values
            return not any(len(current[parent][place]) for parent, place in self._empty)
        except Exception:  # the user's own code, in a key's __eq__ or a __dict__
            return False

    def _alike(self, number: int, types: list[type], values: Sequence[Any]) -> bool:
        """Whether objects are of these types, but for those that have no name.

        An empty container in the place of such a one, as BrainPy makes them in a first run, has
        nothing to name; it is looked at from now on.
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
