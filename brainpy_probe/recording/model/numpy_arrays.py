"""Finds the NumPy array of a model from which a trace's constant was made.

Up to 0.4.30, JAX keeps the array that a function closes over. Later versions keep a view of it, or
a copy where 64 bits become 32. JAX's own table of conversions leads from the copy back to the
array, as long as the copy exists. These comparisons use identity: arrays with equal content are
distinguished, and an array that was changed in place keeps its name. BrainPy and the user's code
may also make copies that no table lists. A copy is recognised by its content if exactly one array
has that content, and if a step could not create it otherwise, such as one repeated number or a
range of integers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Array
from brainpy_probe.recording.identity_dict import IdentityDict

__all__ = ["NumpyNames"]

_NumpyArray = np.ndarray[Any, Any]
# The number of elements that are compared first: most arrays differ in them.
_FIRST_ELEMENTS = 16


@dataclass
class NumpyNames:
    """The NumPy arrays of a model with their names. No array is kept alive.

    Attributes
    ----------
    arrays : list of (str, reference)
        The name of each array, and a reference to it.
    """

    arrays: list[tuple[str, Callable[[], Any]]] = field(default_factory=list)
    _copies: IdentityDict[str] = field(default_factory=IdentityDict)

    def find(
        self, constants: Sequence[Array], known: Collection[str]
    ) -> tuple[list[str | None], list[str]]:
        """Return the name of each constant, or None, and notes on ambiguous constants.

        Parameters
        ----------
        constants : sequence of arrays
            The constants of one trace that are not themselves objects of the model.
        known : collection of str
            The names of the trace's other constants.
        """
        numpy_constants = [c for c in constants if isinstance(c, np.ndarray)]
        if not numpy_constants or not self.arrays:
            return [None] * len(constants), []
        shapes = {constant.shape for constant in numpy_constants}
        alive = [(name, array) for name, get in self.arrays if (array := get()) is not None]
        candidates = [
            (name, array) for name, array in alive if array.shape in shapes and _is_numeric(array)
        ]
        by_memory = {_memory(array): name for name, array in reversed(candidates)}
        names: list[str | None] = [
            by_memory.get(_memory(constant)) if isinstance(constant, np.ndarray) else None
            for constant in constants
        ]
        if None in names:
            self._find_conversions(constants, names, candidates)
        notes: list[str] = []
        if None in names:
            used = {*known, *names}
            remaining = [(name, array) for name, array in candidates if name not in used]
            self._find_copies(constants, names, remaining, notes)
        return names, notes

    def _find_conversions(
        self,
        constants: Sequence[Array],
        names: list[str | None],
        candidates: list[tuple[str, _NumpyArray]],
    ) -> None:
        """Name the constants that JAX made by converting an array, using JAX's own table."""
        unnamed = {
            (constant.shape, str(constant.dtype))
            for constant, name in zip(constants, names, strict=True)
            if name is None and isinstance(constant, np.ndarray)
        }
        converted: dict[int, tuple[str, Any]] = {}
        for name, array in candidates:
            dtype = jax.dtypes.canonicalize_dtype(array.dtype)
            if dtype != array.dtype and (array.shape, str(dtype)) in unnamed:
                copy = jax_tracing.canonical_array(array)
                if copy is not None:
                    converted.setdefault(id(copy), (name, copy))  # alive while ids are compared
        for number, constant in enumerate(constants):
            if names[number] is None and id(constant) in converted:
                names[number] = converted[id(constant)][0]

    def _find_copies(
        self,
        constants: Sequence[Array],
        names: list[str | None],
        candidates: list[tuple[str, _NumpyArray]],
        notes: list[str],
    ) -> None:
        """Name the other constants by their content, where exactly one array has it.

        The name is kept as long as the constant exists: the constant was a copy of that array when
        it was made, even if the array has changed since.
        """
        for number, constant in enumerate(constants):
            if names[number] is not None or not isinstance(constant, np.ndarray):
                continue
            known = self._copies.get(constant)
            if known is not None:
                names[number] = known
                continue
            if _is_common(constant):
                continue
            equal = [name for name, array in candidates if _equal(array, constant)]
            if len(equal) == 1:
                names[number] = self._copies.set(constant, equal[0])
            elif equal:
                notes.append(
                    f"A constant of the step is a copy of one of {', '.join(sorted(equal))}, which "
                    "are equal: it is named after none of them."
                )


def _is_numeric(array: _NumpyArray) -> bool:
    """Return whether an array can be a constant of a trace: it holds no objects, text or times.

    The small floats of ml_dtypes have the kind of a structured dtype (``V``), but no fields.
    """
    return array.dtype.kind not in "OSUMm" and array.dtype.names is None


def _memory(array: _NumpyArray) -> tuple[object, ...]:
    """Return a key of the memory that an array uses.

    Two living arrays with the same address, shape, strides and dtype always have the same elements.
    """
    pointer = array.__array_interface__["data"][0]
    return pointer, array.shape, array.strides, array.dtype.str, array.size > 0 or id(array)


def _is_common(constant: _NumpyArray) -> bool:
    """Return whether a constant is one repeated number, or a range of integers.

    Indices of a layout have such a content, and so do masks that JAX makes of an index. Therefore
    equal content does not identify the array.
    """
    flat = np.asarray(constant).ravel()
    if flat.size < 2 or flat[0] == flat[1]:
        return bool((flat == flat[:1]).all())
    is_range = flat.dtype.kind in "iu" and flat[-1] - flat[0] == flat.size - 1
    return is_range and np.array_equal(flat, np.arange(flat[0], flat[-1] + 1))


def _equal(array: _NumpyArray, constant: _NumpyArray) -> bool:
    if array.shape != constant.shape or array.dtype.kind != constant.dtype.kind:
        return False
    first = array.ravel()[:_FIRST_ELEMENTS] if array.flags.c_contiguous else None
    if first is not None and not _same_elements(first, constant.ravel()[:_FIRST_ELEMENTS]):
        return False
    return _same_elements(array, constant)


def _same_elements(array: _NumpyArray, constant: _NumpyArray) -> bool:
    return bool(np.array_equal(array.astype(constant.dtype, copy=False), np.asarray(constant)))
