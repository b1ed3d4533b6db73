"""How single values are compared: by identity, by value, as what never changes; knows no model."""

from __future__ import annotations

import functools
import sys
import weakref
from types import (
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np

from brainpy_probe.recording.tracing.usercode import is_users

__all__ = ["Alive", "Equal", "Same", "is_constant", "is_made_in_python"]

_HEAP_TYPE = 1 << 9  # of a type's __flags__: made by a class statement
# Packages whose classes made in C hold nothing that decides: locks, tracebacks, references.
_WITHOUT_STATE = {"_abc", "_thread", "jax", "jaxlib", "ml_dtypes", "weakref"}
_CONSTANT_KINDS = {
    MethodDescriptorType, ClassMethodDescriptorType, CodeType, GetSetDescriptorType,
    MemberDescriptorType, MethodWrapperType, WrapperDescriptorType, np.ufunc,
}  # fmt: skip


class Same:
    """A thing that is compared by identity, and kept; for what lives as long as its library."""

    __slots__ = ("_thing",)

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other._thing is self._thing

    __hash__ = None  # type: ignore[assignment]


class Alive:
    """An array that never changes, compared by identity; not kept alive."""

    __slots__ = ("_reference",)

    def __init__(self, array: Any) -> None:
        self._reference = weakref.ref(array)

    def __eq__(self, other: object) -> bool:
        mine = self._reference()
        return isinstance(other, Alive) and mine is not None and other._reference() is mine

    __hash__ = None  # type: ignore[assignment]


class Equal:
    """A thing of JAX's own that is compared by its value."""

    __slots__ = ("_thing",)

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal) and bool(other._thing == self._thing)

    __hash__ = None  # type: ignore[assignment]


def is_constant(value: Any) -> bool:
    """Whether a thing is a library's own, which lives as long as that and never changes."""
    kind: Any = type(value)
    if kind is type or isinstance(value, type):
        return not is_users(value.__module__)
    if kind is ModuleType:
        return not is_users(value.__name__)
    if kind is FunctionType:
        return not (value.__closure__ or value.__defaults__ or value.__kwdefaults__
                    or value.__dict__ or is_users(value.__module__))  # fmt: skip
    return _is_opaque_constant(kind)


@functools.lru_cache(maxsize=4096)
def _is_opaque_constant(kind: type) -> bool:
    if kind in _CONSTANT_KINDS or issubclass(kind, np.dtype):
        return True
    package = kind.__module__.partition(".")[0]
    return package in _WITHOUT_STATE and not is_made_in_python(kind)


def is_made_in_python(cls: type) -> bool:
    """Whether a class was made by Python code: all that its objects hold are attributes."""
    if not cls.__flags__ & _HEAP_TYPE or cls.__module__ in sys.builtin_module_names:
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or file.endswith(".py")
