"""What a BrainPy model is made of: components, Variables, and the containers that hold them.

BrainPy 2.3.8 to 2.9.0, on brainstate from 2.7 on.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brainpy_probe.compat.lookup import NAMES, PrivateName, take

__all__ = [
    "CONTAINERS",
    "DELAYED",
    "DELAYS",
    "LAZY_CONTAINERS",
    "TRACE_NOTES",
    "UPDATES",
    "VALUE",
    "brainpy_folders",
    "on_brainstate",
    "own_variables",
    "peek",
    "put",
    "state_class",
    "take",
]

NAMES.update(
    {
        "component": PrivateName(
            "BrainPy's DynamicalSystem",
            ("brainpy:DynamicalSystem",),
            "public; brainpy 2.3.8 to 2.9.0",
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
        "random-state": PrivateName(
            "the random state that BrainPy draws from",
            ("brainpy.math:random.DEFAULT",),
            "public; brainpy 2.3.8 to 2.9.0. From 2.7 on brainstate.random.DEFAULT is the "
            "same object",
        ),
    }
)


# Where a component keeps the parts that it was given by name or by position: Containers from 2.4.6
# on (dynsys.py: DynSysGroup, Sequential; dyn/ions, dyn/neurons/hh.py), and every BrainPyObject
# (2.3.8 to 2.6.0: _src/math/object_transform/base.py, with a leading underscore from 2.8.2 on).
CONTAINERS = (
    "children", "implicit_nodes", "implicit_vars", "_implicit_nodes", "_implicit_vars",
)  # fmt: skip


# Where a component keeps what is updated before and after it (2.4.6, 2.6.0: _src/dynsys.py; 2.8.2,
# 2.9.0: dynsys.py), and what the key of a delay among these begins with (2.8.2, 2.9.0: delay.py;
# 2.4.6, 2.6.0: _src/delay.py), before what the delay is of: a name, or the id of a Variable.
UPDATES = ("before_updates", "after_updates", "_before_updates", "_after_updates")


DELAYS = ("_*_delay_of_", "_*_delay_*_")


# Where a delay keeps the Variable that it is of (VarDelay; 2.4.6 to 2.9.0, as above).
DELAYED = "target"


# What a Variable notes of the traces that it was part of (brainstate 0.5.4, 0.6.0: _state.py).
TRACE_NOTES = ("_been_writen",)


# Where a Variable keeps its value (2.3.8 to 2.9.0: ndarray.py; brainstate 0.5.4, 0.6.0: State).
VALUE = "_value"


@functools.cache
def on_brainstate() -> bool:
    """Whether BrainPy keeps its state in brainstate, as from 2.7 on.

    Read from its own Variable: brainstate may well be installed beside an older BrainPy.
    """
    return any(base.__module__.startswith("brainstate") for base in take("variable").__mro__)


@functools.cache
def state_class() -> Any:
    """Return the class of all that is state: brainstate's State, or before 2.7 the Variable."""
    return take("state" if on_brainstate() else "variable")


@functools.cache
def brainpy_folders() -> tuple[str, ...]:
    """Return the folders in which BrainPy's own code lies, and that of its foundation."""
    names = ("brainpy", "brainstate") if on_brainstate() else ("brainpy",)
    files = [importlib.import_module(name).__file__ or "" for name in names]
    return tuple(str(Path(file).parent) + os.sep for file in files)


# What a component makes when it is first asked for, an empty container (2.4.6, 2.6.0:
# _src/dynsys.py; 2.8.2, 2.9.0: dynsys.py, math/object_transform/base.py).
LAZY_CONTAINERS = (
    "_current_inputs", "_delta_inputs", "_before_updates", "_after_updates", "_implicit_vars",
    "_implicit_nodes",
)  # fmt: skip


def peek(array: Any) -> Any:
    """Return what an Array or a Variable of BrainPy's holds.

    ``.value`` would also tell a trace that a Variable was read, and refuses to give a tracer that
    a trace has left there (brainpy 2.3.8 to 2.9.0: ndarray.py).
    """
    return array._value


def put(array: Any, value: Any) -> None:
    """Have an Array or a Variable hold a value, unchecked."""
    if array._value is not value:
        array._value = value


def own_variables(things: Sequence[Any]) -> list[Any]:
    """Return the Variables among objects, each once; views write to the Variable behind them."""
    variable, view = take("variable"), take("variable-view")
    found = {
        id(one): one
        for one in (*things, take("random-state"))
        if isinstance(one, variable) and not isinstance(one, view)
    }
    return list(found.values())
