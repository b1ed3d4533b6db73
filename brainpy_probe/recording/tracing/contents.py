"""What a thing holds, so that it can be compared with what it held before; knows no run.

What decides by itself (numbers, words, the content of NumPy arrays, the form of Variables) is
compared by value, its parts are looked into in turn. Nothing of the user's is kept alive, but for
numbers, words, classes and code.
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
from brainpy_probe.recording.patches import unwrapped
from brainpy_probe.recording.tracing.equality import (
    Alive,
    Equal,
    Same,
    is_constant,
    is_made_in_python,
)
from brainpy_probe.recording.tracing.usercode import (
    Unrecognisable,
    Used,
    is_users,
    require_pure,
    require_pure_builtin,
    used_by,
)

__all__ = ["form_of_argument", "look", "numpys_state"]

_PART, _ABSENT = object(), object()
# Where arrays lie: immutable, compared by value, and partly made in C.
_PLACEMENTS = (jax.sharding.Sharding, jax.sharding.Mesh, jax.sharding.PartitionSpec)
_EXACT = {str, bytes, int, bool, type(None), type(Ellipsis), type(NotImplemented), range, slice}
_Looked = tuple[list[Any], list[Any]]


def look(thing: Any, without: Iterable[str], names: set[str]) -> _Looked:
    """Return what a thing holds: what decides by itself, in its order, and the parts among it.

    Each part stands as ``_PART`` among what decides.
    """
    decides: list[Any] = [Same(type(thing))]
    parts: list[Any] = []
    kind = type(thing)
    look = _LOOKS.get(kind)
    if look is not None:
        look(thing, decides, parts, names)
    elif issubclass(kind, type):
        _of_class(thing, decides, parts, names)
    elif issubclass(kind, np.generic):
        decides.append((str(thing.dtype), thing.tobytes()))
    elif issubclass(kind, _PLACEMENTS):
        decides.append(Equal(thing))
    else:
        _look_into(thing, kind, decides, parts, without, names)
    return decides, parts


def _take(values: Iterable[Any], decides: list[Any], parts: list[Any]) -> None:
    for value in values:
        kind: Any = type(value)
        if kind in _EXACT:
            decides.append(value)
        elif kind is float or kind is complex:
            decides.append((repr(value),))  # 0.0 is not -0.0
        elif _is_array(kind):
            decides.append(Alive(value))
        else:
            value = unwrapped(value)
            if is_constant(value):
                decides.append(Same(value))
            else:
                decides.append(_PART)
                parts.append(value)


@functools.lru_cache(maxsize=4096)
def _is_array(kind: Any) -> bool:
    """Whether a class is one of JAX's arrays, random keys included: they never change."""
    return issubclass(kind, jax.Array) and not issubclass(kind, jax.core.Tracer)


def _look_into(
    thing: Any,
    kind: type,
    decides: list[Any],
    parts: list[Any],
    without: Iterable[str],
    names: set[str],
) -> None:
    """Look into an object by what its class is made of."""
    ways, slots, classes = _made_of(kind)
    for way in ways:
        way(thing, decides, parts, names)
    held = getattr(thing, "__dict__", None)
    if held:
        left_out = [name for name in (*without, *brainpy_model.LAZY_CONTAINERS) if name in held]
        if ways is _OF_STATE:
            left_out += [brainpy_model.VALUE, *brainpy_model.TRACE_NOTES]
        if left_out:
            held = {
                name: None if name in left_out and not _counts(name, value) else value
                for name, value in held.items()
            }
        _take(held, decides, parts)
        _take(held.values(), decides, parts)
    for slot in slots:
        if not (ways is _OF_STATE and slot.__name__ == brainpy_model.VALUE):
            _take([_in_slot(slot, thing)], decides, parts)
    parts += classes
    decides += [_PART] * len(classes)


def _counts(name: str, value: Any) -> bool:
    """Whether what is left out counts all the same: a container that is not empty."""
    return name in brainpy_model.LAZY_CONTAINERS and (not isinstance(value, dict) or bool(value))


def _in_slot(slot: MemberDescriptorType, thing: Any) -> Any:
    try:
        return slot.__get__(thing)
    except AttributeError:
        return None


@functools.lru_cache(maxsize=4096)
def _made_of(kind: type) -> tuple[Any, list[MemberDescriptorType], list[type]]:
    """Return how a class's objects are looked into, their slots, and the user's classes."""
    lineage = kind.__mro__
    slots = [
        value
        for cls in lineage
        for name, value in vars(cls).items()
        if type(value) is MemberDescriptorType and not name.startswith("__")
    ]
    classes = [cls for cls in lineage if is_users(cls.__module__)]
    if issubclass(kind, brainpy_model.state_class()):
        return _OF_STATE, slots, classes
    ways = tuple(look for base, look in _BASES.items() if issubclass(kind, base))
    for cls in lineage:
        known = cls in _BASES or cls in _KNOWN or is_made_in_python(cls)
        if not known or (issubclass(cls, Iterator) and not ways):
            raise Unrecognisable(f"it reaches a {kind.__module__}.{kind.__qualname__}")
    return ways, slots, classes


