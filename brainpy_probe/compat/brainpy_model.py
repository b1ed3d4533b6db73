"""The parts of a BrainPy model: components, Variables, and the containers that hold them.

BrainPy 2.3.8 to 2.9.0, on brainstate from 2.7 on. A script may use brainstate without BrainPy. The
functions that return classes include BrainPy's classes only if the script has imported BrainPy.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from brainpy_probe.compat.import_hooks import is_imported
from brainpy_probe.compat.lookup import NAMES, PrivateName, take, uses_brainpy
from brainpy_probe.compat.types import Pytree, Variable
from brainpy_probe.errors import PrivateNameMissing

__all__ = [
    "CONTAINERS",
    "DELAYED",
    "DELAYS",
    "LAZY_CONTAINERS",
    "MANTISSA",
    "TRACE_NOTES",
    "UPDATES",
    "UPDATE_WRAPPERS",
    "VALUE",
    "array_classes",
    "brainpy_folders",
    "component_classes",
    "derivatives_of",
    "distinct_variables",
    "integrator_classes",
    "object_classes",
    "on_brainstate",
    "optimizer_classes",
    "parameter_classes",
    "quantity_class",
    "raw_value",
    "set_raw_value",
    "state_class",
    "take",
    "unit_class",
    "unit_of",
    "uses_brainpy",
    "view_classes",
]

NAMES.update(
    {
        "component": PrivateName(
            "BrainPy's DynamicalSystem",
            ("brainpy:DynamicalSystem",),
            "public; brainpy 2.3.8 to 2.9.0",
        ),
        "optimizer": PrivateName(
            "BrainPy's Optimizer",
            ("brainpy:optim.Optimizer",),
            "public; brainpy 2.3.8 to 2.9.0",
        ),
        "trained-variable": PrivateName(
            "BrainPy's TrainVar",
            ("brainpy.math:TrainVar",),
            "public; brainpy 2.3.8 to 2.9.0",
        ),
        "state-optimizer": PrivateName(
            "braintools' Optimizer",
            ("braintools.optim:Optimizer",),
            "public; braintools 0.3.0, 0.4.0: optim/_base.py",
            era="brainstate",
            optional=True,
        ),
        "parameter": PrivateName(
            "brainstate's ParamState",
            ("brainstate:ParamState",),
            "public; brainstate 0.5.4, 0.6.0",
            era="brainstate",
        ),
        "node": PrivateName(
            "brainstate's Node",
            ("brainstate.graph:Node",),
            "public; brainstate 0.5.4, 0.6.0. The modules of brainstate and its optimizers are "
            "Nodes",
            era="brainstate",
        ),
        "object": PrivateName(
            "BrainPy's BrainPyObject, whose names are its class and a counter",
            ("brainpy:BrainPyObject",),
            "public; brainpy 2.3.8 to 2.9.0",
        ),
        "variable": PrivateName(
            "BrainPy's Variable",
            ("brainpy.math:Variable",),
            "public; brainpy 2.3.8 to 2.9.0",
        ),
        "variable-view": PrivateName(
            "BrainPy's view of a Variable",
            ("brainpy.math:VariableView",),
            "public; brainpy 2.3.8 to 2.9.0",
        ),
        "state": PrivateName(
            "brainstate's State",
            ("brainstate:State",),
            "public; brainstate 0.5.4, 0.6.0",
            era="brainstate",
        ),
        "array": PrivateName(
            "BrainPy's Array", ("brainpy.math:Array",), "public; brainpy 2.3.8 to 2.9.0"
        ),
        "integrator": PrivateName(
            "BrainPy's base class of integrators",
            ("brainpy:Integrator",),
            "public; brainpy 2.3.8 to 2.9.0. In brainpy.integrators it warns in 2.6.0",
        ),
        "quantity": PrivateName(
            "saiunit's number or array with a unit",
            ("saiunit:Quantity",),
            "public; saiunit 0.5.2, 0.6.0, whose class brainunit re-exports",
            era="brainstate",
            optional=True,
        ),
        "unit": PrivateName(
            "saiunit's unit",
            ("saiunit:Unit",),
            "public; saiunit 0.5.2, 0.6.0",
            era="brainstate",
            optional=True,
        ),
        "random-state": PrivateName(
            "the random state that BrainPy draws from",
            ("brainpy.math:random.DEFAULT", "brainstate.random:DEFAULT"),
            "public; brainpy 2.3.8 to 2.9.0. From 2.7 on brainstate.random.DEFAULT (brainstate "
            "0.5.4, 0.6.0) is the same object",
        ),
    }
)


# Attributes in which a component keeps parts that were passed by name or position: containers from
# 2.4.6 on (dynsys.py: DynSysGroup, Sequential; dyn/ions, dyn/neurons/hh.py), and every
# BrainPyObject (2.3.8 to 2.6.0: _src/math/object_transform/base.py, with a leading underscore from
# 2.8.2 on).
CONTAINERS = (
    "children", "implicit_nodes", "implicit_vars", "_implicit_nodes", "_implicit_vars",
)  # fmt: skip


# Attributes in which a component keeps objects that are updated before or after it (2.4.6, 2.6.0:
# _src/dynsys.py; 2.8.2, 2.9.0: dynsys.py), and the prefixes of the keys of delays among these
# (2.8.2, 2.9.0: delay.py; 2.4.6, 2.6.0: _src/delay.py). The prefix is followed by a name, or by the
# id of the delayed Variable.
UPDATES = ("before_updates", "after_updates", "_before_updates", "_after_updates")


DELAYS = ("_*_delay_of_", "_*_delay_*_")


# Attribute in which a delay keeps its Variable (VarDelay; 2.4.6 to 2.9.0, as above).
DELAYED = "target"


# Attributes in which a Variable records its traces (brainstate 0.5.4, 0.6.0: _state.py).
TRACE_NOTES = ("_been_writen",)


# Attribute in which a Variable keeps its value (2.3.8 to 2.9.0: ndarray.py; brainstate 0.5.4,
# 0.6.0: State).
VALUE = "_value"


# Public attribute in which a quantity keeps its number or array without the unit (saiunit 0.5.2,
# 0.6.0).
MANTISSA = "mantissa"


# BrainPy's methods that wrap a method of the component (2.4.6, 2.6.0: _src/dynsys.py; 2.8.2, 2.9.0:
# dynsys.py).
UPDATE_WRAPPERS = {"_compatible_update": "update"}


_T = TypeVar("_T")


def _cached_per_imports(function: Callable[[], _T]) -> Callable[[], _T]:
    """Cache the result of a function, for each set of packages that the script has imported."""

    @functools.cache
    def compute(*imported: bool) -> _T:
        return function()

    @functools.wraps(function)
    def cached() -> _T:
        return compute(uses_brainpy(), is_imported("braintools"))

    return cached


def _brainpy_classes(*names: str) -> tuple[Any, ...]:
    """Return some of BrainPy's classes; none if the script uses brainstate alone."""
    return tuple(take(name) for name in names) if uses_brainpy() else ()


