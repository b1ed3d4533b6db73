"""Arrays as bytes: shapes and dtypes as lowered, digests, safetensors; knows no program."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from brainpy_probe.live import seams
from brainpy_probe.store import sha256

__all__ = ["Digests", "lowered_form", "pack", "to_numpy"]


def to_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return a value's content as it enters the lowered program.

    A random key gives its words; what NumPy or Python holds in 64 bits is cast as JAX casts it.
    """
    array = np.asarray(jax.random.key_data(value) if seams.is_key(value) else value)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def lowered_form(value: Any) -> tuple[tuple[int, ...], str, int, str]:
    """Return shape, dtype, bytes and random key's type of a value in the lowered program."""
    key = str(value.dtype) if seams.is_key(value) else ""
    form = jax.eval_shape(jax.random.key_data if key else _same, value)
    size = int(np.prod(form.shape, dtype=np.int64)) * form.dtype.itemsize
    return tuple(form.shape), str(form.dtype), size, key


def _same(value: Any) -> Any:
    return value


@dataclass
class Digests:
    """SHA-256 of arrays; a ``jax.Array``, which never changes, is read once."""

    _known: dict[int, tuple[weakref.ref[Any], str]] = field(default_factory=dict)

    def of(self, value: Any) -> str:
        """Return the digest of a value's bytes in C order."""
        known = self._known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        digest = sha256(_bytes_of(to_numpy(value)))
        if isinstance(value, jax.Array):
            self._known[id(value)] = (weakref.ref(value), digest)
        return digest


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def pack(values: Mapping[str, Any]) -> bytes:
    """Write arrays as safetensors.

    Element types that the format lacks are stored as bytes, one row an element; their real shape
    and dtype stand in the manifest.
    """
    return save({name: _storable(to_numpy(value)) for name, value in values.items()})


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = np.ascontiguousarray(array)
    if array.dtype.kind in "biuf" and array.dtype.isbuiltin == 1:
        return array
    return array.view(np.uint8).reshape(*array.shape, array.dtype.itemsize)
