"""Inspects the content of Python objects, so that it can be compared with their later content.

An object consists of values, which are compared directly (numbers, strings, the content of NumPy
arrays, the shapes and dtypes of Variables), and of parts, which are inspected in turn. No object of
the user's is kept alive, except numbers, strings, classes and code.
"""

from __future__ import annotations

import functools
import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model
from brainpy_probe.format.digests import digest_of
from brainpy_probe.libraries import is_user_module
from brainpy_probe.recording.patches import unwrapped
from brainpy_probe.recording.tracing.determinism import (
    NotComparable,
    UsedNames,
    require_deterministic,
    require_deterministic_builtin,
    used_names,
)
from brainpy_probe.recording.tracing.equality import (
    ByEquality,
    ByIdentity,
    ByReference,
    is_constant,
    is_made_in_python,
)

__all__ = ["argument_signature", "comparable_state", "inspect"]

_PART, _ABSENT = object(), object()
# Immutable classes that are compared by value, and partly implemented in C.
_SHARDINGS = (jax.sharding.Sharding, jax.sharding.Mesh, jax.sharding.PartitionSpec)
_EXACT = {str, bytes, int, bool, type(None), type(Ellipsis), type(NotImplemented), range, slice}
_Inspected = tuple[list[Any], list[Any]]


def inspect(obj: Any, without: Iterable[str], names: set[str]) -> _Inspected:
    """Return the values and the parts of an object, in their order.

    Among the values, ``_PART`` marks the position of each part.

    Parameters
    ----------
    obj : Any
        The object.
    without : iterable of str
        Attributes that are left out.
    names : set of str
        To this set, the names that inspected functions use are added.

    Raises
    ------
    NotComparable
        If the object cannot be inspected.
    """
    values: list[Any] = [ByIdentity(type(obj))]
    parts: list[Any] = []
    kind = type(obj)
    inspector = _BY_TYPE.get(kind)
    if inspector is not None:
        inspector(obj, values, parts, names)
    elif issubclass(kind, type):
        _inspect_class(obj, values, parts, names)
    elif issubclass(kind, np.generic):
        values.append((str(obj.dtype), obj.tobytes()))
    elif issubclass(kind, _SHARDINGS):
        values.append(ByEquality(obj))
    else:
        _inspect_object(obj, kind, values, parts, without, names)
    return values, parts


def _add(items: Iterable[Any], values: list[Any], parts: list[Any]) -> None:
    """Add items to the values, or to the parts if they have to be inspected in turn."""
    for value in items:
        kind: Any = type(value)
        if kind in _EXACT:
            values.append(value)
        elif kind is float or kind is complex:
            values.append((repr(value),))  # 0.0 is not -0.0
        elif _is_array(kind):
            values.append(ByReference(value))
        else:
            value = unwrapped(value)
            if is_constant(value):
                values.append(ByIdentity(value))
            else:
                values.append(_PART)
                parts.append(value)


@functools.lru_cache(maxsize=4096)
def _is_array(kind: Any) -> bool:
    """Return whether a class is an array class of JAX, random keys included; all are immutable."""
    return issubclass(kind, jax.Array) and not issubclass(kind, jax.core.Tracer)


def _inspect_object(
    obj: Any,
    kind: type,
    values: list[Any],
    parts: list[Any],
    without: Iterable[str],
    names: set[str],
) -> None:
    """Inspect an object by its base classes, attributes and slots."""
    inspectors, slots, classes = _structure(kind)
    for inspector in inspectors:
        inspector(obj, values, parts, names)
    held = getattr(obj, "__dict__", None)
    if held:
        left_out = [name for name in (*without, *brainpy_model.LAZY_CONTAINERS) if name in held]
        if inspectors is _STATE:
            left_out += [brainpy_model.VALUE, *brainpy_model.TRACE_NOTES]
        if left_out:
            held = {
                name: None if name in left_out and not _is_filled_container(name, value) else value
                for name, value in held.items()
            }
        _add(held, values, parts)
        _add(held.values(), values, parts)
    for slot in slots:
        if not (inspectors is _STATE and slot.__name__ == brainpy_model.VALUE):
            _add([_slot_value(slot, obj)], values, parts)
    parts += classes
    values += [_PART] * len(classes)