def _of_dict(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    _take(dict.keys(thing), decides, parts)
    _take(dict.values(thing), decides, parts)


def _of_proxy(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    _take(thing.keys(), decides, parts)
    _take(thing.values(), decides, parts)


def _of_items(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    decides.append(len(thing))
    _take(list(thing), decides, parts)


def _of_numpy(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    """Take an array by its content, which may be changed in place."""
    if thing.dtype.hasobject:
        decides.append(thing.shape)
        _take(thing.ravel().tolist(), decides, parts)
    else:
        content = digest_of(np.ascontiguousarray(thing).reshape(-1).view(np.uint8).data)
        decides += [thing.shape, str(thing.dtype), content]


def _of_value(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    """Take what inherits from a number or a word, such as a member of an IntEnum."""
    base = next(cls for cls in type(thing).__mro__ if cls in _VALUES)
    decides.append(base.__repr__(thing))


def _of_state(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    """Take a Variable by the form of its value, which is an argument of the program."""
    leaves, tree = jax.tree_util.tree_flatten(brainpy_model.raw_value(thing))
    decides.append(Equal(tree))
    decides += [form_of_argument(leaf) for leaf in leaves]


def form_of_argument(leaf: Any) -> Any:
    """Return what decides of an array that is an argument of a trace."""
    if isinstance(leaf, jax.core.Tracer):
        raise Unrecognisable("it is part of a trace")
    if isinstance(leaf, jax.Array):
        return True, leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)
    dtype = getattr(leaf, "dtype", None)
    return False, np.shape(leaf), type(leaf).__name__ if dtype is None else dtype


def _of_method(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    _take([thing.__self__, thing.__func__], decides, parts)


def _of_partial(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    _take([thing.func, *thing.args], decides, parts)
    _take(thing.keywords, decides, parts)
    _take(thing.keywords.values(), decides, parts)


def _of_builtin(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    decides.append(thing.__qualname__)
    _take([thing.__self__], decides, parts)


def _of_wrapped(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    _take([thing.__func__], decides, parts)


def _of_property(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    _take([thing.fget, thing.fset, thing.fdel], decides, parts)


def _of_generator(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    decides.append(repr(thing.bit_generator.state))


def _of_random_state(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    decides.append(numpys_state(thing.get_state()))


def _of_random(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    decides.append(thing.getstate())


def numpys_state(state: Any) -> tuple[Any, ...]:
    """Return a state of NumPy's random numbers as it can be compared."""
    return tuple(one.tobytes() if isinstance(one, np.ndarray) else one for one in state)


def _of_class(thing: Any, decides: list[Any], parts: list[Any], _: set[str]) -> None:
    """Take a class of the user's by its attributes; those that Python gives every class aside."""
    held = {name: value for name, value in vars(thing).items() if name not in _OF_EVERY_CLASS}
    _take(held, decides, parts)
    _take(held.values(), decides, parts)
    _take(thing.__bases__, decides, parts)


_OF_EVERY_CLASS = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__abstractmethods__",
    "_abc_impl", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__parameters__", "__orig_bases__", "__static_attributes__", "__firstlineno__",
}  # fmt: skip


def _of_function(thing: Any, decides: list[Any], parts: list[Any], names: set[str]) -> None:
    code = thing.__code__
    decides.append(Same(code))
    _take(thing.__defaults__ or (), decides, parts)
    for held in (thing.__kwdefaults__, thing.__dict__):
        _take(held or (), decides, parts)
        _take((held or {}).values(), decides, parts)
    for cell in thing.__closure__ or ():
        try:
            _take([cell.cell_contents], decides, parts)
        except ValueError:
            decides.append(None)  # the cell is empty
    if is_users(thing.__module__):
        used = used_by(code)
        names.update(used.names)
        _of_globals(thing.__globals__, used, decides, parts)


def _of_globals(there: dict[str, Any], used: Used, decides: list[Any], parts: list[Any]) -> None:
    """Take the globals that a user's function names, and what it names of the user's modules."""
    for name in used.globals:
        value = there.get(name, _ABSENT)
        if value is _ABSENT:
            require_pure_builtin(name)
            decides.append(name)
        elif type(value) is ModuleType:
            require_pure(value.__name__, used.names)
            decides.append(Same(value))
            if is_users(value.__name__):
                inside = vars(value)
                _take([inside[one] for one in used.names if one in inside], decides, parts)
        else:
            if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
                require_pure(str(getattr(value, "__module__", "")), used.names)
            _take([value], decides, parts)


_Way = Callable[[Any, list[Any], list[Any], set[str]], None]
_OF_STATE: tuple[_Way, ...] = (_of_state,)
# How an object of exactly this type is looked into.
_LOOKS: dict[type, _Way] = {
    dict: _of_dict,
    MappingProxyType: _of_proxy,
    list: _of_items,
    tuple: _of_items,
    set: _of_items,
    frozenset: _of_items,
    deque: _of_items,
    FunctionType: _of_function,
    MethodType: _of_method,
    BuiltinFunctionType: _of_builtin,
    functools.partial: _of_partial,
    staticmethod: _of_wrapped,
    classmethod: _of_wrapped,
    property: _of_property,
}
_VALUES = (int, float, complex, str, bytes)
# How what a class inherits from these is looked into, beside its attributes.
_BASES: dict[type, _Way] = {
    dict: _of_dict,
    list: _of_items,
    tuple: _of_items,
    set: _of_items,
    frozenset: _of_items,
    deque: _of_items,
    np.ndarray: _of_numpy,
    functools.partial: _of_partial,
    np.random.Generator: _of_generator,
    np.random.RandomState: _of_random_state,
    random.Random: _of_random,
    **dict.fromkeys(_VALUES, _of_value),
}
# What of classes that C made adds nothing that decides.
_KNOWN = {object, OrderedDict, defaultdict, *random.Random.__mro__}
