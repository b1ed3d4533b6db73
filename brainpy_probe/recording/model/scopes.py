"""Names a model's components while its step is traced, so that each op says whose it is.

A component is a ``DynamicalSystem``; its name is the path that leads to it in the model tree. While
a watched call traces, ``jax.named_scope`` is around each component's own methods: that is a name in
an op's location, no op. Knows no program, no cost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, jax_tracing
from brainpy_probe.format.component_names import INPUTS, MONITORS, scope
from brainpy_probe.recording.calls import CURRENT_CALL, RunningCall, name_guard
from brainpy_probe.recording.guard import Guard
from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.model.names import ModelNames, Names
from brainpy_probe.recording.patches import LEDGER, Patch
from brainpy_probe.recording.types import Args, Kwargs, Wrapped

__all__ = ["ComponentNames", "name_components", "read_components", "runner_patches"]


# What a component computes in. The runner calls ``clear_input`` after each step; ``__call__``
# leads to ``filter`` instead of ``update`` in what gives a synapse's current.
_METHODS = ("__call__", "update", "filter", "clear_input")


class ComponentNames:
    """What a model's components are called, and where; none of these is kept alive.

    Parameters
    ----------
    names : ModelNames
        The names of what the model holds.

    Attributes
    ----------
    names : ModelNames
        These.
    classes : dict
        The class of each component by its name; the model first.
    links : dict
        Of each projection the names of the components that it connects.
    patches : list of Patch
        What is to be wrapped: the methods of the components' own classes.
    """

    def __init__(self, names: ModelNames) -> None:
        self.names = names
        self._named: IdentityDict[str] = IdentityDict()
        self.classes: dict[str, str] = {}
        classes: dict[type, None] = {}
        for name, reference in names.components:
            component = reference()
            if component is None:  # an object made anew whenever it is asked for
                continue
            self._named.set(component, name)
            self.classes[name] = type(component).__name__
            classes |= dict.fromkeys(type(component).__mro__[:-1])
        self.links: dict[str, tuple[str, str]] = {}
        for name, there in names.components:
            ends = [self._named.get(end) for end in _ends(there())]
            if len(ends) == 2 and ends[0] and ends[1]:
                self.links[name] = ends[0], ends[1]
        self.patches = [
            Patch(cls, name, component_method)
            for cls in classes
            for name in _METHODS
            if isinstance(vars(cls).get(name), FunctionType)
        ]

    def of(self, instance: Any) -> str | None:
        """Return a component's name; empty if it has none, None if it was not seen yet."""
        return self._named.get(instance)

    def pass_over(self, instance: Any) -> None:
        """Note that a component is no part of the model and has no name."""
        self._named.set(instance, "")


def _ends(component: Any) -> list[Any]:
    """Return what a projection connects, ``pre`` and ``post``, as BrainPy's have them.

    Attributes, or from 2.4 on entries of ``refs`` (brainpy 2.3.8: dyn/base.py; 2.4.6 to 2.9.0:
    dyn/projections).
    """
    held = getattr(component, "__dict__", {})
    refs = held.get("refs")
    for one in (held, refs if isinstance(refs, dict) else {}):
        if "pre" in one and "post" in one:
            return [one["pre"], one["post"]]
    return []


def read_components(runner: Any) -> ComponentNames:
    """Return the components of a runner's model.

    The model is read once for as long as anybody watches, and again when it holds something else.
    """
    known: ComponentNames | None = LEDGER.noted.get(runner)
    if known is None or not known.names.are_still(runner):
        known = LEDGER.noted.set(runner, ComponentNames(ModelNames(runner)))
    return known


def name_components(call: RunningCall) -> None:
    """Have the components of a call's model say their names while they are traced."""
    known = read_components(call.runner)
    LEDGER.extend(known.patches)
    call.components = known
    if known.names not in call.readings:
        call.readings.append(known.names)


def names_of(call: RunningCall, states: Sequence[Any], arrays: Sequence[Any]) -> Names:
    """Return the names of Variables and of arrays that a call's model was traced with.

    They have the names that held when the call began: what a step is traced with it may replace.
    What has none there has come in the call, and is looked for in the model as it is now.
    """
    found = Names([None] * len(states), [None] * len(arrays))
    with Guard(call.has_no_name):
        for names in call.readings:
            found.add(names, states, arrays)
        if not found.complete:
            now = read_components(call.runner).names
            if now not in call.readings:
                found.add(now, states, arrays)
    return found


def lost_variables(call: RunningCall) -> tuple[str, ...]:
    """Return the names of Variables whose value the trace of a call has taken with it.

    BrainPy makes a Variable of a weight when it is first learned, while the step is traced; such a
    Variable is no argument of the run, and holds a tracer when that has ended.
    """
    tracer = jax.core.Tracer
    with Guard(call.has_no_name):
        names = read_components(call.runner).names
        return tuple(
            name
            for name, one in names.variables()
            if isinstance(brainpy_model.raw_value(one), tracer)
        )
    return ()


def runner_patches(runner: Any) -> Iterator[Patch]:
    """Yield what is to be wrapped of a runner's class: what it does before and after the model."""
    for name, handler in zip(brainpy_runner.STEP_PARTS, (inputs, monitors), strict=True):
        if name in vars(runner):
            yield Patch(runner, name, handler)


def component_method(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for a method of a component."""
    with _scope(instance):
        return wrapped(*args, **kwargs)


def inputs(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the method with which a runner gives the model its inputs."""
    with _scope(None, INPUTS):
        return wrapped(*args, **kwargs)


def monitors(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Stand in for the method with which a runner reads its monitors."""
    with _scope(None, MONITORS):
        return wrapped(*args, **kwargs)


def _scope(instance: Any, name: str = "") -> contextlib.AbstractContextManager[None]:
    """Return what has ops traced under a name: the one given, or else that of a component.

    A context, no function around the method: JAX keeps the stack of each op that it traces.
    """
    call = CURRENT_CALL.get()
    if call is None or call.components is None:
        return _AS_IT_IS
    with name_guard:
        # Op by op each would be compiled under another name.
        if not jax_tracing.trace_state_clean():
            name = name or _name(call, instance)
            if name not in ("", call.component):
                return _Named(call, name)
    return _AS_IT_IS


def _name(call: RunningCall, instance: Any) -> str:
    name: str | None = call.components.of(instance)
    if name is None:
        with call.noting(names=True):
            # Most often it is no part of the model: that holds what it held, and is not read again.
            name_components(call)
            name = call.components.of(instance)
        if name is None:
            call.components.pass_over(instance)
    return name or ""


_AS_IT_IS = contextlib.nullcontext()


class _Named:
    """A block whose ops are traced under a name."""

    def __init__(self, call: RunningCall, name: str) -> None:
        self._call, self._outer, self._name = call, call.component, name
        self._scope: Any = None

    def __enter__(self) -> None:
        self._call.component = self._name
        with name_guard:
            named: Any = jax.named_scope(scope(self._name))
            named.__enter__()
            self._scope = named

    def __exit__(self, *raised: Any) -> None:
        self._call.component = self._outer
        if self._scope is not None:
            with name_guard:
                self._scope.__exit__(None, None, None)
