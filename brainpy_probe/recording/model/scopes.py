"""Labels each op of a traced step with the model component to which it belongs.

A component is a ``DynamicalSystem``; its name is its path in the model. While JAX traces within a
recorded call, each method of a component runs in a ``jax.named_scope``. The scope is part of an
op's location, and adds no op.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from types import FunctionType, MethodType
from typing import Any

import jax

from brainpy_probe.compat import brainpy_model, brainpy_runner, jax_tracing
from brainpy_probe.compat.types import Args, Array, Kwargs, Runner, Variable, Wrapped
from brainpy_probe.format.component_names import INPUTS, MONITORS, scope
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_CALL, name_guard
from brainpy_probe.recording.guard import Guard
from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.model.names import ModelNames, TraceNames
from brainpy_probe.recording.model.standalone import StandaloneRun
from brainpy_probe.recording.patches import ACTIVE, Patch

__all__ = [
    "ComponentNames",
    "lost_variables",
    "method_scope",
    "name_components",
    "names_of",
    "read_components",
    "runner_patches",
]


# The methods in which a component computes. The runner calls ``clear_input`` after each step.
# Objects that compute a synapse's current implement ``filter``, which ``__call__`` calls, instead
# of ``update``. The other methods belong to ions and channels of a cell (braincell 0.2.0:
# _base_channel.py).
_METHODS = (
    "__call__", "update", "filter", "clear_input",
    "current", "compute_derivative", "pre_integral", "post_integral",
)  # fmt: skip


# Wrappers around a method, which may also wrap themselves.
_MAX_WRAPPERS = 20


class ComponentNames:
    """The names of a model's components. No component is kept alive.

    Parameters
    ----------
    names : ModelNames
        The names of the model's objects.

    Attributes
    ----------
    names : ModelNames
        The same.
    classes : dict
        The class of each component by its name; the model first.
    links : dict
        For each projection, the names of the two components that it connects.
    patches : list of Patch
        The patches of the methods of the components' classes.
    """

    def __init__(self, names: ModelNames) -> None:
        self.names = names
        self._named: IdentityDict[str] = IdentityDict()
        self.classes: dict[str, str] = {}
        classes: dict[type, None] = {}
        for name, reference in names.components:
            component = reference()
            if component is None:  # an object that is created at each access
                continue
            self._named.set(component, name)
            self.classes[name] = type(component).__name__
            classes |= dict.fromkeys(type(component).__mro__[:-1])
        self.links: dict[str, tuple[str, str]] = {}
        for name, reference in names.components:
            ends = [self._named.get(end) for end in _ends(reference())]
            if len(ends) == 2 and ends[0] and ends[1]:
                self.links[name] = ends[0], ends[1]
        self.patches = [
            Patch(cls, name, _component_method)
            for cls in classes
            for name in _METHODS
            if isinstance(vars(cls).get(name), FunctionType)
        ]

    def of(self, instance: Any) -> str | None:
        """Return a component's name; "" if it has none, None if it is not known yet."""
        return self._named.get(instance)

    def mark_unnamed(self, instance: Any) -> None:
        """Mark a component that is not part of the model, and therefore has no name."""
        self._named.set(instance, "")


def _ends(component: Any) -> list[Any]:
    """Return the components ``pre`` and ``post`` of a projection, or an empty list.

    They are attributes, or from 2.4 on entries of ``refs`` (brainpy 2.3.8: dyn/base.py; 2.4.6 to
    2.9.0: dyn/projections).
    """
    attributes = getattr(component, "__dict__", {})
    refs = attributes.get("refs")
    for mapping in (attributes, refs if isinstance(refs, dict) else {}):
        if "pre" in mapping and "post" in mapping:
            return [mapping["pre"], mapping["post"]]
    return []


def read_components(runner: Runner) -> ComponentNames:
    """Return the names of the components of a runner's model.

    They are kept while any session is open, and computed again if the model has changed.
    """
    owner = runner.owner if isinstance(runner, StandaloneRun) else runner
    known: ComponentNames | None = None if owner is None else ACTIVE.component_names.get(owner)
    if known is None or not known.names.is_unchanged(runner):
        known = ComponentNames(ModelNames(runner))
        if owner is not None:
            ACTIVE.component_names.set(owner, known)
    return known


