"""Makes handlers of XLA's C interface from numba's kernels; knows no BrainPy and no capture.

A call frame and its buffers are read as 64-bit words, as xla/ffi/api/c_api.h lays them out, which
comes with jaxlib (0.10.2, 0.12.0) and appends to its structs alone.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brainpy_probe.compat import bindings

__all__ = ["Signature", "handler"]

# Words of XLA_FFI_CallFrame: the extensions by which XLA asks for a handler's version, then number
# and addresses of what it reads and writes; of XLA_FFI_Buffer: its content and its sizes.
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
    """Rank and element type, as MLIR spells it, of each array that a kernel reads and writes."""

    reads: tuple[tuple[int, str], ...]
    writes: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, operation: Any) -> Signature:
        """Return that of a custom call."""
        return cls(_forms(operation.operands), _forms(operation.results))


def _forms(values: Sequence[Any]) -> tuple[tuple[int, str], ...]:
    kinds = [bindings.take("mlir").RankedTensorType(value.type) for value in values]
    return tuple((kind.rank, str(kind.element_type)) for kind in kinds)


@functools.cache  # XLA keeps a handler's address as long as the process lives
def handler(kernel: Any, signature: Signature, otherwise: int) -> Any:
    """Compile a handler that calls a kernel, with no Python on the way.

    Parameters
    ----------
    kernel : numba's dispatcher
        Takes the arrays that it reads, then those that it writes.
    signature : Signature
        Theirs.
    otherwise : int
        The address of another handler of the kernel. It answers where XLA asks for a handler's
        version, and where the kernel raises: it will again, and that handler says so.

    Returns
    -------
    numba's C callback
        Its ``address`` is the handler's.

    Raises
    ------
    KeyError
        If numba has not one of the element types.
    numba.core.errors.NumbaError
        If the kernel can't be compiled for these arrays.
    """
    import numba
    from numba import types

    word, pointer = _memory()
    forms = [*signature.reads, *signature.writes]
    names: dict[str, Any] = {
        "kernel": kernel,
        "otherwise": ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(otherwise),
        "word": word,
        "pointer": pointer,
        "carray": numba.carray,
    }
    names |= {f"type{number}": _ELEMENTS[element] for number, (_, element) in enumerate(forms)}
    exec(_source(signature), names)  # noqa: S102  numba has no function of any number of arrays
    return numba.cfunc(types.uint64(types.uint64))(names["handle"])


def _source(signature: Signature) -> str:
    """Write the handler in Python, as numba takes it."""
    groups = (_READ, _READ_COUNT, signature.reads), (_WRITTEN, _WRITTEN_COUNT, signature.writes)
    unlike = [f"word(frame, {_EXTENSION}) != 0"]
    unlike += [f"word(frame, {count}) != {len(forms)}" for _, count, forms in groups]
    lines = [f"if {' or '.join(unlike)}:", "    return otherwise(frame)"]
    arrays: list[str] = []
    for place, _, forms in groups:
        lines.append(f"buffers = word(frame, {place})")
        for position, (rank, _) in enumerate(forms):
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
    lines += ["except Exception:", "    return otherwise(frame)", "return 0"]
    return "\n    ".join(["def handle(frame):", *lines])


@functools.cache
def _memory() -> tuple[Any, Any]:
    """Return numba functions for what Python has none: the word at an address, and a pointer."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def word(_: Any, address: Any, position: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            words = builder.inttoptr(given[0], ir.IntType(64).as_pointer())
            return builder.load(builder.gep(words, [given[1]]))

        return types.int64(types.uint64, types.int64), generate

    def pointer(_: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return builder.inttoptr(given[0], ir.IntType(8).as_pointer())

        return types.voidptr(types.int64), generate

    return intrinsic(word), intrinsic(pointer)
