"""Compiles handlers of XLA's FFI that call numba kernels directly.

brainevent registers a Python function for a kernel, which XLA calls at each step. On two processors
this takes 2.1 s of the 2.7 s that EINet at scale 1 runs (10,000 steps).

A call frame and its buffers are read as 64-bit words, in the layout of xla/ffi/api/c_api.h, which
ships with jaxlib (0.10.2, 0.12.0). New versions only append to its structs.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from brainpy_probe.compat import bindings

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirOperation, MlirValue

__all__ = ["Signature", "compile_handler"]

# Word offsets in XLA_FFI_CallFrame: the extensions (with which XLA queries a handler's version),
# then count and addresses of the buffers read and written; in XLA_FFI_Buffer: its data and its
# dimensions.
_EXTENSION, _READ_COUNT, _READ, _WRITTEN_COUNT, _WRITTEN = 1, 7, 9, 12, 14
_CONTENT, _SIZES = 3, 5

_ELEMENTS = {
    "i1": np.bool_,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "ui8": np.uint8,
    "ui16": np.uint16,
    "ui32": np.uint32,
    "ui64": np.uint64,
    "f32": np.float32,
    "f64": np.float64,
}


@dataclass(frozen=True)
class Signature:
    """Rank and element type (as MLIR prints it) of each array that a kernel reads and writes."""

    reads: tuple[tuple[int, str], ...]
    writes: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, operation: MlirOperation) -> Signature:
        """Return the signature of a custom call."""
        return cls(_ranks_and_types(operation.operands), _ranks_and_types(operation.results))


def _ranks_and_types(values: Sequence[MlirValue]) -> tuple[tuple[int, str], ...]:
    types = [bindings.take("mlir").RankedTensorType(value.type) for value in values]
    return tuple((tensor.rank, str(tensor.element_type)) for tensor in types)


@functools.cache  # XLA keeps a handler's address as long as the process lives
def compile_handler(kernel: Any, signature: Signature, fallback: int) -> Any:
    """Compile a handler that calls a kernel without Python in between.

    Parameters
    ----------
    kernel : numba's dispatcher
        Takes the arrays that it reads, then the arrays that it writes.
    signature : Signature
        The signature of these arrays.
    fallback : int
        The address of another handler of the kernel. It is called when XLA queries the handler's
        version, and when the kernel raises: the fallback then raises again and reports the error.

    Returns
    -------
    numba's C callback
        Its ``address`` is the address of the handler.

    Raises
    ------
    KeyError
        If numba lacks one of the element types.
    numba.core.errors.NumbaError
        If the kernel can't be compiled for these arrays.
    """
    import numba
    from numba import types

    word, pointer = _memory()
    arrays = [*signature.reads, *signature.writes]
    names: dict[str, Any] = {
        "kernel": kernel,
        "fallback": ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(fallback),
        "word": word,
        "pointer": pointer,
        "carray": numba.carray,
    }
    names |= {f"type{number}": _ELEMENTS[element] for number, (_, element) in enumerate(arrays)}
    exec(_source(signature), names)  # noqa: S102  numba supports no variable number of arrays
    return numba.cfunc(types.uint64(types.uint64))(names["handle"])


def _source(signature: Signature) -> str:
    """Return the Python source of the handler, which numba compiles."""
    groups = (_READ, _READ_COUNT, signature.reads), (_WRITTEN, _WRITTEN_COUNT, signature.writes)
    mismatch = [f"word(frame, {_EXTENSION}) != 0"]
    mismatch += [f"word(frame, {count}) != {len(group)}" for _, count, group in groups]
    lines = [f"if {' or '.join(mismatch)}:", "    return fallback(frame)"]
    arrays: list[str] = []
    for offset, _, group in groups:
        lines.append(f"buffers = word(frame, {offset})")
        for position, (rank, _) in enumerate(group):
            number = len(arrays)
            arrays.append(f"array{number}")
            sizes = "".join(f"word(sizes, {axis}), " for axis in range(rank))
            lines += [
                f"buffer = word(buffers, {position})",
                f"sizes = word(buffer, {_SIZES})",
                f"content = pointer(word(buffer, {_CONTENT}))",
                f"array{number} = carray(content, ({sizes}), type{number})",
            ]
    lines += ["try:", f"    kernel({', '.join(arrays)})"]
    lines += ["except Exception:", "    return fallback(frame)", "return 0"]
    return "\n    ".join(["def handle(frame):", *lines])


@functools.cache
def _memory() -> tuple[Any, Any]:
    """Return numba functions that read a word at an address, and that convert it to a pointer."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def word(_: Any, address: Any, position: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            words = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
            return builder.load(builder.gep(words, [args[1]]))

        return types.int64(types.uint64, types.int64), generate

    def pointer(_: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

        return types.voidptr(types.int64), generate

    return intrinsic(word), intrinsic(pointer)
