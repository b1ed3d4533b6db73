"""Names for what a model holds: its components, Variables and arrays; knows no run, no program.

A name is the path that leads to a thing, written so that it is the same in every process: no
counter of BrainPy's, no object's id, and none of the containers that BrainPy itself puts between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import brainpy_model
from brainpy_probe.compat.brainpy_model import VALUE, raw_value, state_class, take
from brainpy_probe.recording.identity_dict import IdentityDict, reference
from brainpy_probe.recording.model.numpy_arrays import NumpyNames
from brainpy_probe.recording.model.pytrees import unused
from brainpy_probe.recording.model.tree import Holdings, Met, children, plain, price, walk

__all__ = ["ModelNames", "Names"]

_ID = re.compile(r"0x[0-9a-f]{6,}|\d{9,}")
_WORD = re.compile(r"\w+")
_COUNTED = re.compile(r"(\D+)\d+")
# Names that the runner and BrainPy's own random state have.
_RESERVED = ("runner", "random")
_TRACER = jax.core.Tracer
_OPENED = (*brainpy_model.CONTAINERS, VALUE)
_BESIDES = 3
# What a runner holds of its last run alone.
_OF_LAST_RUN = ("mon",)


def _price(key: Any) -> int:
    """Return what a step costs: nothing into what no name mentions.

    What BrainPy was told of besides (``implicit_...``) most often has a plainer path; so has
    what a delay is of.
    """
    if key == brainpy_model.DELAYED:
        return price(key) + 1
    if key in _OPENED:
        return _BESIDES if "implicit" in key else 0
    return price(key)


class _Naming:
    """Turns the paths of one walk into names, each of them given once.

    Parameters
    ----------
    met : sequence of Met
        What the walk has met, in its order.
    path, title : str
        The name of the walk's first object, with which all others begin, and what it is called
        where another's name tells of it.
    taken : set of str
        Names that are given already; the new ones are added.
    """

    def __init__(self, met: Sequence[Met], path: str, title: str, taken: set[str]) -> None:
        self._met, self._path, self._title, self._taken = met, path, title, taken
        self._numbers = {id(one.thing): number for number, one in enumerate(met)}
        self._names: dict[int, str] = {}
        self._under_way: set[int] = set()
        component = take("object")
        self._counted = {
            name: number
            for number, one in enumerate(met)
            if isinstance(one.thing, component) and (name := _brainpys_name(one.thing))
        }

    def of(self, number: int) -> str:
        """Return the name of what was met as this number."""
        if number not in self._names:
            one = self._met[number]
            if one.parent < 0:
                self._names[number] = self._path
            elif one.key in _OPENED and self._is_opened(one):
                self._names[number] = self.of(one.parent)
            else:
                self._under_way.add(number)
                path = ".".join(filter(None, (self.of(one.parent), self._part(number))))
                self._under_way.discard(number)
                self._names[number] = unused(path, self._taken)
        return self._names[number]

    def _is_opened(self, one: Met) -> bool:
        """Whether a thing has its holder's name, as the value of an Array has."""
        holder = self._met[one.parent].thing
        if one.key == VALUE:
            return isinstance(holder, take("array"))
        return isinstance(holder, take("object")) and isinstance(one.thing, dict)

    def _part(self, number: int) -> str:
        one = self._met[number]
        if isinstance(one.key, int):
            return str(one.key)
        key = str(one.key)
        if key == _brainpys_name(one.thing):
            return type(one.thing).__name__
        if key.startswith(brainpy_model.DELAYS):
            target = getattr(one.thing, "__dict__", {}).get(brainpy_model.DELAYED)
            if isinstance(target, state_class()) and self._is_named(target):
                return f"delay_of_{self._seen_from(number, target)}"
        elif " " in key and isinstance(one.thing, take("object")):
            return type(one.thing).__name__.lstrip("_")
        if any(map(str.isdigit, key)):
            key = _ID.sub(lambda found: self._of_id(number, found[0]), key)
            key = _WORD.sub(lambda found: self._of_counted(number, found[0]), key)
        return plain(key)

    def _is_named(self, thing: Any) -> bool:
        number = self._numbers.get(id(thing))
        return number is not None and number not in self._under_way

    def _seen_from(self, number: int, thing: Any) -> str:
        """Return a thing's name as one word: in full, or from the component that holds both."""
        name = self.of(self._numbers[id(thing)])
        above = self._met[number].parent
        while above > 0:
            within = self.of(above)
            if name.startswith(f"{within}."):
                name = name.removeprefix(f"{within}.")
                break
            above = self._met[above].parent
        return (name or self._title).replace(".", "_")

    def _of_id(self, number: int, written: str) -> str:
        wanted = int(written, 16 if written.startswith("0x") else 10)
        known = self._numbers.get(wanted)
        if known == number:
            return ""
        if known is None or known in self._under_way:
            return "id"
        return self._seen_from(number, self._met[known].thing)

    def _of_counted(self, number: int, word: str) -> str:
        """Return the name of what BrainPy calls by this word; the word itself if it is another."""
        known = self._counted.get(word)
        if known is not None and known not in self._under_way:
            return self._seen_from(number, self._met[known].thing)
        # The projection that left a part here may be gone: its counter tells nothing.
        counted = _COUNTED.fullmatch(word)
        above = self._met[number].parent
        if counted and word[0].isupper() and self._met[above].key in brainpy_model.UPDATES:
            return counted[1]
        return word


