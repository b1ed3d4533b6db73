"""Puts back whatever a trace of the user's own Python touched; knows no program.

Used where a step must be traced that the run itself never traces (``jit=False``). Variables and
the random state are put back by brainstate's own trace; this does the rest: ``bp.share``,
attributes and containers that the step sets or fills, iterators that it draws from, NumPy's and
Python's random numbers, globals and closure cells of the user's functions, and what it prints.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import random
import warnings
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

from brainpy_probe.live import seams
from brainpy_probe.live.modeltree import walk

__all__ = ["first_items", "rewound"]

Undo = Callable[[], object]
_LIBRARIES = {"brainpy", "brainstate", "brainevent", "brainunit", "braintools", "jax", "numpy"}


@contextlib.contextmanager
def rewound(runner: Any) -> Iterator[None]:
    """Undo at the end of the block what the block did to a runner, its model and its functions."""
    undo = _library_state()
    seen: dict[int, Any] = {}
    roots: list[Any] = [runner]
    while roots:
        for _, thing in walk(roots.pop(), seen=seen):
            undo += _contents(thing)
            for function in _functions(thing):
                undo += _names(function, roots, seen)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for restore in reversed(undo):
            restore()


def first_items(entries: list[list[Any]]) -> list[Any] | None:
    """Draw the first item of each ``[Variable, iterator]`` entry, and let the run draw it again.

    Returns
    -------
    list or None
        The items; None if an iterator has no more.
    """
    items: list[Any] = []
    for entry in entries:
        source = entry[1]
        first = list(itertools.islice(source, 1))
        entry[1] = _replayed(entry, source, first)
        items += first
    return items if len(items) == len(entries) else None


def _replayed(entry: list[Any], source: Any, first: list[Any]) -> Iterator[Any]:
    entry[1] = source
    yield from first


def _library_state() -> list[Undo]:
    environment, scope = seams.take("environment"), seams.take("environment-scope")
    shared = dict(environment.all(env=scope))
    python, numpy = random.getstate(), np.random.get_state()

    def restore() -> None:
        for name in set(environment.all(env=scope)) - set(shared):
            environment.pop(name, env=scope)
        environment.set(**shared, env=scope)
        random.setstate(python)
        np.random.set_state(numpy)

    return [restore]


def _functions(thing: Any) -> list[FunctionType]:
    """Return the user's functions that a step may call: a callback, or the methods of a model."""
    if isinstance(thing, FunctionType):
        return [thing]
    if isinstance(thing, MethodType):
        return [thing.__func__] if isinstance(thing.__func__, FunctionType) else []
    return [
        function
        for cls in type(thing).__mro__
        if cls.__module__.partition(".")[0] not in {*_LIBRARIES, "builtins"}
        for function in vars(cls).values()
        if isinstance(function, FunctionType)
    ]


def _names(function: FunctionType, roots: list[Any], seen: dict[int, Any]) -> list[Undo]:
    """Restore the names that a function may bind, and note what they hold as a further root."""
    undo: list[Undo] = []
    if id(function.__code__) in seen and not function.__closure__:
        return undo
    seen[id(function.__code__)] = function.__code__
    for cell in function.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # the cell is empty
            continue
        roots.append(held)
        undo.append(functools.partial(setattr, cell, "cell_contents", held))
    names = function.__globals__
    for name in function.__code__.co_names:
        held = names.get(name)
        if held is None or isinstance(held, (type, FunctionType, ModuleType)):
            continue
        roots.append(held)
        undo.append(functools.partial(names.__setitem__, name, held))
    return undo


def _contents(thing: Any) -> list[Undo]:
    """Restore what an object holds: its items and its attributes, not what these hold in turn."""
    undo: list[Undo] = []
    if isinstance(thing, np.random.Generator):
        state = thing.bit_generator.state
        undo.append(lambda: setattr(thing.bit_generator, "state", state))
    elif isinstance(thing, np.ndarray):
        if thing.flags.writeable:
            content = thing.copy()
            undo.append(lambda: np.copyto(thing, content))
    elif isinstance(thing, (list, deque)):
        items = list(thing)
        undo.append(lambda: _restore_items(thing, items))
    elif isinstance(thing, set):
        members = set(thing)
        undo.append(lambda: thing.intersection_update(members))
        undo.append(lambda: thing.update(members))
    elif isinstance(thing, MutableMapping):
        entries = dict(thing)
        undo.append(lambda: _restore_entries(thing, entries))
    if isinstance(thing, (seams.take("state"), jax.Array, type)):
        return undo  # Variables are brainstate's own to put back
    attributes = getattr(thing, "__dict__", None)
    if isinstance(attributes, dict):
        before = dict(attributes)
        undo.append(lambda: _restore_entries(attributes, before))
    return undo


def _restore_items(container: Any, items: list[Any]) -> None:
    if len(container) == len(items) and all(a is b for a, b in zip(container, items, strict=True)):
        return
    container.clear()
    container.extend(items)


def _restore_entries(container: Any, entries: dict[Any, Any]) -> None:
    """Touch only what differs: other threads may be reading the rest."""
    for key in [key for key in container if key not in entries]:
        del container[key]
    for key, value in entries.items():
        if key not in container or container[key] is not value:
            container[key] = value
