"""Finds the model of a run without a runner: the objects that its function reaches.

A function that a loop or jit runs reaches its model through its closure, its bound object, its
partial arguments and the globals that it names. A single component is the model, and its parts have
the names that a runner would give them. Several components are prefixed by the user's variable
names.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CodeType, FunctionType, MappingProxyType, MethodType
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat.brainpy_model import (
    UPDATE_WRAPPERS,
    component_classes,
    optimizer_classes,
    state_class,
)
from brainpy_probe.compat.brainpy_runner import holder_classes
from brainpy_probe.libraries import is_user_module, may_hold_models
from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.tracing.determinism import names_in

__all__ = [
    "Namespace",
    "StandaloneRun",
    "is_users",
    "parameter_names",
    "standalone_run",
    "user_function",
]

_CALLABLES = (FunctionType, MethodType, functools.partial)
_CONTAINERS = (dict, list, tuple)
_MAX_FUNCTIONS = 200


class Namespace:
    """Objects under the names by which a function refers to them."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.__dict__.update(named)


@dataclass(eq=False)
class StandaloneRun:
    """A loop or jitted function that runs outside of a runner, in the role of the runner.

    Attributes
    ----------
    target : Any
        The model: a component, or a :class:`Namespace` of all components that the function
        reaches.
    others : Namespace
        The other objects that the function reaches.
    name : str
        The name of the user's function.
    holder : Any
        The BrainPy object to which the function belongs: a trainer, an IntegratorRunner or a
        LoopOverTime. None for a function of the user's.
    owner : Any
        The object for which the names of the model are kept, or None.
    parameters : tuple of str
        The names of the function's positional parameters; empty if they are unknown.
    is_users : bool
        Whether the function is the user's, not a library's.
    """

    target: Any
    others: Namespace
    name: str
    holder: Any = None
    owner: Any = None
    parameters: tuple[str, ...] = ()
    is_users: bool = True

    @property
    def title(self) -> str:
        """The name of the model's class, or of the function if there is no single model."""
        if isinstance(self.target, Namespace):
            if self.holder is not None:
                return type(self.holder).__name__
            return self.name.rpartition(".")[2].strip("<>") or "function"
        return type(self.target).__name__


def standalone_run(
    functions: Sequence[Callable[..., Any]],
    static: Mapping[int | str, Any] = MappingProxyType({}),
) -> StandaloneRun:
    """Find the model of functions that run without a runner; the first gives the name.

    Parameters
    ----------
    functions : sequence of callable
        The functions.
    static : mapping
        The static arguments of the first function, by position or name. They are not inputs.
    """
    user = user_function(functions[0])
    names: dict[int | str, str] = dict(enumerate(parameter_names(user)))
    given = [(_argument_name(names.get(key, key)), value) for key, value in static.items()]
    found = _model_of(dict(_reached([*(("", f) for f in functions), *given])), _name_of(user))
    inputs = tuple(name for key, name in names.items() if key not in static and name not in static)
    return replace(found, parameters=inputs, is_users=is_users(user))


def _argument_name(key: int | str) -> str:
    """Return the name of a static argument; ``self`` of a method is named after its class."""
    return "" if isinstance(key, int) or key == "self" else key


def _model_of(found: dict[str, Any], name: str) -> StandaloneRun:
    """Choose the model among the objects that the functions reach."""
    holder = next((obj for obj in found.values() if isinstance(obj, holder_classes())), None)
    if holder is not None:
        attributes = {k: v for k, v in vars(holder).items() if not k.startswith("_")}
        target = attributes.pop("target")
        if not isinstance(target, component_classes()):  # an IntegratorRunner
            target = Namespace(attributes.pop("variables", {}))
        return StandaloneRun(target, Namespace(attributes), name, holder, holder)
    components = {k: v for k, v in found.items() if isinstance(v, component_classes())}
    optimizers = {k: v for k, v in components.items() if isinstance(v, optimizer_classes())}
    owner = next(iter(components.values()), None)
    if len(components) > 1:
        components = _outermost(components)
    models = {k: v for k, v in components.items() if k not in optimizers}
    if models and len(components) > 1:
        # The parameters have the names of the model, not the optimizer's names for them.
        others = {k: v for k, v in found.items() if k not in models}
        return StandaloneRun(Namespace(models), Namespace(others), name, None, owner)
    if len(components) == 1:
        (key,) = components
        others = {k: v for k, v in found.items() if k != key}
        return StandaloneRun(found[key], Namespace(others), name, None, owner)
    return StandaloneRun(Namespace(found), Namespace({}), name, None, owner)


