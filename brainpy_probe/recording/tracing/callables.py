"""Finds the functions that a Python callable wraps, and compares the code of callables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from types import FunctionType, MethodType
from typing import Any

__all__ = ["callable_key", "contains_method", "inner_callables"]

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_MAX_DEPTH = 20


def inner_callables(outermost: Any) -> Iterator[Callable[..., Any]]:
    """Yield a callable, and all callables that it wraps or closes over."""
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


def contains_method(outermost: Any, instance: Any, name: str) -> bool:
    """Return whether a callable is, wraps or closes over a method of an instance."""
    return any(
        getattr(layer, "__self__", None) is instance and getattr(layer, "__name__", "") == name
        for layer in inner_callables(outermost)
    )


class _ByIdentity:
    """A hashable key for an object, compared by identity. It keeps the object alive."""

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __hash__(self) -> int:
        return id(self._obj)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other._obj is self._obj


def callable_key(function: Any) -> Hashable:
    """Return a key that two callables share only if both run the same Python code on the same data.

    Equal keys have the same object, or the same code with equal defaults and equal closed-over
    values: a model that is traced again creates new inner functions. Numbers, strings, and tuples
    of these are compared by value, other objects by identity. In the wrappers that JAX creates for
    each trace, dictionaries and lists are compared by content.
    """
    return _key(function, 0, in_jax=False)


def _key(obj: Any, depth: int, *, in_jax: bool) -> Hashable:
    """Return the key of an object that a callable holds; see :func:`callable_key`."""
    if isinstance(obj, _SCALARS):
        return type(obj), repr(obj)
    if depth > _MAX_DEPTH:
        return _ByIdentity(obj)

    def keys(objects: Any, in_jax: bool = in_jax) -> tuple[Hashable, ...]:
        return tuple(_key(inner, depth + 1, in_jax=in_jax) for inner in objects)

    if type(obj) is tuple:
        return "tuple", keys(obj)
    if isinstance(obj, functools.partial):
        return "partial", keys((obj.func, *obj.args)), keys(sorted(obj.keywords.items()))
    if isinstance(obj, MethodType):
        return "method", _key(obj.__func__, depth + 1, in_jax=in_jax), _ByIdentity(obj.__self__)
    if isinstance(obj, FunctionType):
        is_jax = (obj.__module__ or "").partition(".")[0] == "jax"
        defaults = [*(obj.__defaults__ or ()), *sorted((obj.__kwdefaults__ or {}).items())]
        cells = keys(map(_cell_content, obj.__closure__ or ()), in_jax=is_jax)
        namespace = _ByIdentity(obj.__globals__)
        return "function", obj.__code__, namespace, keys(defaults, in_jax=is_jax), cells
    if in_jax and type(obj) in (dict, list):
        return type(obj), keys(obj.items() if isinstance(obj, dict) else obj)
    if type(obj).__module__.partition(".")[0] in ("jax", "jaxlib") and _has_value_equality(obj):
        return obj  # type: ignore[no-any-return]
    return _ByIdentity(obj)


def _cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the cell is empty
        return None


def _has_value_equality(obj: Any) -> bool:
    """Return whether an object of JAX, such as a PyTreeDef, is compared by its content."""
    kind: Any = type(obj)
    return kind.__eq__ is not object.__eq__ and kind.__hash__ is not None
