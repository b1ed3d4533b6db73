"""Wrappers that compare one value by identity, by weak reference, or by equality."""

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

from brainpy_probe.compat.types import Array
from brainpy_probe.libraries import is_user_module

__all__ = ["ByEquality", "ByIdentity", "ByReference", "is_constant", "is_made_in_python"]

_HEAP_TYPE = 1 << 9  # of a type's __flags__: created by a class statement
# Packages with C classes that hold no content on which a trace depends: locks, tracebacks,
# references.
_WITHOUT_STATE = {"_abc", "_thread", "jax", "jaxlib", "ml_dtypes", "weakref"}
_CONSTANT_KINDS = {
    MethodDescriptorType, ClassMethodDescriptorType, CodeType, GetSetDescriptorType,
    MemberDescriptorType, MethodWrapperType, WrapperDescriptorType, np.ufunc,
}  # fmt: skip


class ByIdentity:
    """Compares an object of a library by identity, and keeps it alive."""

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other._obj is self._obj

    __hash__ = None  # type: ignore[assignment]


class ByReference:
    """Compares an immutable array by identity, without keeping it alive."""

    __slots__ = ("_reference",)

    def __init__(self, array: Array) -> None:
        self._reference = weakref.ref(array)

    def __eq__(self, other: object) -> bool:
        mine = self._reference()
        return isinstance(other, ByReference) and mine is not None and other._reference() is mine

    __hash__ = None  # type: ignore[assignment]


class ByEquality:
    """Compares an object of JAX by equality."""

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByEquality) and bool(other._obj == self._obj)

    __hash__ = None  # type: ignore[assignment]


def is_constant(value: Any) -> bool:
    """Return whether an object belongs to a library, which keeps it alive and never changes it."""
    kind: Any = type(value)
    if kind is type or isinstance(value, type):
        return not is_user_module(value.__module__)
    if kind is ModuleType:
        return not is_user_module(value.__name__)
    if kind is FunctionType:
        return not (value.__closure__ or value.__defaults__ or value.__kwdefaults__
                    or value.__dict__ or is_user_module(value.__module__))  # fmt: skip
    return _is_opaque_constant(kind)


@functools.lru_cache(maxsize=4096)
def _is_opaque_constant(kind: type) -> bool:
    if kind in _CONSTANT_KINDS or issubclass(kind, np.dtype):
        return True
    package = kind.__module__.partition(".")[0]
    return package in _WITHOUT_STATE and not is_made_in_python(kind)


def is_made_in_python(cls: type) -> bool:
    """Return whether a class is defined in Python, so that its objects hold only attributes."""
    if not cls.__flags__ & _HEAP_TYPE or cls.__module__ in sys.builtin_module_names:
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is None or file.endswith(".py")