def _is_filled_container(name: str, value: Any) -> bool:
    """Return whether an attribute is a lazily created container that has content."""
    return name in brainpy_model.LAZY_CONTAINERS and (not isinstance(value, dict) or bool(value))


def _slot_value(slot: MemberDescriptorType, obj: Any) -> Any:
    try:
        return slot.__get__(obj)
    except AttributeError:
        return None


@functools.lru_cache(maxsize=4096)
def _structure(kind: type) -> tuple[Any, list[MemberDescriptorType], list[type]]:
    """Return a class's inspectors and slots, and the user's classes among its bases."""
    mro = kind.__mro__
    slots = [
        value
        for cls in mro
        for name, value in vars(cls).items()
        if type(value) is MemberDescriptorType and not name.startswith("__")
    ]
    classes = [cls for cls in mro if is_user_module(cls.__module__)]
    if issubclass(kind, brainpy_model.state_class()):
        return _STATE, slots, classes
    inspectors = tuple(inspector for base, inspector in _BY_BASE.items() if issubclass(kind, base))
    for cls in mro:
        known = cls in _BY_BASE or cls in _STATELESS or is_made_in_python(cls)
        if not known or (issubclass(cls, Iterator) and not inspectors):
            raise NotComparable(f"it depends on an object of {kind.__module__}.{kind.__qualname__}")
    return inspectors, slots, classes


