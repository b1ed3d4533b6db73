"""Arrays of a capture: written as safetensors, read back and checked against the manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brainpy_probe.errors import DamagedCapture, describe_error
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import TensorSpec
from brainpy_probe.format.reading import read_file

__all__ = ["Array", "as_bytes", "check_array", "dtype_of", "encode_arrays", "read_arrays"]

Array = np.ndarray[Any, Any]

_NUMERIC_DTYPE = re.compile(r"(u?int|b?float|complex)\d+(_\w+)?")


def as_bytes(array: Array) -> memoryview:
    """Return the bytes of an array in C order, without a copy if it already is in C order."""
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def read_arrays(folder: Path, file: WrittenFile) -> dict[str, Array]:
    """Read a safetensors file; each array has the dtype in which it is stored.

    Raises
    ------
    DamagedCapture
        If the file is missing, was changed, or is not a safetensors file.
    """
    from safetensors.numpy import load

    content = read_file(folder, file)
    try:
        return load(content)
    except Exception as error:  # safetensors raises KeyError, TypeError and its own classes
        raise DamagedCapture(
            f"{folder / file.path} is not a safetensors file that NumPy can read: "
            f"{describe_error(error)}",
            "Capture again.",
        ) from error


def check_array(path: Path, spec: TensorSpec, stored_arrays: dict[str, Array]) -> Array:
    """Check an array of a file against the manifest, and return it in its own dtype.

    Raises
    ------
    DamagedCapture
        If it is missing, or its shape, dtype or digest differs from the manifest.
    """
    stored = stored_arrays.get(spec.entry)
    if stored is None:
        raise DamagedCapture(f"{path} has no array {spec.entry!r}.", "Capture again.")
    dtype = dtype_of(spec.dtype)
    byte_shape = (*spec.shape, dtype.itemsize)  # a dtype that safetensors lacks is stored as bytes
    if stored.dtype == dtype and stored.shape == spec.shape:
        array = stored
    elif stored.dtype == "uint8" and stored.shape == byte_shape:
        array = stored.reshape(-1).view(dtype).reshape(spec.shape)
    else:
        raise DamagedCapture(
            f"{path} has {spec.entry!r} as {stored.dtype} of shape {stored.shape}; "
            f"the manifest has {spec.dtype} of shape {spec.shape}.",
            "Capture again.",
        )
    if digest_of(as_bytes(array)) != spec.digest:
        raise DamagedCapture(
            f"{path}: {spec.entry!r} was changed after it was written: its digest differs.",
            "Capture again.",
        )
    return array


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype that has a given name in the manifest.

    Raises
    ------
    DamagedCapture
        If neither NumPy nor ml_dtypes has a dtype of that name.
    """
    import ml_dtypes  # defines bfloat16 and the float8 types, and registers them with NumPy

    if name == "bool":
        return np.dtype(bool)
    for package in (np, ml_dtypes) if _NUMERIC_DTYPE.fullmatch(name) else ():
        if hasattr(package, name):
            return np.dtype(getattr(package, name))  # type: ignore[no-any-return]
    raise DamagedCapture(f"unknown dtype {name!r} in manifest.json.", "Capture again.")


# safetensors' names of NumPy's built-in dtypes, by kind and itemsize.
_SAFETENSORS_NAMES = {"b1": "BOOL", "f2": "F16", "f4": "F32", "f8": "F64"} | {
    f"{kind}{size}": f"{kind.upper()}{8 * size}" for kind in "iu" for size in (1, 2, 4, 8)
}
# The arrays start at a multiple of this, as in files that the safetensors library writes.
_ALIGNMENT = 8


def encode_arrays(arrays: Mapping[str, Array]) -> tuple[bytes, dict[str, memoryview]]:
    """Return the content of a safetensors file: its header, and the arrays in file order.

    An array whose dtype safetensors or NumPy lacks is stored as bytes, with a last axis for the
    bytes of an element. The file's metadata has its dtype.

    Parameters
    ----------
    arrays : mapping
        The arrays by name, in C order.
    """
    header: dict[str, Any] = {}
    stored_as_bytes = {
        name: str(array.dtype)
        for name, array in arrays.items()
        if _safetensors_name(array.dtype) is None
    }
    if stored_as_bytes:
        header["__metadata__"] = stored_as_bytes
    # The widest elements first, so that each array starts at a multiple of its itemsize.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    begin = 0
    for name in order:
        array = arrays[name]
        dtype = _safetensors_name(array.dtype)
        shape = array.shape if dtype else (*array.shape, array.dtype.itemsize)
        end = begin + array.nbytes
        header[name] = {"dtype": dtype or "U8", "shape": shape, "data_offsets": (begin, end)}
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, {name: as_bytes(arrays[name]) for name in order}


def _safetensors_name(dtype: np.dtype[Any]) -> str | None:
    builtin = dtype.isbuiltin == 1
    return _SAFETENSORS_NAMES.get(f"{dtype.kind}{dtype.itemsize}") if builtin else None
