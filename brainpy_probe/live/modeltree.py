"""Walks over what a model holds and names its Variables and arrays; knows no run, no program."""

from __future__ import annotations

import functools
import heapq
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

from brainpy_probe.live.seams import IMPLICIT, state_class, take

__all__ = ["ModelNames", "children", "walk"]

_LONG = 4096
# Where a walk ends: some objects make new ones as often as they are asked for their parts.
_MOST = 100_000
_DEEPEST = 200
_OBJECT_ID = re.compile(r"\d{9,}")
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type, ModuleType)
_CALLABLES = (FunctionType, BuiltinFunctionType, MethodType)


def children(thing: Any) -> list[tuple[str, Any]]:
    """Return the named parts of an object: attributes, items, entries.

    Arrays, functions, classes and modules have none; neither have long lists of plain numbers.
    """
    if isinstance(thing, (*_ATOMS, *_CALLABLES, np.ndarray, jax.Array)):
        return []
    if isinstance(thing, (dict, MappingProxyType)):
        return [(str(key), value) for key, value in thing.items()]
    parts: list[tuple[str, Any]] = []
    if isinstance(thing, (list, tuple, set, frozenset, deque)):
        if len(thing) > _LONG and isinstance(next(iter(thing)), _ATOMS):
            return []
        parts = [(str(position), value) for position, value in enumerate(thing)]
    try:
        attributes = vars(thing)
    except TypeError:
        return parts
    return parts + list(attributes.items())


def walk(
    root: Any,
    name: str = "",
    parts: Callable[[Any], list[tuple[str, Any]]] | None = None,
    seen: dict[int, Any] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Yield each object that is reached from a root once, by the plainest name that leads to it.

    What an object consists of is what ``parts`` says, by default :func:`children`. What another
    walk has ``seen`` is passed over, and this walk's objects come in addition.

    A name is plainer the fewer parts it has, and the fewer of them are private or no identifiers
    (BrainPy keeps shared synapses in dictionaries whose keys are whole sentences).
    """
    order = itertools.count()
    queue: list[tuple[int, str, int, Any]] = [(0, name, next(order), root)]
    seen = {} if seen is None else seen
    most = len(seen) + _MOST
    while queue and len(seen) < most:
        cost, path, _, thing = heapq.heappop(queue)
        if id(thing) in seen:
            continue
        # Held, so that no other object gets the same id while the walk goes on.
        seen[id(thing)] = thing
        yield path, thing
        for part, child in (parts or children)(thing):
            if isinstance(child, _ATOMS) or id(child) in seen or cost > _DEEPEST:
                continue
            plain, price = _plain(part)
            step = ".".join(filter(None, (path, plain)))
            heapq.heappush(queue, (cost + price, step, next(order), child))


@functools.lru_cache(maxsize=4096)
def _plain(part: str) -> tuple[str, int]:
    # BrainPy puts objects' ids into some names (delay_of_delay_<id>): not the same in any two runs.
    if part in IMPLICIT:
        return "", 3  # what a model was given without a name has the name that it gave itself
    part, ids = _OBJECT_ID.subn("id", part)
    if not ids and (part.isidentifier() or part.isdecimal()):
        return part, 3 if part.startswith("_") else 1
    return re.sub(r"\W+", "_", part).strip("_") or "item", 20


@dataclass
class ModelNames:
    """The names of a model's Variables and arrays.

    Parameters
    ----------
    target : brainpy.DynamicalSystem
        The model.
    runner : brainpy.DSRunner
        Its runner, whose own arrays (inputs, say) are named ``runner....``.
    """

    target: Any
    runner: Any
    states: dict[int, str] = field(default_factory=dict)
    arrays: dict[int, str] = field(default_factory=dict)
    _held: list[Any] = field(default_factory=list)
    _by_content: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, variable in self._brainpys_own():
            if all(part.isidentifier() and _plain(part)[0] == part for part in name.split(".")):
                self._name_state(name, variable)
        self._name_state("random", take("random-state"))
        seen: dict[int, Any] = {}
        for name, thing in walk(self.target, seen=seen):
            self._name(name, thing)
        for name, thing in walk(self.runner, "runner", seen=seen):
            self._name(name, thing)

    def _brainpys_own(self) -> list[tuple[str, Any]]:
        try:
            return list(self.target.vars(method="relative").unique().items())
        except ValueError:
            # Two Variables in one container: BrainPy gives both the container's name and gives up.
            return []

    def _name_state(self, name: str, state: Any) -> None:
        self.states.setdefault(id(state), name)
        self._held.append(state)

    def _name(self, name: str, thing: Any) -> None:
        if isinstance(thing, state_class()):
            self._name_state(name, thing)
            return
        if isinstance(thing, take("array")):
            thing = thing.value
        if isinstance(thing, (jax.Array, np.ndarray)):
            self.arrays.setdefault(id(thing), name)
            self._by_content.append((name, thing))
            self._held.append(thing)

    def state(self, state: Any) -> str | None:
        """Return a Variable's name, or None if the model does not hold it."""
        return self.states.get(id(state))

    def array(self, array: Any) -> str | None:
        """Return the name of an array that a trace closed over, or None.

        JAX keeps a ``jax.Array`` as it is, but copies or casts what NumPy holds: there the
        content decides.
        """
        name = self.arrays.get(id(array))
        if name is not None or isinstance(array, jax.Array):
            return name
        value = np.asarray(array)
        for name, candidate in self._by_content:
            if (
                isinstance(candidate, np.ndarray)
                and candidate.shape == value.shape
                and np.array_equal(candidate.astype(value.dtype, copy=False), value)
            ):
                return name
        return None
