"""Python callables compared by what they are: what they wrap, and what tells two of them apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from types import FunctionType, MethodType
from typing import Any

__all__ = ["identity", "layers", "reaches_method"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_DEEPEST = 20


def layers(outermost: Any) -> Iterator[Callable[..., Any]]:
    """Yield a callable, and those that it wraps or closes over."""
    pending: list[Callable[..., Any]] = [outermost]
    seen: set[int] = set()
    while pending:
        layer = pending.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        inner = [getattr(layer, name, None) for name in ("__func__", "func", "__wrapped__")]
        for cell in getattr(layer, "__closure__", None) or ():
            try:
                inner.append(cell.cell_contents)
            except ValueError:  # the cell is empty
                continue
        pending += [other for other in inner if callable(other)]


def reaches_method(outermost: Any, instance: Any, name: str) -> bool:
    """Whether a callable is, wraps or closes over a method of this very instance."""
    return any(
        getattr(layer, "__self__", None) is instance and getattr(layer, "__name__", "") == name
        for layer in layers(outermost)
    )


class _Same:
    """An object as a key that is equal to nothing but the same object, which it keeps alive."""

    __slots__ = ("_thing",)

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __hash__(self) -> int:
        return id(self._thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._thing is self._thing


def identity(called: Any) -> Hashable:
    """Return a key that two callables share only if calling either runs the same Python.

    That is the same object, or the same code with the same defaults, over the same values: a model
    that is traced again makes its inner functions again. A value counts as the same if it is a
    number, a text or a tuple of these that is equal, or else the same object. Of JAX's own
    wrappers, which it makes in each trace, dictionaries and lists count by their content.
    """
    return _key(called, 0, jaxs=False)


def _key(thing: Any, depth: int, *, jaxs: bool) -> Hashable:
    if isinstance(thing, _PLAIN):
        return type(thing), repr(thing)
    if depth > _DEEPEST:
        return _Same(thing)

    def keys(things: Any, jaxs: bool = jaxs) -> tuple[Hashable, ...]:
        return tuple(_key(inner, depth + 1, jaxs=jaxs) for inner in things)

    if type(thing) is tuple:
        return "tuple", keys(thing)
    if isinstance(thing, functools.partial):
        return "partial", keys((thing.func, *thing.args)), keys(sorted(thing.keywords.items()))
    if isinstance(thing, MethodType):
        return "method", _key(thing.__func__, depth + 1, jaxs=jaxs), _Same(thing.__self__)
    if isinstance(thing, FunctionType):
        own = (thing.__module__ or "").partition(".")[0] == "jax"
        held = [*(thing.__defaults__ or ()), *sorted((thing.__kwdefaults__ or {}).items())]
        cells = keys(map(_content, thing.__closure__ or ()), jaxs=own)
        return "function", thing.__code__, _Same(thing.__globals__), keys(held, jaxs=own), cells
    if jaxs and type(thing) in (dict, list):
        return type(thing), keys(thing.items() if isinstance(thing, dict) else thing)
    if type(thing).__module__.partition(".")[0] in ("jax", "jaxlib") and _is_value(thing):
        return thing  # type: ignore[no-any-return]
    return _Same(thing)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the cell is empty
        return None


def _is_value(thing: Any) -> bool:
    """Whether an object of JAX's is compared by its content, such as a tree's structure."""
    kind: Any = type(thing)
    return kind.__eq__ is not object.__eq__ and kind.__hash__ is not None
