"""Whether a step would be traced into what it was traced into before, its Python being the same.

Only for a step that BrainPy does not trace: there nothing but the Python itself tells. All that a
step can reach is compared: attributes, items, closure cells, defaults, globals that the user's
functions name, class attributes, the content of NumPy arrays, and settings. Of a Variable only the
form counts, since its value is an argument. What can't be looked into (an iterator, a file), or
gives something else each time (the clock), makes a step one that is traced at every call.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from brainpy_probe.compat import brainpy_runner, jax_tracing
from brainpy_probe.recording.tracing.contents import look, numpys_state
from brainpy_probe.recording.tracing.usercode import Unrecognisable, is_users

__all__ = ["WhatDecides", "global_random_states"]

_ABSENT = object()
_MOST = 20_000
# What decides of a thing by itself, the types of that, and the numbers of its parts.
_Row = tuple[list[Any], list[type], list[int]]


class WhatDecides:
    """All that decides into what a runner's step is traced, as it is at one moment.

    Nothing of the user's is kept alive by it, but for numbers and words.

    Parameters
    ----------
    runner : brainpy.DSRunner
        The runner.
    *given
        What else the step is given: the shared arguments.

    Raises
    ------
    Unrecognisable
        If something decides that can't be looked into.
    """

    def __init__(self, runner: Any, *given: Any) -> None:
        self._without: frozenset[str] = frozenset()
        own = all(not is_users(_home(type(runner), name)) for name in brainpy_runner.STEP_METHODS)
        self._is_brainpys = own
        self._rows, names = self._read(runner, given)
        changing = brainpy_runner.changed_by_runs(runner)
        if own and not names & changing:
            self._without = changing
            self._rows, _ = self._read(runner, given)
        self._settings = jax_tracing.trace_settings()

    def _read(self, runner: Any, given: tuple[Any, ...]) -> tuple[list[_Row], set[str]]:
        """Return what each thing that is reached holds, and the names that functions use."""
        root = [runner, *given, *self._read_settings()]
        things: list[Any] = [root]
        numbers, rows = {id(root): 0}, []
        names: set[str] = set()
        # The list grows while it is read: a part is looked at after what it was met in.
        for thing in things:
            decides, parts = look(thing, self._without if thing is runner else (), names)
            for part in parts:
                if id(part) not in numbers:
                    numbers[id(part)] = len(things)
                    things.append(part)
            rows.append((decides, list(map(type, decides)), [numbers[id(p)] for p in parts]))
            if len(things) > _MOST:
                raise Unrecognisable("it reaches too much")
        return rows, names

    def _read_settings(self) -> list[dict[str, Any]]:
        return brainpy_runner.step_settings(saved_by_step=self._is_brainpys)

    def are_still(self, runner: Any, *given: Any) -> bool:
        """Whether all of it is as it was."""
        try:
            return self._settings == jax_tracing.trace_settings() and self._is_same(runner, given)
        except Exception:  # what can't be looked into any more, or the user's own code
            return False

    def _is_same(self, runner: Any, given: tuple[Any, ...]) -> bool:
        met: list[Any] = [_ABSENT] * len(self._rows)
        met[0] = [runner, *given, *self._read_settings()]
        names: set[str] = set()
        for number, (decided, types, targets) in enumerate(self._rows):
            thing = met[number]
            decides, parts = look(thing, self._without if thing is runner else (), names)
            if len(parts) != len(targets) or list(map(type, decides)) != types:
                return False
            if decides != decided:
                return False
            for part, target in zip(parts, targets, strict=True):
                if met[target] is _ABSENT:
                    met[target] = part
                elif met[target] is not part:
                    return False
        return True


def global_random_states() -> tuple[Any, ...]:
    """Return the states of NumPy's and of Python's own random numbers, for comparison."""
    return numpys_state(np.random.get_state()), random.getstate()


def _home(cls: type, name: str) -> str:
    """Return the module of the class that has a method."""
    return next((one.__module__ for one in cls.__mro__ if name in vars(one)), "")
