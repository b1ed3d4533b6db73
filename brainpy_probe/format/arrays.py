"""The arrays of a capture, read back and held against the manifest; knows no program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainpy_probe.errors import DamagedCapture, told
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.reading import read_file
from brainpy_probe.format.records import TensorSpec, WrittenFile

if TYPE_CHECKING:
    import numpy as np

import json
from collections.abc import Mapping

import numpy as np

__all__ = ["as_bytes", "laid_out", "named_dtype", "read_arrays", "restored"]


_NUMBER = re.compile(r"(u?int|b?float|complex)\d+(_\w+)?")


def as_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """Return the bytes of an array in C order, from where they lie if they lie so."""
    import numpy as np

    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def read_arrays(folder: Path, file: WrittenFile) -> dict[str, np.ndarray[Any, Any]]:
    """Read a file of arrays as it is stored.

    Raises
    ------
    DamagedCapture
        If the file is missing or altered, or no safetensors.
    """
    from safetensors.numpy import load  # late: see the package's docstring

    content = read_file(folder, file)
    try:
        return load(content)
    except Exception as error:  # its NumPy side has no class for the types that it does not know
        raise DamagedCapture(
            f"{folder / file.path} is no safetensors file that NumPy can read: {told(error)}",
            "Capture again.",
        ) from error


def restored(
    path: Path, spec: TensorSpec, raw: dict[str, np.ndarray[Any, Any]]
) -> np.ndarray[Any, Any]:
    """Return one of a file's arrays, in its own type.

    Raises
    ------
    DamagedCapture
        If it is missing, or its shape, type or digest is not what the manifest has.
    """
    stored = raw.get(spec.entry)
    if stored is None:
        raise DamagedCapture(f"{path} holds no {spec.entry!r}.", "Capture again.")
    dtype = named_dtype(spec.dtype)
    in_rows = (*spec.shape, dtype.itemsize)  # a type that the format lacks: one row an element
    if stored.dtype == dtype and stored.shape == spec.shape:
        array = stored
    elif stored.dtype == "uint8" and stored.shape == in_rows:
        array = stored.reshape(-1).view(dtype).reshape(spec.shape)
    else:
        raise DamagedCapture(
            f"{path} holds {spec.entry!r} as {stored.dtype} of shape {stored.shape}; "
            f"the manifest has {spec.dtype} of shape {spec.shape}.",
            "Capture again.",
        )
    if digest_of(as_bytes(array)) != spec.digest:
        raise DamagedCapture(
            f"{path} holds another {spec.entry!r} than was written: its digest differs.",
            "Capture again.",
        )
    return array


def named_dtype(name: str) -> np.dtype[Any]:
    """Return the element type of a name in the manifest.

    Raises
    ------
    DamagedCapture
        If there is none of that name.
    """
    import ml_dtypes  # NumPy knows bfloat16 and its kin once this is imported
    import numpy as np

    if name == "bool":
        return np.dtype(bool)
    for home in (np, ml_dtypes) if _NUMBER.fullmatch(name) else ():
        if hasattr(home, name):
            return np.dtype(getattr(home, name))  # type: ignore[no-any-return]
    raise DamagedCapture(f"manifest.json has an element type {name!r}, which there is not.")


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
