"""Walks over what a model holds and gives it names; knows no run, no program."""

from __future__ import annotations

import functools
import heapq
import itertools
import re
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

from brainpy_probe.live.seams import IMPLICIT, VALUE, peek, state_class, take

__all__ = ["KnownNames", "ModelNames", "children", "walk"]

_LONG = 4096
# Where a walk ends: some objects make new ones as often as they are asked for their parts.
_MOST = 100_000
_DEEPEST = 200
_OBJECT_ID = re.compile(r"\d{9,}")
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type, ModuleType)
_CALLABLES = (FunctionType, BuiltinFunctionType, MethodType)
_WITHOUT_PARTS = (*_ATOMS, *_CALLABLES, np.ndarray, jax.Array)


def children(thing: Any) -> list[tuple[str, Any]]:
    """Return the named parts of an object: attributes, items, entries.

    Arrays, functions, classes and modules have none; neither have long lists of plain numbers.
    """
    # First what most things are: asking whether one is a jax.Array takes longer than the rest.
    if isinstance(thing, (dict, MappingProxyType)):
        return [(str(key), value) for key, value in thing.items()]
    if isinstance(thing, _WITHOUT_PARTS):
        return []
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


def _held(thing: Any) -> list[tuple[str, Any]]:
    """Return the parts in which there is something to name: of a Variable its value alone.

    What else brainstate keeps in one, hooks and locks, is half of what a model consists of.
    """
    parts = children(thing)
    if isinstance(thing, state_class()):
        return [(name, part) for name, part in parts if name == VALUE]
    return parts


class ModelNames:
    """The names of what a model holds, at one moment; nothing of that is kept alive.

    The model itself is named for its class. A component that hangs in several places has the
    plainest of its names: ``E2E.syn``, not that of the dictionary in which its neurons call it.

    Parameters
    ----------
    target : brainpy.DynamicalSystem
        The model.
    runner : brainpy.DSRunner
        Its runner, whose own arrays (inputs, say) are named ``runner....``.

    Attributes
    ----------
    states, arrays : dict
        The names by the things' ``id``.
    components : list of (str, reference)
        Each component of the model's by its name, and what returns it for as long as it lives;
        the model first.
    """

    def __init__(self, target: Any, runner: Any) -> None:
        self.states: dict[int, str] = {}
        self.arrays: dict[int, str] = {}
        self.components: list[tuple[str, Callable[[], Any]]] = []
        self._alive: dict[int, Callable[[], Any]] = {}
        self._by_content: list[tuple[str, Callable[[], Any]]] = []
        for name, variable in _brainpys_own(target):
            if all(part.isidentifier() and _plain(part)[0] == part for part in name.split(".")):
                self._name_state(name, variable)
        self._name_state("random", take("random-state"))
        seen: dict[int, Any] = {}
        component = take("component")
        for name, thing in walk(target, "", _held, seen):
            if isinstance(thing, component):
                self.components.append((name or type(thing).__name__, weakref.ref(thing)))
            else:
                self._name(name, thing)
        for name, thing in walk(runner, "runner", _held, seen):
            self._name(name, thing)

    def _name(self, name: str, thing: Any) -> None:
        if isinstance(thing, state_class()):
            self._name_state(name, thing)
        else:
            self._name_array(name, peek(thing) if isinstance(thing, take("array")) else thing)

    def _name_state(self, name: str, state: Any) -> None:
        self.states.setdefault(id(state), name)
        self._alive[id(state)] = _reference(state)

    def _name_array(self, name: str, array: Any) -> None:
        """Name a thing if it is an array; a tracer is none, where a trace is under way."""
        if isinstance(array, (np.ndarray, jax.Array)) and not isinstance(array, jax.core.Tracer):
            self.arrays.setdefault(id(array), name)
            self._alive[id(array)] = _reference(array)
            if isinstance(array, np.ndarray):
                self._by_content.append((name, self._alive[id(array)]))

    def variables(self) -> Iterator[tuple[str, Any]]:
        """Yield the Variables that are still alive, by name; no views, which hold no value."""
        view = take("variable-view")
        for key, name in self.states.items():
            state = self._alive[key]()
            if state is not None and not isinstance(state, view):
                yield name, state

    def state(self, state: Any) -> str | None:
        """Return a Variable's name, or None if the model does not hold it."""
        return self._of(self.states, state)

    def array(self, array: Any) -> str | None:
        """Return the name of an array that a trace closed over, or None.

        JAX keeps a ``jax.Array`` as it is, but copies or casts what NumPy holds: there the
        content decides.
        """
        name = self._of(self.arrays, array)
        if name is not None or isinstance(array, jax.Array):
            return name
        value = np.asarray(array)
        for name, reference in self._by_content:
            candidate = reference()
            if (
                candidate is not None
                and candidate.shape == value.shape
                and np.array_equal(candidate.astype(value.dtype, copy=False), value)
            ):
                return name
        return None

    def _of(self, names: dict[int, str], thing: Any) -> str | None:
        name = names.get(id(thing))
        return name if name is not None and self._alive[id(thing)]() is thing else None


def _brainpys_own(target: Any) -> list[tuple[str, Any]]:
    try:
        return list(target.vars(method="relative").unique().items())
    except ValueError:
        # Two Variables in one container: BrainPy gives both the container's name and gives up.
        return []


def _reference(thing: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:  # a Variable of BrainPy 2.4 to 2.6 has slots, and none for this
        return lambda: thing


@dataclass
class KnownNames:
    """The names in the models of one capture, read again only when something is without one.

    A Variable or an array keeps the name by which it was known first.
    """

    _models: weakref.WeakKeyDictionary[Any, ModelNames] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def of(
        self,
        runner: Any,
        states: Sequence[Any],
        arrays: Sequence[Any],
        begun: ModelNames | None = None,
    ) -> tuple[list[str | None], list[str | None]]:
        """Return the names of Variables and of arrays that a runner's model was traced with.

        ``begun`` are those that were read when the call began, if any were.
        """
        known = self._models.get(runner) or begun
        if known is not None:
            self._models[runner] = known
            named = [known.state(one) for one in states], [known.array(one) for one in arrays]
            if None not in named[0] and None not in named[1]:
                return named
        known = self._models[runner] = ModelNames(runner.target, runner)
        return [known.state(one) for one in states], [known.array(one) for one in arrays]
