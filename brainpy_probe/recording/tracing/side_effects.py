"""Undoes the side effects of a trace of the user's Python code.

This is needed for a step that the run itself does not trace (``jit=False``). The function that
traces the step restores Variables and BrainPy's random state. This module restores ``bp.share``,
plain arrays, attributes and containers, iterators, NumPy's and Python's random generators, and the
globals, class attributes and closure cells of the user's functions. It also suppresses printed
output.
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
from brainpy_probe.compat.types import Runner
from brainpy_probe.libraries import is_user_module
from brainpy_probe.recording.model.tree import children, walk
from brainpy_probe.recording.tracing.determinism import names_in

__all__ = ["first_items", "side_effects_undone"]

_Undo = Callable[[], object]
_ABSENT = object()


@contextlib.contextmanager
def side_effects_undone(runner: Runner) -> Iterator[list[Any]]:
    """At the end of the block, undo its changes to a runner, its model and their functions.

    Yields
    ------
    list
        All objects that can be reached from the runner.
    """
    undo = _undo_libraries()
    # The walk ends first, because _undo_object replaces iterators.
    reachable = [visit.obj for visit in walk(runner, _parts)]
    for obj in reachable:
        undo += _undo_object(obj)
    output = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            warnings.simplefilter("ignore")
            yield reachable
    finally:
        for restore in reversed(undo):
            restore()


def first_items(entries: list[list[Any]]) -> list[Any] | None:
    """Draw the first item of each ``[Variable, iterator]`` entry, so that the run draws it again.

    Returns
    -------
    list or None
        The items; None if an iterator is exhausted.
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


def _undo_libraries() -> list[_Undo]:
    """Return the functions that restore ``bp.share`` and the global random generators."""
    return [
        brainpy_runner.shared_context(),
        functools.partial(random.setstate, random.getstate()),
        functools.partial(np.random.set_state, np.random.get_state()),
    ]


def _parts(obj: Any) -> list[tuple[str, Any]]:
    """Return the objects that an object refers to, including the globals that a function names."""
    if isinstance(obj, FunctionType):
        held: list[Any] = [*(obj.__defaults__ or ()), *(obj.__kwdefaults__ or {}).values()]
        held += [cell.cell_contents for cell in obj.__closure__ or () if not _is_empty(cell)]
        if is_user_module(obj.__module__):
            held += [obj.__globals__.get(name) for name in names_in(obj.__code__)]
        return [("", value) for value in held if _is_followed(value)]
    if isinstance(obj, MethodType):
        return [("", obj.__self__), ("", obj.__func__)]
    if isinstance(obj, functools.partial):
        return [("", value) for value in (obj.func, *obj.args, *obj.keywords.values())]
    parts = [part for part in children(obj) if _is_followed(part[1])]
    parts += [("", getattr(obj, name)) for name in _slots(obj) if hasattr(obj, name)]
    for cls in type(obj).__mro__:
        if is_user_module(cls.__module__):
            parts += [("", value) for value in vars(cls).values() if _is_followed(value)]
    return parts


def _is_followed(obj: Any) -> bool:
    return not isinstance(obj, (ModuleType, type)) and (
        not isinstance(obj, FunctionType) or is_user_module(obj.__module__)
    )


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is _ABSENT
    except ValueError:
        return True


def _slots(obj: Any) -> list[str]:
    declared = [
        vars(cls).get("__slots__", ())
        for cls in type(obj).__mro__
        if is_user_module(cls.__module__)
    ]
    flat = [(names,) if isinstance(names, str) else tuple(names) for names in declared]
    return [name for name in itertools.chain.from_iterable(flat) if not name.startswith("__")]


def _undo_object(obj: Any) -> list[_Undo]:
    """Return the functions that restore an object's own items and attributes."""
    if isinstance(obj, FunctionType):
        return _undo_names(obj)
    if isinstance(obj, (brainpy_model.state_class(), jax.Array, type)):
        return []  # the function that traces restores Variables
    if isinstance(obj, brainpy_model.array_classes()):
        return [functools.partial(brainpy_model.set_raw_value, obj, brainpy_model.raw_value(obj))]
    undo = [*_undo_generator(obj), *_undo_items(obj)]
    attributes = getattr(obj, "__dict__", None)
    if isinstance(attributes, dict):
        undo += _undo_entries(attributes)
    for name in _slots(obj):
        if hasattr(obj, name):
            undo.append(functools.partial(setattr, obj, name, getattr(obj, name)))
    for cls in type(obj).__mro__:
        if is_user_module(cls.__module__):
            undo.append(functools.partial(_restore_class, cls, dict(vars(cls))))
    return undo


def _undo_generator(obj: Any) -> list[_Undo]:
    if isinstance(obj, np.random.Generator):
        generator = obj.bit_generator
        return [functools.partial(setattr, generator, "state", generator.state)]
    if isinstance(obj, np.random.RandomState):
        return [functools.partial(obj.set_state, obj.get_state())]
    if isinstance(obj, random.Random):
        return [functools.partial(obj.setstate, obj.getstate())]
    return []


def _undo_items(obj: Any) -> list[_Undo]:
    """Return the functions that restore a container's items."""
    if isinstance(obj, np.ndarray) and obj.flags.writeable:
        return [functools.partial(np.copyto, obj, obj.copy())]
    if isinstance(obj, (list, deque)):
        before = list(obj)
        undo = [u for n, item in enumerate(before) for u in _undo_iterator(obj, n, item)]
        return [*undo, functools.partial(_restore_items, obj, before)]
    if isinstance(obj, set):
        members = set(obj)
        return [
            functools.partial(obj.intersection_update, members),
            functools.partial(obj.update, members),
        ]
    return _undo_entries(obj) if isinstance(obj, MutableMapping) else []


def _undo_entries(mapping: MutableMapping[Any, Any]) -> list[_Undo]:
    before = dict(mapping)
    # These run in reverse order: the entries first, then the iterators among them.
    undo = [u for key, value in before.items() for u in _undo_iterator(mapping, key, value)]
    return [*undo, functools.partial(_restore_entries, mapping, before)]


class _RecordingIterator:
    """Replaces an iterator, and keeps the items that are drawn from it."""

    def __init__(self, source: Iterator[Any]) -> None:
        self.source = source
        self.items: list[Any] = []

    def __iter__(self) -> _RecordingIterator:
        return self

    def __next__(self) -> Any:
        self.items.append(next(self.source))
        return self.items[-1]


def _undo_iterator(container: Any, key: Any, value: Any) -> list[_Undo]:
    """Replace an iterator by one that keeps its items, so that they can be drawn again."""
    if not isinstance(value, Iterator) or not hasattr(container, "__setitem__"):
        return []
    recorder = _RecordingIterator(value)
    container[key] = recorder

    def restore() -> None:
        container[key] = itertools.chain(recorder.items, value) if recorder.items else value

    return [restore]


def _undo_names(function: FunctionType) -> list[_Undo]:
    """Return the functions that restore a function's closure cells and globals."""
    undo: list[_Undo] = []
    for cell in function.__closure__ or ():
        if not _is_empty(cell):
            undo.append(functools.partial(setattr, cell, "cell_contents", cell.cell_contents))
    if is_user_module(function.__module__):
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
    """Restore only the entries that differ, because other threads may read the others."""
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
