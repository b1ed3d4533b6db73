"""Finds the NumPy array of a model's of which a trace's constant was made; gives no names itself.

JAX up to 0.4.30 keeps the very array that a function closes over. Later ones keep a view of it, or,
where 64 bits become 32, a copy: then JAX's own table of conversions tells of which array, as long
as the copy is there. All of that is identity: arrays of equal content are told from each other, and
an array that was changed in place since keeps its name. BrainPy and the user's own code make copies
of which nothing tells. There the content decides, if it fits one array alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import jax_tracing
from brainpy_probe.recording.identity_dict import IdentityDict

__all__ = ["NumpyNames"]

_Array = np.ndarray[Any, Any]
# Elements that are compared first: most arrays differ in them.
_FIRST = 16


@dataclass
class NumpyNames:
    """The NumPy arrays of a model by name; none of them is kept alive.

    Attributes
    ----------
    arrays : list of (str, reference)
        Each array's name, and what returns it for as long as it lives.
    """

    arrays: list[tuple[str, Callable[[], Any]]] = field(default_factory=list)
    _decided: IdentityDict[str] = field(default_factory=IdentityDict)

    def find(
        self, constants: Sequence[Any], known: Collection[str]
    ) -> tuple[list[str | None], list[str]]:
        """Return the name of each constant that is known, and notes on those that can't be.

        Parameters
        ----------
        constants : sequence of arrays
            Constants of one trace that no object of the model is itself.
        known : collection of str
            Arrays that others of the trace's constants are.
        """
        wanted = [c for c in constants if isinstance(c, np.ndarray)]
        if not wanted or not self.arrays:
            return [None] * len(constants), []
        shapes = {constant.shape for constant in wanted}
        alive = [(name, one) for name, there in self.arrays if (one := there()) is not None]
        alike = [(name, one) for name, one in alive if one.shape in shapes]
        by_memory = {_memory(one): name for name, one in reversed(alike)}
        found: list[str | None] = []
        for one in constants:
            found.append(by_memory.get(_memory(one)) if isinstance(one, np.ndarray) else None)
        if None in found:
            self._by_conversion(constants, found, alike)
        notes: list[str] = []
        if None in found:
            made = {*known, *found}
            left = [(name, array) for name, array in alike if name not in made]
            self._by_content(constants, found, left, notes)
        return found, notes

    def _by_conversion(
        self, constants: Sequence[Any], found: list[str | None], alike: list[tuple[str, _Array]]
    ) -> None:
        """Ask JAX which array it has converted into each constant."""
        missing = {
            (one.shape, str(one.dtype))
            for one, name in zip(constants, found, strict=True)
            if name is None and isinstance(one, np.ndarray)
        }
        converted: dict[int, tuple[str, Any]] = {}
        for name, array in alike:
            dtype = jax.dtypes.canonicalize_dtype(array.dtype)
            if dtype != array.dtype and (array.shape, str(dtype)) in missing:
                made = jax_tracing.canonical_array(array)
                if made is not None:
                    converted.setdefault(id(made), (name, made))  # held while ids are compared
        for number, one in enumerate(constants):
            if found[number] is None and id(one) in converted:
                found[number] = converted[id(one)][0]

    def _by_content(
        self,
        constants: Sequence[Any],
        found: list[str | None],
        left: list[tuple[str, _Array]],
        notes: list[str],
    ) -> None:
        """Let the content decide where one array alone has it, and none is known otherwise.

        What was decided of a constant holds as long as that very constant is there: it was a copy
        of that array when it was made, whatever became of the array since.
        """
        for number, constant in enumerate(constants):
            if found[number] is not None or not isinstance(constant, np.ndarray):
                continue
            decided = self._decided.get(constant)
            if decided is not None:
                found[number] = decided
                continue
            equal = [name for name, array in left if _equal(array, constant)]
            if len(equal) == 1:
                found[number] = self._decided.set(constant, equal[0])
            elif equal:
                notes.append(
                    f"A constant of the step is a copy of one of {', '.join(sorted(equal))}, which "
                    "are equal: it is named after none of them."
                )


def _memory(array: _Array) -> tuple[object, ...]:
    """Return what tells an array from others by the memory that it has.

    Two living arrays with the same first byte, shape, strides and type have the same elements, now
    and after every change.
    """
    pointer = array.__array_interface__["data"][0]
    return pointer, array.shape, array.strides, array.dtype.str, array.size > 0 or id(array)


def _equal(array: _Array, constant: _Array) -> bool:
    if array.shape != constant.shape:
        return False
    first = array.ravel()[:_FIRST] if array.flags.c_contiguous else None
    if first is not None and not _alike(first, constant.ravel()[:_FIRST]):
        return False
    return _alike(array, constant)


def _alike(array: _Array, constant: _Array) -> bool:
    return bool(np.array_equal(array.astype(constant.dtype, copy=False), np.asarray(constant)))
