"""Names a model's components, Variables and arrays by their paths in the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat.brainpy_model import (
    MANTISSA,
    component_classes,
    raw_value,
    state_class,
    take,
    unit_of,
    view_classes,
)
from brainpy_probe.compat.types import Array, Runner, Variable
from brainpy_probe.recording.identity_dict import IdentityDict, reference
from brainpy_probe.recording.model.numpy_arrays import NumpyNames
from brainpy_probe.recording.model.paths import PathNames, path_cost
from brainpy_probe.recording.model.pytrees import unique_name
from brainpy_probe.recording.model.standalone import StandaloneRun
from brainpy_probe.recording.model.tree import Structure, children, walk

__all__ = ["ModelNames", "TraceNames"]

# The names of the runner and of BrainPy's own random state.
_RESERVED = ("runner", "random")
_TRACER = jax.core.Tracer
# Attributes of a runner that hold data of its last run.
_LAST_RUN = ("mon",)


class _NamedObjects:
    """The names of the Variables, arrays and components of one walk. No object is kept alive.

    Parameters
    ----------
    root : Any
        The root of the walk.
    without : collection of str
        Attributes of the root that are not visited.
    root_name, title : str
        The root's name as prefix of the names of its parts; and its name when other names refer to
        it.
    taken : set of str
        Names that are already used. The new names are added.
    seen : dict
        Objects that are not visited, by their ids. Visited objects are added.
    """

    def __init__(
        self,
        root: Any,
        without: Collection[str],
        root_name: str,
        title: str,
        taken: set[str],
        seen: dict[int, Any],
    ) -> None:
        state, component = state_class(), component_classes()

        def parts(obj: Any) -> list[tuple[Any, Any]]:
            if issubclass(type(obj), state):  # its value is replaced in each run
                return []
            parts = children(obj)
            if obj is root and without:
                return [(key, None if key in without else value) for key, value in parts]
            return parts

        visits = list(walk(root, parts, path_cost, seen))
        self.states: list[tuple[str, Callable[[], Any]]] = []
        self.arrays: IdentityDict[str] = IdentityDict()
        self.numpy = NumpyNames()
        self.units: dict[str, str] = {}
        self.components: list[tuple[str, Callable[[], Any]]] = []
        self._references: list[Callable[[], Any]] = []
        self._state_names: IdentityDict[str] = IdentityDict()
        self._structure = Structure(visits, state, without)
        names = PathNames(visits, root_name, title, taken)
        for number, visit in enumerate(visits):
            obj = visit.obj
            if isinstance(obj, component):
                self.components.append((names.of(number) or title, reference(obj)))
            elif isinstance(obj, state):
                self.name_state(names.of(number), obj)
            elif isinstance(obj, (np.ndarray, jax.Array)) and not isinstance(obj, _TRACER):
                self._name_array(names.of(number), obj)
                if visit.key == MANTISSA and (unit := unit_of(visits[visit.parent].obj)[1]):
                    self.units[names.of(number)] = unit

    def name_state(self, name: str, state: Variable) -> None:
        """Name a Variable."""
        state_reference = reference(state)
        self.states.append((name, state_reference))
        self._references.append(state_reference)
        self._state_names.set(state, name)

    def _name_array(self, name: str, array: Array) -> None:
        array_reference = reference(array)
        self._references.append(array_reference)
        self.arrays.set(array, name)
        if isinstance(array, np.ndarray):
            self.numpy.arrays.append((name, array_reference))

    def is_unchanged(self, root: Any) -> bool:
        """Return whether the same walk would visit the same objects on the same paths.

        Equal ids and types are not enough, because Python reuses ids. Therefore the references to
        all named objects are checked too.
        """
        are_alive = all(get() is not None for get in self._references)
        return are_alive and self._structure.is_unchanged(root)

    def state(self, state: Variable) -> str | None:
        """Return a Variable's name."""
        return self._state_names.get(state)

    def array(self, array: Array) -> str | None:
        """Return the name of an array of the model, or of the Variable whose value it is."""
        name = self.arrays.get(array)
        if name is None and isinstance(array, jax.Array):
            for state_name, get in self.states:
                variable = get()
                if variable is not None and raw_value(variable) is array:
                    return state_name
        return name


