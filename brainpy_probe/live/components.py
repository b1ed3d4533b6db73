"""Names a model's components while its step is traced, so that each op says whose it is.

A component is a ``DynamicalSystem``; its name is the path that leads to it in the model tree. While
a watched call traces, ``jax.named_scope`` is around each component's own methods: that is a name in
an op's location, no op. Knows no program, no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import jax

from brainpy_probe.live import seams
from brainpy_probe.live.calls import CURRENT_CALL
from brainpy_probe.live.modeltree import walk
from brainpy_probe.live.patching import Patch
from brainpy_probe.naming import INPUTS, MONITORS, scope

__all__ = ["component_names", "patches", "runner_patches"]

Wrapped = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]

# What a component computes in. The runner calls ``clear_input`` after each step; ``__call__``
# leads to ``filter`` instead of ``update`` in what gives a synapse's current.
_METHODS = ("__call__", "update", "filter", "clear_input")


def component_names(target: Any) -> dict[int, tuple[str, Any]]:
    """Return the name of each component of a model, and the component, by its ``id``.

    The model itself is named for its class. A component that hangs in several places has the
    plainest of its names: ``E2E.syn``, not that of the dictionary in which its neurons call it.
    """
    component = seams.take("component")
    found: dict[int, tuple[str, Any]] = {}
    for path, thing in walk(target):
        if isinstance(thing, component):
            found[id(thing)] = path or type(thing).__name__, thing
    return found


def patches(components: dict[int, tuple[str, Any]]) -> list[Patch]:
    """Return what is to be wrapped: the methods of the components' own classes."""
    classes = {cls: None for _, one in components.values() for cls in type(one).__mro__[:-1]}
    return [
        Patch(cls, name, component_method)
        for cls in classes
        for name in _METHODS
        if isinstance(vars(cls).get(name), FunctionType)
    ]


def runner_patches(runner: Any) -> Iterator[Patch]:
    """Yield what is to be wrapped of a runner's class: what it does before and after the model."""
    for name, handler in (("_step_func_input", inputs), ("_step_func_monitor", monitors)):
        if name in vars(runner):
            yield Patch(runner, name, handler)


def component_method(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for a method of a component."""
    call = CURRENT_CALL.get()
    name = "" if call is None else call.components.get(id(instance), ("",))[0]
    return _under(name, wrapped, args, kwargs)


def inputs(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the method with which a runner gives the model its inputs."""
    return _under(INPUTS, wrapped, args, kwargs)


def monitors(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the method with which a runner reads its monitors."""
    return _under(MONITORS, wrapped, args, kwargs)


def _under(name: str, wrapped: Wrapped, args: Args, kwargs: Kwargs) -> Any:
    call = CURRENT_CALL.get()
    if call is None or not call.components or name in ("", call.component):
        return wrapped(*args, **kwargs)
    if seams.trace_state_clean():  # op by op: each would be compiled under another name
        return wrapped(*args, **kwargs)
    outer, call.component = call.component, name
    try:
        with jax.named_scope(scope(name)):
            return wrapped(*args, **kwargs)
    finally:
        call.component = outer
