"""Evaluates with NumPy the operations that rearrange or combine the elements of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from brainpy_probe.analysis.explanation.attributes import field, integers
from brainpy_probe.analysis.explanation.terms import Function, Term
from brainpy_probe.format.arrays import Array, dtype_of

__all__ = ["CannotEvaluate", "chosen_branch", "combination", "computed"]


class CannotEvaluate(Exception):
    """A term that NumPy can't evaluate, with the reason."""


Reducer = Callable[[Function], Callable[..., Array]]

_UFUNCS: dict[str, Any] = {
    "add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


def computed(term: Term, operands: Sequence[Array], reducer: Reducer) -> Array | None:
    """Return the value of an operation; None if it is not known.

    Parameters
    ----------
    term : Term
        The operation.
    operands : sequence of ndarray
        The values of its operands.
    reducer : callable
        Returns the function of a region.
    """
    function = _OPERATIONS.get(term.op)
    return None if function is None else function(term, operands, reducer)


def _convert(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    (array,) = operands
    return (array != 0) if term.dtype == "bool" else array.astype(dtype_of(term.dtype))


def _bitcast(term: Term, operands: Sequence[Array], _: Reducer) -> Array | None:
    (array,) = operands
    wanted = dtype_of(term.dtype)
    if array.dtype.itemsize != wanted.itemsize:
        return None
    return np.ascontiguousarray(array).reshape(-1).view(wanted).reshape(term.shape)


def _broadcast(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    (array,) = operands
    axes = integers(term.attributes["broadcast_dimensions"])
    shape = [1] * len(term.shape)
    for axis, size in zip(axes, array.shape, strict=True):
        shape[axis] = size
    order = np.argsort(axes)
    return np.broadcast_to(array.transpose(order).reshape(shape), term.shape)


def _reshape(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    return operands[0].reshape(term.shape)


def _transpose(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    return operands[0].transpose(integers(term.attributes["permutation"]))


def _reverse(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    return np.flip(operands[0], integers(term.attributes["dimensions"]))


def _slice(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    names = ("start_indices", "limit_indices", "strides")
    bounds = zip(*(integers(term.attributes[name]) for name in names), strict=True)
    return operands[0][tuple(slice(*bound) for bound in bounds)]


def _starts(array: Array, starts: Sequence[Array], sizes: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices of a dynamic slice; starts beyond the array are moved into it."""
    begins = [
        int(np.clip(start, 0, whole - size))
        for start, size, whole in zip(starts, sizes, array.shape, strict=True)
    ]
    return tuple(slice(begin, begin + size) for begin, size in zip(begins, sizes, strict=True))


def _dynamic_slice(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    array, *starts = operands
    return array[_starts(array, starts, integers(term.attributes["slice_sizes"]))]


def _dynamic_update_slice(_: Term, operands: Sequence[Array], __: Reducer) -> Array:
    array, update, *starts = operands
    result = array.copy()
    result[_starts(array, starts, update.shape)] = update
    return result


def _concatenate(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    return np.concatenate(operands, integers(term.attributes["dimension"])[0])


def _iota(term: Term, _: Sequence[Array], __: Reducer) -> Array:
    (axis,) = integers(term.attributes["iota_dimension"])
    shape = [1] * len(term.shape)
    shape[axis] = term.shape[axis]
    steps = np.arange(term.shape[axis]).astype(dtype_of(term.dtype))
    return np.broadcast_to(steps.reshape(shape), term.shape)


def _pad(term: Term, operands: Sequence[Array], _: Reducer) -> Array | None:
    array, filler = operands
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    low, high, interior = (integers(term.attributes[name]) for name in names)
    if any(size < 0 for size in (*low, *high)):
        return None
    result = np.full(term.shape, filler)
    inner = tuple(
        slice(begin, begin + (size - 1) * (gap + 1) + 1 if size else begin, gap + 1)
        for begin, size, gap in zip(low, array.shape, interior, strict=True)
    )
    result[inner] = array
    return result


def _dot_general(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    left, right = operands
    numbers = term.attributes["dot_dimension_numbers"]
    batch = field(numbers, "lhs_batching_dimensions"), field(numbers, "rhs_batching_dimensions")
    summed = (
        field(numbers, "lhs_contracting_dimensions"),
        field(numbers, "rhs_contracting_dimensions"),
    )
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    names: list[dict[int, str]] = [{}, {}]
    for pairs in (batch, summed):
        for pair in zip(*pairs, strict=True):
            letter = next(letters)
            names[0][pair[0]], names[1][pair[1]] = letter, letter
    free: list[str] = []
    for side, array in enumerate((left, right)):
        for axis in range(array.ndim):
            if axis not in names[side]:
                names[side][axis] = next(letters)
                free.append(names[side][axis])
    sides = ["".join(names[side][axis] for axis in sorted(names[side])) for side in (0, 1)]
    result = "".join([*(names[0][axis] for axis in batch[0]), *free])
    product: Array = np.einsum(f"{sides[0]},{sides[1]}->{result}", left, right)
    return product


def _reduce(term: Term, operands: Sequence[Array], reducer: Reducer) -> Array | None:
    if len(operands) != 2:
        return None
    array, start = operands
    axes = integers(term.attributes["dimensions"])
    function = term.regions[0]
    ufunc = _ufunc(function)
    if ufunc is not None:
        return np.asarray(ufunc.reduce(array, axis=axes, initial=start[()], dtype=array.dtype))
    combine = reducer(function)
    moved = np.moveaxis(array, axes, range(len(axes)))
    rows = moved.reshape(-1, *moved.shape[len(axes) :])
    result = np.broadcast_to(start, rows.shape[1:]).copy()
    for place in np.ndindex(result.shape):
        value = result[place]
        for row in rows:
            value = combine(value, row[place])
        result[place] = value
    return result


def _ufunc(function: Function) -> Any:
    """Return the NumPy function of a region that combines its two arguments by one operation."""
    (result,) = function.results
    if {id(o) for o in result.operands} == {id(a) for a in function.arguments}:
        return _UFUNCS.get(result.op)
    return None


def _sort(term: Term, operands: Sequence[Array], _: Reducer) -> Array | None:
    if len(operands) != 1 or term.regions[0].results[0].op != "compare":
        return None
    compare = term.regions[0].results[0]
    if compare.attributes["comparison_direction"] != "LT" or any(
        operand is not argument
        for operand, argument in zip(compare.operands, term.regions[0].arguments, strict=True)
    ):
        return None
    return np.sort(operands[0], axis=integers(term.attributes["dimension"])[0], kind="stable")


def _gather(term: Term, operands: Sequence[Array], _: Reducer) -> Array:
    array, indices = operands
    numbers = term.attributes["dimension_numbers"]
    offset = field(numbers, "offset_dims")
    removed = (*field(numbers, "collapsed_slice_dims"), *field(numbers, "operand_batching_dims"))
    sizes = integers(term.attributes["slice_sizes"])
    kept = [axis for axis in range(array.ndim) if axis not in removed]
    result = np.empty(term.shape, array.dtype)
    batch = [axis for axis in range(len(term.shape)) if axis not in offset]
    for place in np.ndindex(*(term.shape[axis] for axis in batch)):
        start = _start(numbers, array, indices, place, "start_index_map", "start_indices")
        part = array[_starts(array, start, sizes)]
        target: list[Any] = [slice(None)] * len(term.shape)
        for axis, at in zip(batch, place, strict=True):
            target[axis] = at
        result[tuple(target)] = part.reshape([sizes[axis] for axis in kept])
    return result


def _start(
    numbers: str, array: Array, indices: Array, place: Sequence[int], mapping: str, batching: str
) -> list[Any]:
    """Return the position in an array at which the slice of a batch position begins."""
    vector = (field(numbers, "index_vector_dim") or (0,))[0]
    index = indices if vector < indices.ndim else indices[..., None]
    vectors = np.moveaxis(index, vector, -1)[tuple(place)]
    start: list[Any] = [0] * array.ndim
    for number, axis in enumerate(field(numbers, mapping)):
        start[axis] = vectors[number]
    own = field(numbers, "operand_batching_dims") or field(numbers, "input_batching_dims")
    others = field(numbers, f"{batching}_batching_dims")
    for axis, other in zip(own, others, strict=True):
        start[axis] = place[other if other < vector else other - 1]
    return start


def _scatter(term: Term, operands: Sequence[Array], reducer: Reducer) -> Array | None:
    if len(operands) != 3:
        return None
    array, indices, updates = operands
    numbers = term.attributes["scatter_dimension_numbers"]
    window = field(numbers, "update_window_dims")
    removed = (*field(numbers, "inserted_window_dims"), *field(numbers, "input_batching_dims"))
    kept = [axis for axis in range(array.ndim) if axis not in removed]
    batch = [axis for axis in range(updates.ndim) if axis not in window]
    combine = combination(term.regions[0], reducer)
    result = array.copy()
    for place in np.ndindex(*(updates.shape[axis] for axis in batch)):
        start = _start(
            numbers, array, indices, place, "scatter_dims_to_operand_dims", "scatter_indices"
        )
        source: list[Any] = [slice(None)] * updates.ndim
        for axis, at in zip(batch, place, strict=True):
            source[axis] = at
        part = updates[tuple(source)]
        sizes = [1] * array.ndim
        for axis, size in zip(kept, part.shape, strict=True):
            sizes[axis] = size
        pairs = list(zip(start, sizes, array.shape, strict=True))
        if any(begin < 0 or begin + size > whole for begin, size, whole in pairs):
            continue  # an update outside of the array is left out
        target = tuple(slice(int(begin), int(begin) + size) for begin, size, _ in pairs)
        result[target] = combine(result[target], part.reshape(sizes))
    return result


def chosen_branch(term: Term, index: int) -> Function:
    """Return the branch of an ``if`` or ``case`` that its operand selects, as StableHLO defines it.

    An index of no branch of a ``case`` selects the last one.
    """
    if term.op == "if":
        return term.regions[0 if index else 1]
    return term.regions[index if 0 <= index < len(term.regions) else -1]


def combination(function: Function, reducer: Reducer) -> Callable[[Array, Array], Array]:
    """Return the function of a region that combines two elements, for arrays."""
    (result,) = function.results
    if result is function.arguments[1]:
        return lambda _, new: new
    ufunc = _ufunc(function)
    if ufunc is not None:
        return lambda old, new: ufunc(old, new)
    combine = reducer(function)
    return lambda old, new: np.vectorize(combine)(old, new).astype(old.dtype)


_OPERATIONS: dict[str, Callable[[Term, Sequence[Array], Reducer], Array | None]] = {
    "bitcast_convert": _bitcast,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "convert": _convert,
    "dot_general": _dot_general,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "iota": _iota,
    "pad": _pad,
    "reduce": _reduce,
    "reshape": _reshape,
    "reverse": _reverse,
    "scatter": _scatter,
    "slice": _slice,
    "sort": _sort,
    "transpose": _transpose,
}
