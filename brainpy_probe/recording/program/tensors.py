"""Converts, digests and stores the arrays of a capture."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Array, NamedArrays
from brainpy_probe.format.arrays import as_bytes, encode_arrays
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = [
    "ArrayFiles",
    "Digests",
    "Stored",
    "lowered_type",
    "own_parts",
    "spans_processes",
    "to_numpy",
]

# An array of at least this many bytes that is already in a file is not written again. Smaller
# arrays are repeated, so that more files are complete.
_MIN_SHARED_BYTES = 4096


def to_numpy(value: Array) -> np.ndarray[Any, Any]:
    """Return a value's content as an argument of the lowered program.

    A random key is converted to its words, and 64-bit values are cast as JAX casts them.
    """
    array = np.asarray(jax.random.key_data(value) if jax_tracing.is_key(value) else value)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def spans_processes(value: Array) -> bool:
    """Return whether this process has only a part of an array (jax.distributed)."""
    return isinstance(value, jax.Array) and not (
        value.is_fully_addressable or value.is_fully_replicated
    )


def own_parts(value: Array) -> dict[tuple[int, ...], Array]:
    """Return the parts that this process has of an array that spans processes, each once.

    The key of a part is where it starts along each axis. Empty for random keys, whose axes are not
    those of the lowered program.
    """
    if not spans_processes(value) or value.is_deleted() or jax_tracing.is_key(value):
        return {}
    found: dict[tuple[int, ...], Array] = {}
    for shard in value.addressable_shards:
        start = tuple(span.start or 0 for span in shard.index)
        found.setdefault(start, shard.data)
    return found


def lowered_type(value: Array) -> tuple[tuple[int, ...], str, int, str]:
    """Return a value's shape, dtype, bytes and random key type in the lowered program."""
    key = ""
    if jax_tracing.is_key(value):
        key, value = str(value.dtype), jax.eval_shape(jax.random.key_data, value)
    own_dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    dtype = jax.dtypes.canonicalize_dtype(own_dtype)
    shape = tuple(np.shape(value))
    return shape, str(dtype), math.prod(shape) * dtype.itemsize, key


@dataclass
class Digests:
    """The XXH3-128 digests of arrays. An immutable ``jax.Array`` is read once."""

    _known: dict[int, tuple[weakref.ref[Any], str]] = field(default_factory=dict)

    def _cached(self, value: Array) -> str | None:
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0]() is value else None

    def of(self, value: Array) -> str:
        """Return the digest of a value's bytes in C order."""
        known = self._cached(value)
        if known is not None:
            return known
        digest = digest_of(as_bytes(to_numpy(value)))
        self.note(value, digest)
        return digest

    def note(self, value: Array, digest: str) -> None:
        """Cache the digest of an immutable value for as long as the value exists."""
        if isinstance(value, jax.Array):
            key = id(value)
            self._known[key] = (weakref.ref(value, lambda _: self._known.pop(key, None)), digest)


@dataclass(frozen=True)
class Stored:
    """The digest of a value, and the file and entry that contain it, if any."""

    digest: str
    file: WrittenFile | None = None
    entry: str = ""


# The dtype, shape and digest of an array.
_Content = tuple[str, tuple[int, ...], str]


@dataclass
class ArrayFiles:
    """The safetensors files of one capture. A large array is written once.

    Parameters
    ----------
    folder : RunFolder
        The capture folder.
    """

    folder: RunFolder
    digests: Digests = field(default_factory=Digests)
    _written: dict[_Content, Stored] = field(default_factory=dict)
    _types: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)

    def write(
        self, name: str, kind: str, values: NamedArrays, *, share: bool = False
    ) -> dict[str, Stored]:
        """Write arrays to a file, and return the place of each.

        Parameters
        ----------
        name, kind : str
            The file's path relative to the folder, and its kind.
        values : mapping
            The values by their names in the file.
        share : bool
            Whether to leave out arrays that are in a file of a recorded program.
        """
        stored: dict[str, Stored] = {}
        arrays = {entry: np.asarray(to_numpy(value), order="C") for entry, value in values.items()}
        for entry, value in values.items() if share else ():
            kind_of_array = str(arrays[entry].dtype), arrays[entry].shape
            if kind_of_array in self._types:
                known = self._written.get((*kind_of_array, self.digests.of(value)))
                if known is not None:
                    stored[entry] = known
        new = {entry: array for entry, array in arrays.items() if entry not in stored}
        if new:
            header, placed = encode_arrays(new)
            file, (_, *digests) = self.folder.write_pieces(name, kind, [header, *placed.values()])
            for entry, digest in zip(placed, digests, strict=True):
                self.digests.note(values[entry], digest)
                stored[entry] = Stored(digest, file, entry)
        return stored

    def keep(self, program: ProgramRecord) -> None:
        """Keep the places of a recorded program's arguments, for later programs."""
        files = {file.path: file for file in program.files}
        for spec in program.arguments:
            if spec.file in files and spec.nbytes >= _MIN_SHARED_BYTES:
                stored = Stored(spec.digest, files[spec.file], spec.entry)
                self._written.setdefault((spec.dtype, spec.shape, spec.digest), stored)
                self._types.add((spec.dtype, spec.shape))

    def digested(self, values: NamedArrays) -> dict[str, Stored]:
        """Return the digests of values, without writing them."""
        return {entry: Stored(self.digests.of(value)) for entry, value in values.items()}