def _brainpys_name(thing: Any) -> str:
    """Return the name that BrainPy gave an object: its class and a counter of the process; or no.

    A name that the user gave is the user's.
    """
    if not isinstance(thing, take("object")):
        return ""
    try:
        name = str(thing.name)
    except Exception:
        return ""
    cls = type(thing).__name__
    return name if name.startswith(cls) and name[len(cls) :].isdecimal() else ""


class _Reading:
    """What one walk found: names of Variables, arrays and components; none of them is kept alive.

    Parameters
    ----------
    root : Any
        Where the walk begins.
    without : collection of str
        Attributes of the root that are passed over.
    path, title : str
        The root's own name, with which those of its parts begin; and what it is called itself.
    taken : set of str
        Names that are given already; the new ones are added.
    seen : dict
        Objects by their ids that are passed over; those of this walk are added.
    """

    def __init__(
        self,
        root: Any,
        without: Collection[str],
        path: str,
        title: str,
        taken: set[str],
        seen: dict[int, Any],
    ) -> None:
        state, component = state_class(), take("component")

        def parts(thing: Any) -> list[tuple[Any, Any]]:
            if issubclass(type(thing), state):  # its value is another one after each run
                return []
            held = children(thing)
            if thing is root and without:
                return [(key, None if key in without else value) for key, value in held]
            return held

        met = list(walk(root, parts, _price, seen))
        self.states: list[tuple[str, Callable[[], Any]]] = []
        self.arrays: IdentityDict[str] = IdentityDict()
        self.numpy = NumpyNames()
        self.components: list[tuple[str, Callable[[], Any]]] = []
        self._alive: list[Callable[[], Any]] = []
        self._state_names: IdentityDict[str] = IdentityDict()
        self._holdings = Holdings(met, state, without)
        naming = _Naming(met, path, title, taken)
        for number, one in enumerate(met):
            thing = one.thing
            if isinstance(thing, component):
                self.components.append((naming.of(number) or title, reference(thing)))
            elif isinstance(thing, state):
                self.name_state(naming.of(number), thing)
            elif isinstance(thing, (np.ndarray, jax.Array)) and not isinstance(thing, _TRACER):
                self._name_array(naming.of(number), thing)

    def name_state(self, name: str, state: Any) -> None:
        """Name a Variable."""
        there = reference(state)
        self.states.append((name, there))
        self._alive.append(there)
        self._state_names.set(state, name)

    def _name_array(self, name: str, array: Any) -> None:
        there = reference(array)
        self._alive.append(there)
        self.arrays.set(array, name)
        if isinstance(array, np.ndarray):
            self.numpy.arrays.append((name, there))

    def is_still(self, root: Any) -> bool:
        """Whether the same walk would find the same things on the same paths.

        That the ids and types of all that was met are the same is not enough, as an id may be
        another object's by now: but what has a name lives as long as its reference says.
        """
        return all(there() is not None for there in self._alive) and self._holdings.are_still(root)

    def state(self, state: Any) -> str | None:
        """Return a Variable's name."""
        return self._state_names.get(state)

    def array(self, array: Any) -> str | None:
        """Return the name of an array that is itself held, or is the value of a Variable."""
        name = self.arrays.get(array)
        if name is None and isinstance(array, jax.Array):
            for of_state, there in self.states:
                variable = there()
                if variable is not None and raw_value(variable) is array:
                    return of_state
        return name


