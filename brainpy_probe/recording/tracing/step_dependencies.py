"""Decides whether an earlier trace of a step is still valid.

This is for steps that BrainPy does not trace (``jit=False``), where the trace depends only on
Python code and data. All objects that a step can reach are compared: attributes, items, closure
cells, defaults, globals that the user's functions name, class attributes, the content of NumPy
arrays, and settings. Of a Variable only shape and dtype are compared, because its value is an
argument. A step that reaches an object that can't be compared (an iterator, a file), or that may
give a different result each time (the clock), is traced at every call.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from brainpy_probe.compat import brainpy_runner, jax_tracing
from brainpy_probe.compat.types import Runner
from brainpy_probe.libraries import is_user_module
from brainpy_probe.recording.tracing.determinism import NotComparable
from brainpy_probe.recording.tracing.object_contents import comparable_state, inspect

__all__ = ["StepDependencies", "global_random_states"]

_ABSENT = object()
_MAX_OBJECTS = 20_000
# An object's values, their types, and the numbers of its parts.
_Row = tuple[list[Any], list[type], list[int]]


class StepDependencies:
    """The content of all objects on which the trace of a runner's step depends, at one moment.

    It keeps no object of the user's alive, except numbers and strings.

    Parameters
    ----------
    runner : brainpy.DSRunner
        The runner.
    *arguments
        Further arguments of the step: the shared arguments.

    Raises
    ------
    NotComparable
        If the step depends on an object that cannot be compared.
    """

    def __init__(self, runner: Runner, *arguments: Any) -> None:
        self._without: frozenset[str] = frozenset()
        own = all(
            not is_user_module(_defining_module(type(runner), name))
            for name in brainpy_runner.STEP_METHODS
        )
        self._is_brainpy_step = own
        self._rows, names = self._read(runner, arguments)
        changing = brainpy_runner.changed_by_runs(runner)
        if own and not names & changing:
            self._without = changing
            self._rows, _ = self._read(runner, arguments)
        self._settings = jax_tracing.trace_settings()

    def _read(self, runner: Runner, arguments: tuple[Any, ...]) -> tuple[list[_Row], set[str]]:
        """Return the content of each reachable object, and the names that functions use."""
        root = [runner, *arguments, *self._read_settings()]
        objects: list[Any] = [root]
        numbers, rows = {id(root): 0}, []
        names: set[str] = set()
        # The list grows while it is read: each part follows the object that holds it.
        for obj in objects:
            values, parts = inspect(obj, self._without if obj is runner else (), names)
            for part in parts:
                if id(part) not in numbers:
                    numbers[id(part)] = len(objects)
                    objects.append(part)
            rows.append((values, list(map(type, values)), [numbers[id(p)] for p in parts]))
            if len(objects) > _MAX_OBJECTS:
                raise NotComparable("it depends on too many objects")
        return rows, names

    def _read_settings(self) -> list[dict[str, Any]]:
        return brainpy_runner.step_settings(saved_by_step=self._is_brainpy_step)

    def is_unchanged(self, runner: Runner, *arguments: Any) -> bool:
        """Return whether the content of all objects is the same as before."""
        try:
            return self._settings == jax_tracing.trace_settings() and self._has_same_content(
                runner, arguments
            )
        except Exception:  # an object that can't be compared now, or an error in the user's code
            return False

    def _has_same_content(self, runner: Runner, arguments: tuple[Any, ...]) -> bool:
        """Return whether the reachable objects have the same values and types as before."""
        current: list[Any] = [_ABSENT] * len(self._rows)
        current[0] = [runner, *arguments, *self._read_settings()]
        names: set[str] = set()
        for number, (old_values, types, targets) in enumerate(self._rows):
            obj = current[number]
            values, parts = inspect(obj, self._without if obj is runner else (), names)
            if len(parts) != len(targets) or list(map(type, values)) != types:
                return False
            if values != old_values:
                return False
            for part, target in zip(parts, targets, strict=True):
                if current[target] is _ABSENT:
                    current[target] = part
                elif current[target] is not part:
                    return False
        return True


def global_random_states() -> tuple[Any, ...]:
    """Return the states of NumPy's and Python's global random generators, for comparison."""
    return comparable_state(np.random.get_state()), random.getstate()


def _defining_module(cls: type, name: str) -> str:
    """Return the module of the class that defines a method."""
    return next((base.__module__ for base in cls.__mro__ if name in vars(base)), "")