@_cached_per_imports
def on_brainstate() -> bool:
    """Return whether state is kept in brainstate, as BrainPy does from 2.7 on.

    This depends on the base classes of BrainPy's Variable, because brainstate may also be installed
    with an older BrainPy.
    """
    if not uses_brainpy():
        return True
    return any(base.__module__.startswith("brainstate") for base in take("variable").__mro__)


@_cached_per_imports
def state_class() -> Any:
    """Return the base class of state: brainstate's State, or BrainPy's Variable before 2.7."""
    return take("state" if on_brainstate() else "variable")


@_cached_per_imports
def component_classes() -> tuple[type, ...]:
    """Return the classes whose objects are components: models and optimizers."""
    return (
        *_brainpy_classes("component", "optimizer"),
        *([take("node")] if on_brainstate() else []),
    )


@_cached_per_imports
def optimizer_classes() -> tuple[type, ...]:
    """Return the optimizer classes of BrainPy and braintools that the script can use."""
    found = list(_brainpy_classes("optimizer"))
    if on_brainstate() and is_imported("braintools"):
        with contextlib.suppress(PrivateNameMissing):
            found.append(take("state-optimizer"))
    return tuple(found)


@_cached_per_imports
def quantity_class() -> Any:
    """Return the class of values with units; None before BrainPy 2.7."""
    return _saiunit_class("quantity")