class ModelNames:
    """The names of what a model and its runner hold, at one moment; nothing of that is kept alive.

    The model itself is named for its class. A component that hangs in several places has the
    plainest of its names: ``E2E.syn``, not that of the dictionary in which its neurons call it.
    What BrainPy names for its class and a counter has the class's name.

    Parameters
    ----------
    runner : brainpy.DSRunner
        The runner; its own arrays (inputs, say) are named ``runner....``.

    Attributes
    ----------
    components : list of (str, reference)
        Each component of the model's by its name, and what returns it for as long as it lives;
        the model first.
    """

    def __init__(self, runner: Any) -> None:
        target = runner.target
        title = type(target).__name__
        seen: dict[int, Any] = {}
        self._taken = set(_RESERVED)
        self._model = _Reading(target, (), "", title, self._taken, seen)
        self._model.name_state("random", take("random-state"))
        self._ids = dict.fromkeys(seen)
        self._runner = self._read(runner, seen)
        self.components = self._model.components
        names = {name for name, _ in self.components[1:]}
        self.components[0] = unused(title, names), self.components[0][1]

    def _read(self, runner: Any, seen: dict[int, Any]) -> _Reading:
        return _Reading(runner, _OF_LAST_RUN, "runner", "runner", self._taken.copy(), seen)

    def are_still(self, runner: Any) -> bool:
        """Whether the model holds what it held; what its runner holds is read again if it differs.

        Looking takes a tenth of reading. Whatever says yes says that reading again would give the
        same names, so that no name is one of a moment before.
        """
        if not self._model.is_still(runner.target):
            return False
        if not self._runner.is_still(runner):
            self._runner = self._read(runner, self._ids.copy())
        return True

    def variables(self) -> Iterator[tuple[str, Any]]:
        """Yield the Variables that are still alive, by name; no views, which hold no value."""
        view = take("variable-view")
        for name, there in (*self._model.states, *self._runner.states):
            state = there()
            if state is not None and not isinstance(state, view):
                yield name, state

    def state(self, state: Any) -> str | None:
        """Return a Variable's name, or None if neither model nor runner holds it."""
        return self._model.state(state) or self._runner.state(state)

    def arrays(self, arrays: Sequence[Any]) -> tuple[list[str | None], list[str]]:
        """Return the names of arrays that one trace closed over, and notes on what has none.

        JAX keeps a ``jax.Array`` as it is; where it converts what NumPy holds see
        :mod:`~brainpy_probe.recording.model.numpy_arrays`.
        """
        found = [self._model.array(one) or self._runner.array(one) for one in arrays]
        notes: list[str] = []
        for reading in (self._model, self._runner):
            left = [number for number, name in enumerate(found) if name is None]
            known = [name for name in found if name is not None]
            names, more = reading.numpy.find([arrays[number] for number in left], known)
            notes += more
            for number, name in zip(left, names, strict=True):
                found[number] = name
        return found, notes


@dataclass
class Names:
    """The names of what one trace uses: None where nothing that the model holds is it.

    Attributes
    ----------
    states, arrays : list of (str or None)
        In the order in which the trace has them.
    notes : list of str
        Why an array has none, where that must be said.
    """

    states: list[str | None]
    arrays: list[str | None]
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything has a name."""
        return None not in self.states and None not in self.arrays

    def add(self, known: ModelNames, states: Sequence[Any], arrays: Sequence[Any]) -> None:
        """Name what has no name yet, as a model's names have it."""
        if self.complete:
            return
        of_arrays, notes = known.arrays(arrays)
        self.states = [a or known.state(b) for a, b in zip(self.states, states, strict=True)]
        self.arrays = [a or b for a, b in zip(self.arrays, of_arrays, strict=True)]
        self.notes = list(dict.fromkeys([*self.notes, *notes]))
