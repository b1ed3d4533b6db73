"""Lays arrays out as the content of a safetensors file; knows no file and no program.

The format is that of https://huggingface.co/docs/safetensors: eight bytes with the length of a
header, the header as JSON, the arrays. Its own library writes a file by itself; here the content is
handed on in pieces, the arrays as they lie in memory, so that it can be digested while it is
written: that takes half the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from brainpy_probe.arrays import as_bytes

__all__ = ["laid_out"]

# The format's names of element types that NumPy has, too, by NumPy's kind and size.
_NAMES = {"b1": "BOOL", "f2": "F16", "f4": "F32", "f8": "F64"} | {
    f"{kind}{size}": f"{kind.upper()}{8 * size}" for kind in "iu" for size in (1, 2, 4, 8)
}
# Where the arrays begin is a multiple of this, as in what the format's library writes.
_ALIGNED = 8


def laid_out(arrays: Mapping[str, np.ndarray[Any, Any]]) -> tuple[bytes, dict[str, memoryview]]:
    """Return the content of a file: its header, and the arrays in their order.

    Element types that the format, or NumPy, lacks are stored as bytes, one row an element; the
    file's metadata names them.

    Parameters
    ----------
    arrays : mapping
        The arrays by their names, in C order.
    """
    header: dict[str, Any] = {}
    others = {name: str(one.dtype) for name, one in arrays.items() if _type(one) is None}
    if others:
        header["__metadata__"] = others
    # The widest elements first, so that each stands at a multiple of its size.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    begin = 0
    for name in order:
        array = arrays[name]
        kind = _type(array)
        shape = array.shape if kind else (*array.shape, array.dtype.itemsize)
        end = begin + array.nbytes
        header[name] = {"dtype": kind or "U8", "shape": shape, "data_offsets": (begin, end)}
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(8, "little") + text, {name: as_bytes(arrays[name]) for name in order}


def _type(array: np.ndarray[Any, Any]) -> str | None:
    known = array.dtype.isbuiltin == 1
    return _NAMES.get(f"{array.dtype.kind}{array.dtype.itemsize}") if known else None
