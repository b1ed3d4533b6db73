"""Puts back whatever a trace of the user's own Python touched; knows no program.

Used where a step must be traced that the run itself never traces (``jit=False``). Variables and
the random state are put back by brainstate's own trace; this does the rest: ``bp.share``, plain
arrays, attributes and containers that the step sets or fills, iterators that it draws from,
NumPy's and Python's random numbers, globals, class attributes and closure cells of the user's
functions, and what it prints.
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

from brainpy_probe.compat import brainpy_model, brainpy_runner
from brainpy_probe.recording.model.tree import children, walk
from brainpy_probe.recording.tracing.usercode import is_users, names_in

__all__ = ["first_items", "rewound"]

Undo = Callable[[], object]
_ABSENT = object()


@contextlib.contextmanager
def rewound(runner: Any) -> Iterator[list[Any]]:
    """Undo at the end of the block what the block did to a runner, its model and its functions.

    Yields
    ------
    list
        All objects that are reached from the runner.
    """
    undo = _library_state()
    # All of it first: what follows puts stand-ins where there are iterators.
    reached = [met.thing for met in walk(runner, _parts)]
    for thing in reached:
        undo += _contents(thing)
    quiet = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            warnings.simplefilter("ignore")
            yield reached
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
    return [
        brainpy_runner.shared_context(),
        functools.partial(random.setstate, random.getstate()),
        functools.partial(np.random.set_state, np.random.get_state()),
    ]


def _parts(thing: Any) -> list[tuple[str, Any]]:
    """Return what can be reached from an object, the names that a user's function uses included."""
    if isinstance(thing, FunctionType):
        held: list[Any] = [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
        held += [cell.cell_contents for cell in thing.__closure__ or () if not _is_empty(cell)]
        if is_users(thing.__module__):
            held += [thing.__globals__.get(name) for name in names_in(thing.__code__)]
        return [("", one) for one in held if _is_followed(one)]
    if isinstance(thing, MethodType):
        return [("", thing.__self__), ("", thing.__func__)]
    if isinstance(thing, functools.partial):
        return [("", one) for one in (thing.func, *thing.args, *thing.keywords.values())]
    parts = [part for part in children(thing) if _is_followed(part[1])]
    parts += [("", getattr(thing, name)) for name in _slots(thing) if hasattr(thing, name)]
    for cls in type(thing).__mro__:
        if is_users(cls.__module__):
            parts += [("", one) for one in vars(cls).values() if _is_followed(one)]
    return parts


def _is_followed(thing: Any) -> bool:
    return not isinstance(thing, (ModuleType, type)) and (
        not isinstance(thing, FunctionType) or is_users(thing.__module__)
    )


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is _ABSENT
    except ValueError:
        return True


def _slots(thing: Any) -> list[str]:
    declared = [
        vars(cls).get("__slots__", ()) for cls in type(thing).__mro__ if is_users(cls.__module__)
    ]
    flat = [(one,) if isinstance(one, str) else tuple(one) for one in declared]
    return [name for name in itertools.chain.from_iterable(flat) if not name.startswith("__")]


def _contents(thing: Any) -> list[Undo]:
    """Restore what an object holds: its items and its attributes, not what these hold in turn."""
    if isinstance(thing, FunctionType):
        return _bindings(thing)
    if isinstance(thing, (brainpy_model.state_class(), jax.Array, type)):
        return []  # Variables are put back by whoever traces
    if isinstance(thing, brainpy_model.take("array")):
        return [
            functools.partial(brainpy_model.set_raw_value, thing, brainpy_model.raw_value(thing))
        ]
    undo = [*_random_state(thing), *_items(thing)]
    attributes = getattr(thing, "__dict__", None)
    if isinstance(attributes, dict):
        undo += _entries(attributes)
    for name in _slots(thing):
        if hasattr(thing, name):
            undo.append(functools.partial(setattr, thing, name, getattr(thing, name)))
    for cls in type(thing).__mro__:
        if is_users(cls.__module__):
            undo.append(functools.partial(_restore_class, cls, dict(vars(cls))))
    return undo


def _random_state(thing: Any) -> list[Undo]:
    if isinstance(thing, np.random.Generator):
        generator = thing.bit_generator
        return [functools.partial(setattr, generator, "state", generator.state)]
    if isinstance(thing, np.random.RandomState):
        return [functools.partial(thing.set_state, thing.get_state())]
    if isinstance(thing, random.Random):
        return [functools.partial(thing.setstate, thing.getstate())]
    return []


def _items(thing: Any) -> list[Undo]:
    if isinstance(thing, np.ndarray) and thing.flags.writeable:
        return [functools.partial(np.copyto, thing, thing.copy())]
    if isinstance(thing, (list, deque)):
        before = list(thing)
        undo = [one for n, item in enumerate(before) for one in _iterator(thing, n, item)]
        return [*undo, functools.partial(_restore_items, thing, before)]
    if isinstance(thing, set):
        members = set(thing)
        return [
            functools.partial(thing.intersection_update, members),
            functools.partial(thing.update, members),
        ]
    return _entries(thing) if isinstance(thing, MutableMapping) else []


def _entries(mapping: MutableMapping[Any, Any]) -> list[Undo]:
    before = dict(mapping)
    # Undone in reverse: the entries first, then the iterators among them.
    undo = [one for key, value in before.items() for one in _iterator(mapping, key, value)]
    return [*undo, functools.partial(_restore_entries, mapping, before)]


class _Drawn:
    """An iterator in place of another, which keeps what is drawn from it."""

    def __init__(self, source: Iterator[Any]) -> None:
        self.source = source
        self.items: list[Any] = []

    def __iter__(self) -> _Drawn:
        return self

    def __next__(self) -> Any:
        self.items.append(next(self.source))
        return self.items[-1]


def _iterator(container: Any, key: Any, value: Any) -> list[Undo]:
    """Have the trace draw from a stand-in, so that what it drew can be drawn again."""
    if not isinstance(value, Iterator) or not hasattr(container, "__setitem__"):
        return []
    drawn = _Drawn(value)
    container[key] = drawn

    def restore() -> None:
        again = itertools.chain(drawn.items, value) if drawn.items else value
        container[key] = again

    return [restore]


def _bindings(function: FunctionType) -> list[Undo]:
    """Restore the names that a function may bind: closure cells, globals, defaults."""
    undo: list[Undo] = []
    for cell in function.__closure__ or ():
        if not _is_empty(cell):
            undo.append(functools.partial(setattr, cell, "cell_contents", cell.cell_contents))
    if is_users(function.__module__):
        names = function.__globals__
        before = {name: names.get(name, _ABSENT) for name in names_in(function.__code__)}
        undo.append(functools.partial(_restore_names, names, before))
    return undo


def _restore_names(names: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in before.items():
        if value is _ABSENT:
            names.pop(name, None)
        elif names.get(name, _ABSENT) is not value:
            names[name] = value


def _restore_items(container: Any, items: list[Any]) -> None:
    if len(container) == len(items) and all(a is b for a, b in zip(container, items, strict=True)):
        return
    container.clear()
    container.extend(items)


def _restore_entries(container: MutableMapping[Any, Any], entries: dict[Any, Any]) -> None:
    """Touch only what differs: other threads may be reading the rest."""
    for key in [key for key in container if key not in entries]:
        del container[key]
    for key, value in entries.items():
        if key not in container or container[key] is not value:
            container[key] = value


def _restore_class(cls: type, before: dict[str, Any]) -> None:
    now = dict(vars(cls))
    for name in now.keys() - before.keys():
        delattr(cls, name)
    for name, value in before.items():
        if now.get(name, _ABSENT) is not value:
            setattr(cls, name, value)