@_cached_per_imports
def unit_class() -> Any:
    """Return the class of units; None before BrainPy 2.7."""
    return _saiunit_class("unit")


def _saiunit_class(name: str) -> Any:
    """Return a class of saiunit; None before BrainPy 2.7."""
    with contextlib.suppress(PrivateNameMissing):
        return take(name) if on_brainstate() else None
    return None


@_cached_per_imports
def parameter_classes() -> tuple[type, ...]:
    """Return the classes of the state that training changes."""
    return (
        *_brainpy_classes("trained-variable"),
        *([take("parameter")] if on_brainstate() else []),
    )


@_cached_per_imports
def array_classes() -> tuple[Any, ...]:
    """Return BrainPy's array class."""
    return _brainpy_classes("array")


@_cached_per_imports
def view_classes() -> tuple[Any, ...]:
    """Return BrainPy's class of views of a Variable."""
    return _brainpy_classes("variable-view")


@_cached_per_imports
def object_classes() -> tuple[Any, ...]:
    """Return BrainPy's class of objects whose names are their class and a counter."""
    return _brainpy_classes("object")


@_cached_per_imports
def integrator_classes() -> tuple[Any, ...]:
    """Return BrainPy's base class of integrators."""
    return _brainpy_classes("integrator")


@_cached_per_imports
def brainpy_folders() -> tuple[str, ...]:
    """Return the folders of BrainPy's and brainstate's own code."""
    names = [
        *(["brainpy"] if uses_brainpy() else []),
        *(["brainstate"] if on_brainstate() else []),
    ]
    files = [importlib.import_module(name).__file__ or "" for name in names]
    return tuple(str(Path(file).parent) + os.sep for file in files)


# Attributes that a component creates on first access, with an empty container as value (2.4.6,
# 2.6.0: _src/dynsys.py; 2.8.2, 2.9.0: dynsys.py, math/object_transform/base.py).
LAZY_CONTAINERS = (
    "_current_inputs", "_delta_inputs", "_before_updates", "_after_updates", "_implicit_vars",
    "_implicit_nodes",
)  # fmt: skip


def raw_value(array: Variable) -> Pytree:
    """Return the value of BrainPy's Array or Variable without recording a read.

    ``.value`` would also report the read to an active trace, and raises if a trace left a tracer
    in the Variable (brainpy 2.3.8 to 2.9.0: ndarray.py).
    """
    return array._value


def derivatives_of(integrator: Any) -> list[tuple[str, tuple[str, ...], Any]]:
    """Return the functions that an integrator integrates: kind, variables, function.

    ``derivative`` maps a kind to a function: ``f``, and ``g`` in a stochastic equation. A
    ``JointEq`` has one function in ``eqs`` for each variable (2.3.8 to 2.9.0: integrators/base.py,
    ode/base.py, sde/base.py, joint_eq.py).
    """
    variables = tuple(map(str, integrator.variables))
    found: list[tuple[str, tuple[str, ...], Any]] = []
    for kind, function in integrator.derivative.items():
        equations = getattr(function, "eqs", None)
        if equations is not None and len(equations) == len(variables):
            parts = zip(variables, equations, strict=True)
            found.extend((kind, (variable,), equation) for variable, equation in parts)
        else:
            found.append((kind, variables, function))
    return found


def unit_of(value: Any) -> tuple[Any, str]:
    """Return a value without its unit, and the unit, which is empty if the value has none."""
    quantity = quantity_class()
    if quantity is None or not issubclass(type(value), quantity):
        return value, ""
    return value.mantissa, str(value.unit)


def set_raw_value(array: Variable, value: Pytree) -> None:
    """Set the value of an Array or Variable without any check."""
    if array._value is not value:
        array._value = value


def distinct_variables(objects: Sequence[Any]) -> list[Variable]:
    """Return each Variable among objects once, and the random state.

    Views are left out, because a view writes to its Variable.
    """
    variable, view = take("variable"), take("variable-view")
    found = {
        id(candidate): candidate
        for candidate in (*objects, take("random-state"))
        if isinstance(candidate, variable) and not isinstance(candidate, view)
    }
    return list(found.values())