def name_components(call: RunningCall) -> ComponentNames:
    """Patch the components of a call's model, so that their ops are labelled in this call."""
    known = read_components(call.runner)
    ACTIVE.extend(known.patches)
    call.components = known
    if known.names not in call.name_readings:
        call.name_readings.append(known.names)
    return known


def names_of(call: RunningCall, states: Sequence[Variable], arrays: Sequence[Array]) -> TraceNames:
    """Return the names of the Variables and arrays of a call's trace.

    Names from the beginning of the call are tried first, because a step may replace an object with
    which it was traced. An object without such a name was created in the call, and has its present
    name.
    """
    found = TraceNames([None] * len(states), [None] * len(arrays))
    with Guard(call.add_name_failure):
        for names in call.name_readings:
            found.add(names, states, arrays)
        if not found.is_complete:
            now = read_components(call.runner).names
            if now not in call.name_readings:
                found.add(now, states, arrays)
    return found


def lost_variables(call: RunningCall) -> tuple[str, ...]:
    """Return the names of Variables that hold a tracer after the call.

    BrainPy creates a Variable for a weight when it is first trained, while the step is traced. Such
    a Variable is not an argument of the run, and holds a tracer afterwards.
    """
    tracer = jax.core.Tracer
    with Guard(call.add_name_failure):
        names = read_components(call.runner).names
        return tuple(
            name
            for name, variable in names.variables()
            if isinstance(brainpy_model.raw_value(variable), tracer)
        )
    return ()


def runner_patches(runner: Runner) -> Iterator[Patch]:
    """Yield the patches of a runner's methods that set inputs and read monitors."""
    for name, handler in zip(brainpy_runner.STEP_PARTS, (_inputs, _monitors), strict=True):
        if name in vars(runner):
            yield Patch(runner, name, handler)


def method_scope(function: Any) -> contextlib.AbstractContextManager[None]:
    """Return a context in which the ops of a component's method have the component's name.

    The method in ``for_loop(net.update, xs)`` was looked up before the first call patched the class
    and named the model.

    Parameters
    ----------
    function : callable
        The function that is traced: the method itself, or a wrapper of a library around it.
    """
    if CURRENT_CALL.get() is not None:
        with name_guard:
            method = _wrapped_method(function)
            if method is not None and method.__name__ in _METHODS:
                return _scope(method.__self__)
    return _NO_SCOPE


def _wrapped_method(function: Any) -> MethodType | None:
    """Return the bound method that a function is or wraps by ``functools``, or None."""
    for _ in range(_MAX_WRAPPERS):
        if isinstance(function, MethodType):
            return function
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, FunctionType):
            function = getattr(function, "__wrapped__", None)
        else:
            break
    return None


def _component_method(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap a method of a component."""
    with _scope(instance):
        return wrapped(*args, **kwargs)


def _inputs(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the method with which a runner passes the inputs to the model."""
    with _scope(None, INPUTS):
        return wrapped(*args, **kwargs)


def _monitors(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
    """Wrap the method with which a runner reads its monitors."""
    with _scope(None, MONITORS):
        return wrapped(*args, **kwargs)


def _scope(instance: Any, name: str = "") -> contextlib.AbstractContextManager[None]:
    """Return a context in which ops are traced under a name, by default the component's name.

    It is a context manager, not a function that calls the method, because JAX records the call
    stack of each op that it traces.
    """
    call = CURRENT_CALL.get()
    if call is None or call.components is None:
        return _NO_SCOPE
    with name_guard:
        # Outside of a trace, each op would be compiled again under another name.
        if not jax_tracing.trace_state_clean():
            name = name or _name(call, call.components, instance)
            if name not in ("", call.component):
                return _NamedScope(call, name)
    return _NO_SCOPE


def _name(call: RunningCall, components: ComponentNames, instance: Any) -> str:
    """Return the name of a component; "" if it is not part of the model."""
    name = components.of(instance)
    if name is None:
        with call.own_work(names=True):
            # Names the model again if it has changed. Most often the object is not part of the
            # model.
            components = name_components(call)
            name = components.of(instance)
        if name is None:
            components.mark_unnamed(instance)
    return name or ""


_NO_SCOPE = contextlib.nullcontext()


class _NamedScope:
    """A context in which ops are traced under a name."""

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