class ModelNames:
    """The names of the objects of a model and its runner at one moment. No object is kept alive.

    The model itself is named after its class. A component that several objects hold gets its
    plainest name: ``E2E.syn``, not its key in the dict of its neurons' inputs. If BrainPy made an
    object's name from its class and a counter, the object is named after the class.

    Parameters
    ----------
    runner : brainpy.DSRunner or StandaloneRun
        The runner. Its own arrays, such as inputs, are named ``runner....``. In a run without a
        runner, the other objects have the names that the user's code has for them.

    Attributes
    ----------
    components : list of (str, reference)
        The name of each component, and a reference to it; the model first.
    """

    def __init__(self, runner: Runner) -> None:
        target = runner.target
        title = runner.title if isinstance(runner, StandaloneRun) else type(target).__name__
        seen: dict[int, Any] = {}
        self._taken = set(_RESERVED)
        self._model = _NamedObjects(target, (), "", title, self._taken, seen)
        self._model.name_state("random", take("random-state"))
        self._ids = dict.fromkeys(seen)
        self._runner = self._walk_runner(runner, seen)
        self.components = self._model.components
        if self.components and self.components[0][1]() is target:
            names = {name for name, _ in self.components[1:]}
            self.components[0] = unique_name(title, names), self.components[0][1]
        if isinstance(runner, StandaloneRun):
            self.components = self.components + self._runner.components

    def _walk_runner(self, runner: Runner, seen: dict[int, Any]) -> _NamedObjects:
        taken = self._taken.copy()
        if isinstance(runner, StandaloneRun):
            return _NamedObjects(runner.others, (), "", runner.title, taken, seen)
        return _NamedObjects(runner, _LAST_RUN, "runner", "runner", taken, seen)

    def is_unchanged(self, runner: Runner) -> bool:
        """Return whether the model is unchanged; name the runner's objects again if they changed.

        This takes a tenth of the time of naming the model. If it returns True, a new walk would
        give the same names.
        """
        if not self._model.is_unchanged(runner.target):
            return False
        others = runner.others if isinstance(runner, StandaloneRun) else runner
        if not self._runner.is_unchanged(others):
            self._runner = self._walk_runner(runner, self._ids.copy())
        return True

    def variables(self) -> Iterator[tuple[str, Variable]]:
        """Yield the living Variables with their names, without views, which hold no value."""
        view = view_classes()
        for name, get in (*self._model.states, *self._runner.states):
            state = get()
            if state is not None and not isinstance(state, view):
                yield name, state

    def state(self, state: Variable) -> str | None:
        """Return a Variable's name, or None if it belongs to neither the model nor the runner."""
        return self._model.state(state) or self._runner.state(state)

    def units(self, names: Iterable[str | None]) -> dict[str, str]:
        """Return the units of arrays by name, for the arrays that are held in a quantity."""
        known = self._model.units | self._runner.units
        return {name: known[name] for name in names if name in known}

    def arrays(self, arrays: Sequence[Array]) -> tuple[list[str | None], list[str]]:
        """Return the names of arrays that a trace closed over, and notes on ambiguous ones.

        A trace holds a ``jax.Array`` itself. For NumPy arrays, which JAX converts, see
        :mod:`~brainpy_probe.recording.model.numpy_arrays`.
        """
        names = [self._model.array(array) or self._runner.array(array) for array in arrays]
        notes: list[str] = []
        for objects in (self._model, self._runner):
            unnamed = [number for number, name in enumerate(names) if name is None]
            known = [name for name in names if name is not None]
            found, more = objects.numpy.find([arrays[number] for number in unnamed], known)
            notes += more
            for number, name in zip(unnamed, found, strict=True):
                names[number] = name
        return names, notes


@dataclass
class TraceNames:
    """The names of the Variables and arrays of one trace; None for objects without a name.

    Attributes
    ----------
    states, arrays : list of (str or None)
        The names, in the order of the trace.
    units : dict
        The units of arrays by name, for the arrays that are held in a quantity.
    notes : list of str
        Why the name of an array is ambiguous.
    """

    states: list[str | None]
    arrays: list[str | None]
    units: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all Variables and arrays have a name."""
        return None not in self.states and None not in self.arrays

    def add(self, names: ModelNames, states: Sequence[Variable], arrays: Sequence[Array]) -> None:
        """Look up the Variables and arrays that have no name yet in a model's names."""
        if self.is_complete:
            return
        array_names, notes = names.arrays(arrays)
        self.states = [a or names.state(b) for a, b in zip(self.states, states, strict=True)]
        self.units = names.units(array_names) | self.units
        self.arrays = [a or b for a, b in zip(self.arrays, array_names, strict=True)]
        self.notes = list(dict.fromkeys([*self.notes, *notes]))