def _outermost(components: dict[str, Any]) -> dict[str, Any]:
    """Return the components that no other component holds."""
    from brainpy_probe.recording.model.tree import children, walk

    state = state_class()

    def parts(obj: Any) -> list[tuple[Any, Any]]:
        return [] if isinstance(obj, state) else children(obj)

    held: set[int] = set()
    for component in components.values():
        if id(component) not in held:
            held.update(id(visit.obj) for visit in walk(component, parts) if visit.parent >= 0)
    return {key: value for key, value in components.items() if id(value) not in held}


def _reached(roots: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the objects that functions and objects reach and that may hold state or arrays.

    Each has the name by which the code refers to it; a root has its given name.
    """
    seen: IdentityDict[bool] = IdentityDict()
    names: set[str] = set()
    pending = deque(roots)
    functions = 0
    while pending and functions < _MAX_FUNCTIONS:
        name, obj = pending.popleft()
        if seen.get(obj):
            continue
        if isinstance(obj, _CALLABLES):
            seen.set(obj, True)
            functions += 1
            pending.extend(_parts(obj))
        elif _may_hold_state(obj):
            seen.set(obj, True)
            key, number = name or _default_name(obj), 1
            while key in names:
                number += 1
                key = f"{name or _default_name(obj)}_{number}"
            names.add(key)
            yield key, obj


def _parts(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects that a callable holds or names, with their names in the code."""
    if isinstance(function, functools.partial):
        yield "", function.func
        yield from zip(parameter_names(function.func), function.args, strict=False)
        yield from function.keywords.items()
    elif isinstance(function, MethodType):
        yield "", function.__self__
        yield "", function.__func__
    else:
        yield from _closure(function)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            yield "", wrapped
        if _runs_models(function):
            for name in sorted(names_in(function.__code__)):
                if name in function.__globals__:
                    yield name, function.__globals__[name]
            defaults = function.__defaults__ or ()
            named = parameter_names(function)
            yield from zip(named[len(named) - len(defaults) :], defaults, strict=False)
            yield from (function.__kwdefaults__ or {}).items()


def _runs_models(function: FunctionType) -> bool:
    """Return whether a function is code of the user or of a package that provides models.

    ``functools.wraps`` gives a library's wrapper the ``__module__`` of the wrapped function, but
    not its globals.
    """
    return may_hold_models(function.__globals__.get("__name__"))


def is_users(function: Any) -> bool:
    """Return whether the innermost function is the user's code, judged by its module."""
    return is_user_module(getattr(function, "__module__", None))


def _closure(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the cell is empty
            continue


def _may_hold_state(obj: Any) -> bool:
    """Return whether an object is a model, state or array, a container, or of a user's class."""
    held = (*component_classes(), *holder_classes(), state_class(), jax.Array, np.ndarray)
    if isinstance(obj, held):
        return not isinstance(obj, jax.core.Tracer)
    if type(obj) in _CONTAINERS:
        return bool(obj)
    return not isinstance(obj, type) and may_hold_models(type(obj).__module__)


def _default_name(obj: Any) -> str:
    """Return a name for an object that the code does not name, such as ``self`` of a method."""
    return type(obj).__name__.lstrip("_")


def user_function(function: Any) -> Any:
    """Return the user's function within the wrappers of libraries, or the innermost function."""
    pending, innermost = deque([function]), function
    seen: set[int] = set()
    while pending and len(seen) < _MAX_FUNCTIONS:
        layer = pending.popleft()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if not callable(layer):
            continue
        inner = layer.__func__ if isinstance(layer, MethodType) else layer
        if isinstance(inner, FunctionType) and _runs_models(inner):
            return layer
        if isinstance(layer, (*component_classes(), MethodType)):
            return layer
        if isinstance(layer, _CALLABLES):
            innermost = layer
            pending.extend(value for _, value in _parts(layer))
    return innermost


def _name_of(function: Any) -> str:
    if isinstance(function, MethodType) and isinstance(function.__self__, component_classes()):
        method = function.__name__
        return f"{type(function.__self__).__name__}.{UPDATE_WRAPPERS.get(method, method)}"
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).replace("<locals>.", "")


def parameter_names(function: Any) -> tuple[str, ...]:
    """Return the names of a function's positional parameters; empty if they are unknown."""
    bound = isinstance(function, MethodType)
    inner = function.__func__ if bound else function
    if isinstance(function, component_classes()):
        inner, bound = getattr(type(function), "update", None), True
    code: CodeType | None = getattr(inner, "__code__", None)
    return () if code is None else code.co_varnames[int(bound) : code.co_argcount]