def _inspect_dict(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    _add(dict.keys(obj), values, parts)
    _add(dict.values(obj), values, parts)


def _inspect_proxy(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    _add(obj.keys(), values, parts)
    _add(obj.values(), values, parts)


def _inspect_items(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    values.append(len(obj))
    _add(list(obj), values, parts)


def _inspect_numpy(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    """Add the content of an array, because it may be changed in place."""
    if obj.dtype.hasobject:
        values.append(obj.shape)
        _add(obj.ravel().tolist(), values, parts)
    else:
        content = digest_of(np.ascontiguousarray(obj).reshape(-1).view(np.uint8).data)
        values += [obj.shape, str(obj.dtype), content]


def _inspect_value(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    """Add an object that inherits from a number or a string, such as a member of an IntEnum."""
    base = next(cls for cls in type(obj).__mro__ if cls in _SCALARS)
    values.append(base.__repr__(obj))


def _inspect_state(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    """Add the shape and dtype of a Variable's value, which is an argument of the program."""
    leaves, tree = jax.tree_util.tree_flatten(brainpy_model.raw_value(obj))
    values.append(ByEquality(tree))
    values += [argument_signature(leaf) for leaf in leaves]


def argument_signature(leaf: Any) -> Any:
    """Return the properties of an argument on which its trace depends."""
    if isinstance(leaf, jax.core.Tracer):
        raise NotComparable("it is part of a trace")
    if isinstance(leaf, jax.Array):
        return True, leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)
    dtype = getattr(leaf, "dtype", None)
    return False, np.shape(leaf), type(leaf).__name__ if dtype is None else dtype


def _inspect_method(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    _add([obj.__self__, obj.__func__], values, parts)


def _inspect_partial(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    _add([obj.func, *obj.args], values, parts)
    _add(obj.keywords, values, parts)
    _add(obj.keywords.values(), values, parts)


def _inspect_builtin(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    values.append(obj.__qualname__)
    _add([obj.__self__], values, parts)


def _inspect_wrapped(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    _add([obj.__func__], values, parts)


def _inspect_property(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    _add([obj.fget, obj.fset, obj.fdel], values, parts)


def _inspect_generator(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    values.append(repr(obj.bit_generator.state))


def _inspect_random_state(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    values.append(comparable_state(obj.get_state()))


def _inspect_random(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    values.append(obj.getstate())


def comparable_state(state: Any) -> tuple[Any, ...]:
    """Return the state of a NumPy random generator in a form that can be compared."""
    return tuple(item.tobytes() if isinstance(item, np.ndarray) else item for item in state)


def _inspect_class(obj: Any, values: list[Any], parts: list[Any], _: set[str]) -> None:
    """Add the attributes of a user's class, without those that every class has."""
    held = {name: value for name, value in vars(obj).items() if name not in _EVERY_CLASS}
    _add(held, values, parts)
    _add(held.values(), values, parts)
    _add(obj.__bases__, values, parts)


_EVERY_CLASS = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__abstractmethods__",
    "_abc_impl", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__parameters__", "__orig_bases__", "__static_attributes__", "__firstlineno__",
}  # fmt: skip


def _inspect_function(obj: Any, values: list[Any], parts: list[Any], names: set[str]) -> None:
    """Add a function's code, defaults, closure and globals."""
    code = obj.__code__
    values.append(ByIdentity(code))
    _add(obj.__defaults__ or (), values, parts)
    for held in (obj.__kwdefaults__, obj.__dict__):
        _add(held or (), values, parts)
        _add((held or {}).values(), values, parts)
    for cell in obj.__closure__ or ():
        try:
            _add([cell.cell_contents], values, parts)
        except ValueError:
            values.append(None)  # the cell is empty
    if is_user_module(obj.__module__):
        used = used_names(code)
        names.update(used.names)
        _inspect_globals(obj.__globals__, used, values, parts)


def _inspect_globals(
    namespace: dict[str, Any], used: UsedNames, values: list[Any], parts: list[Any]
) -> None:
    """Add the globals that a user's function names, and the attributes of the user's modules."""
    for name in used.globals:
        value = namespace.get(name, _ABSENT)
        if value is _ABSENT:
            require_deterministic_builtin(name)
            values.append(name)
        elif type(value) is ModuleType:
            require_deterministic(value.__name__, used.names)
            values.append(ByIdentity(value))
            if is_user_module(value.__name__):
                inside = vars(value)
                _add([inside[attr] for attr in used.names if attr in inside], values, parts)
        else:
            if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
                require_deterministic(str(getattr(value, "__module__", "")), used.names)
            _add([value], values, parts)


_Inspector = Callable[[Any, list[Any], list[Any], set[str]], None]
_STATE: tuple[_Inspector, ...] = (_inspect_state,)
# The function that inspects objects of exactly this type.
_BY_TYPE: dict[type, _Inspector] = {
    dict: _inspect_dict,
    MappingProxyType: _inspect_proxy,
    list: _inspect_items,
    tuple: _inspect_items,
    set: _inspect_items,
    frozenset: _inspect_items,
    deque: _inspect_items,
    FunctionType: _inspect_function,
    MethodType: _inspect_method,
    BuiltinFunctionType: _inspect_builtin,
    functools.partial: _inspect_partial,
    staticmethod: _inspect_wrapped,
    classmethod: _inspect_wrapped,
    property: _inspect_property,
}
_SCALARS = (int, float, complex, str, bytes)
# The functions that inspect objects that inherit from these types, in addition to their attributes.
_BY_BASE: dict[type, _Inspector] = {
    dict: _inspect_dict,
    list: _inspect_items,
    tuple: _inspect_items,
    set: _inspect_items,
    frozenset: _inspect_items,
    deque: _inspect_items,
    np.ndarray: _inspect_numpy,
    functools.partial: _inspect_partial,
    np.random.Generator: _inspect_generator,
    np.random.RandomState: _inspect_random_state,
    random.Random: _inspect_random,
    **dict.fromkeys(_SCALARS, _inspect_value),
}
# Classes implemented in C that add no content.
_STATELESS = {object, OrderedDict, defaultdict, *random.Random.__mro__}
