"""Arrays as bytes: shapes and dtypes as lowered, digests, safetensors; knows no program."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat import jax_tracing
from brainpy_probe.format.arrays import as_bytes, encode_arrays
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.program_records import ProgramRecord

__all__ = ["ArrayFiles", "Digests", "Stored", "lowered_form", "to_numpy"]

# Bytes from which an array that an earlier file holds is not written again: below that, a file
# that stands for itself is worth more.
_SHARED = 4096


def to_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return a value's content as it enters the lowered program.

    A random key gives its words; what NumPy or Python holds in 64 bits is cast as JAX casts it.
    """
    array = np.asarray(jax.random.key_data(value) if jax_tracing.is_key(value) else value)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def lowered_form(value: Any) -> tuple[tuple[int, ...], str, int, str]:
    """Return shape, dtype, bytes and random key's type of a value in the lowered program."""
    key = ""
    if jax_tracing.is_key(value):
        key, value = str(value.dtype), jax.eval_shape(jax.random.key_data, value)
    given = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    dtype = jax.dtypes.canonicalize_dtype(given)
    shape = tuple(np.shape(value))
    return shape, str(dtype), math.prod(shape) * dtype.itemsize, key


@dataclass
class Digests:
    """XXH3-128 of arrays; a ``jax.Array``, which never changes, is read once."""

    _known: dict[int, tuple[weakref.ref[Any], str]] = field(default_factory=dict)

    def _read(self, value: Any) -> str | None:
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0]() is value else None

    def of(self, value: Any) -> str:
        """Return the digest of a value's bytes in C order."""
        known = self._read(value)
        if known is not None:
            return known
        digest = digest_of(as_bytes(to_numpy(value)))
        self.note(value, digest)
        return digest

    def note(self, value: Any, digest: str) -> None:
        """Keep the digest of a value as long as that is there, if it is one that never changes."""
        if isinstance(value, jax.Array):
            key = id(value)
            self._known[key] = (weakref.ref(value, lambda _: self._known.pop(key, None)), digest)


@dataclass(frozen=True)
class Stored:
    """What became of a value: its digest, and the file and entry that hold it, if any do."""

    digest: str
    file: WrittenFile | None = None
    entry: str = ""


# Element type, shape and digest of an array.
_Content = tuple[str, tuple[int, ...], str]


@dataclass
class ArrayFiles:
    """The arrays of one capture as safetensors; a large one is written once.

    Parameters
    ----------
    folder : RunFolder
        Where the files go.
    """

    folder: RunFolder
    digests: Digests = field(default_factory=Digests)
    _written: dict[_Content, Stored] = field(default_factory=dict)
    _forms: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)

    def write(
        self, name: str, kind: str, values: Mapping[str, Any], *, share: bool = False
    ) -> dict[str, Stored]:
        """Write arrays straight from host memory; return where each is.

        Parameters
        ----------
        name, kind : str
            The file's path relative to the folder, and its kind.
        values : mapping
            The values by their names in the file.
        share : bool
            Leave out what a file of a recorded program holds already.
        """
        found: dict[str, Stored] = {}
        arrays = {entry: np.asarray(to_numpy(value), order="C") for entry, value in values.items()}
        for entry, value in values.items() if share else ():
            form = str(arrays[entry].dtype), arrays[entry].shape
            if form in self._forms:
                known = self._written.get((*form, self.digests.of(value)))
                if known is not None:
                    found[entry] = known
        made = {entry: array for entry, array in arrays.items() if entry not in found}
        if made:
            header, placed = encode_arrays(made)
            file, (_, *digests) = self.folder.write_pieces(name, kind, [header, *placed.values()])
            for entry, digest in zip(placed, digests, strict=True):
                self.digests.note(values[entry], digest)
                found[entry] = Stored(digest, file, entry)
        return found

    def keep(self, program: ProgramRecord) -> None:
        """Keep where the arguments of a program that is recorded are stored, for later ones."""
        files = {file.path: file for file in program.files}
        for spec in program.arguments:
            if spec.file in files and spec.nbytes >= _SHARED:
                stored = Stored(spec.digest, files[spec.file], spec.entry)
                self._written.setdefault((spec.dtype, spec.shape, spec.digest), stored)
                self._forms.add((spec.dtype, spec.shape))

    def digested(self, values: Mapping[str, Any]) -> dict[str, Stored]:
        """Return the values' digests alone."""
        return {entry: Stored(self.digests.of(value)) for entry, value in values.items()}
