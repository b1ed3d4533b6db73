"""Arrays as bytes: shapes and dtypes as lowered, digests, safetensors; knows no program."""

from __future__ import annotations

import contextlib
import json
import math
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from brainpy_probe.live import seams
from brainpy_probe.records import WrittenFile
from brainpy_probe.store import RunFolder, digest_of

__all__ = ["ArrayFiles", "Digests", "Stored", "lowered_form", "to_numpy"]

# Bytes from which an array that an earlier file holds is not written again: below that, a file
# that stands for itself is worth more.
_SHARED = 4096
# Bytes from which arrays are worth a thread: starting one takes as long as digesting these.
_LARGE = 1 << 20


def to_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return a value's content as it enters the lowered program.

    A random key gives its words; what NumPy or Python holds in 64 bits is cast as JAX casts it.
    """
    array = np.asarray(jax.random.key_data(value) if seams.is_key(value) else value)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def lowered_form(value: Any) -> tuple[tuple[int, ...], str, int, str]:
    """Return shape, dtype, bytes and random key's type of a value in the lowered program."""
    key = ""
    if seams.is_key(value):
        key, value = str(value.dtype), jax.eval_shape(jax.random.key_data, value)
    given = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    dtype = jax.dtypes.canonicalize_dtype(given)
    shape = tuple(np.shape(value))
    return shape, str(dtype), math.prod(shape) * dtype.itemsize, key


@dataclass
class Digests:
    """XXH3-128 of arrays; a ``jax.Array``, which never changes, is read once."""

    _known: dict[int, tuple[weakref.ref[Any], str]] = field(default_factory=dict)
    _coming: dict[int, Future[str]] = field(default_factory=dict)

    @contextlib.contextmanager
    def ahead(self, values: Iterable[Any]) -> Iterator[None]:
        """Digest large arrays in another thread while the block writes them.

        Both let go of Python's lock. The thread is given bytes alone, and is gone in the end.
        """
        large = {
            id(value): value
            for value in values
            if isinstance(value, jax.Array) and value.nbytes >= _LARGE and self._read(value) is None
        }
        if not large:
            yield
            return
        with ThreadPoolExecutor(1) as thread:
            for key, value in large.items():
                with contextlib.suppress(RuntimeError):  # the interpreter is ending: no new thread
                    self._coming[key] = thread.submit(digest_of, _bytes_of(to_numpy(value)))
            try:
                yield
            finally:
                self._coming.clear()

    def _read(self, value: Any) -> str | None:
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0]() is value else None

    def of(self, value: Any) -> str:
        """Return the digest of a value's bytes in C order."""
        known = self._read(value)
        if known is not None:
            return known
        coming = self._coming.get(id(value))
        digest = digest_of(_bytes_of(to_numpy(value))) if coming is None else coming.result()
        if isinstance(value, jax.Array):
            key = id(value)
            self._known[key] = (weakref.ref(value, lambda _: self._known.pop(key, None)), digest)
        return digest


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


@dataclass(frozen=True)
class Stored:
    """What became of a value: its digest, and the file and entry that hold it, if any do."""

    digest: str
    file: WrittenFile | None = None
    entry: str = ""


_Form = tuple[np.dtype[Any], tuple[int, ...]]


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
    _written: dict[_Form, dict[str, Stored]] = field(default_factory=dict)  # then by digest

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
            Leave out what an earlier file that was written so holds already.
        """
        found: dict[str, Stored] = {}
        arrays = {entry: np.asarray(to_numpy(value), order="C") for entry, value in values.items()}
        for entry, value in values.items() if share else ():
            if _form(arrays[entry]) in self._written:
                known = self._written[_form(arrays[entry])].get(self.digests.of(value))
                if known is not None:
                    found[entry] = known
        made = {entry: array for entry, array in arrays.items() if entry not in found}
        if made:
            with self.digests.ahead(values[entry] for entry in made):
                file = self.folder.write_with(name, kind, lambda path: _save(made, path))
                for entry in made:
                    found[entry] = Stored(self.digests.of(values[entry]), file, entry)
        for entry, array in made.items() if share else ():
            if array.nbytes >= _SHARED:
                alike = self._written.setdefault(_form(array), {})
                alike.setdefault(found[entry].digest, found[entry])
        return found

    def digested(self, values: Mapping[str, Any]) -> dict[str, Stored]:
        """Return the values' digests alone."""
        return {entry: Stored(self.digests.of(value)) for entry, value in values.items()}


def _form(array: np.ndarray[Any, Any]) -> _Form:
    return array.dtype, array.shape


def _save(arrays: Mapping[str, np.ndarray[Any, Any]], path: Path) -> Iterator[bytes | memoryview]:
    """Write arrays as safetensors; yield the file's content from where it lies in memory.

    Element types that the format's NumPy side lacks are stored as bytes, one row an element; the
    file's metadata names them, and the manifest has the real shape and dtype.
    """
    stored = {name: _storable(array) for name, array in arrays.items()}
    named = {k: str(a.dtype) for k, a in arrays.items() if stored[k].dtype != a.dtype}
    save_file(stored, path, metadata=named or None)
    with path.open("rb") as file:  # a length of 8 bytes, the header as JSON, the arrays
        length = file.read(8)
        header = file.read(int.from_bytes(length, "little"))
    yield length + header
    places = {k: v["data_offsets"] for k, v in json.loads(header).items() if k in stored}
    for name in sorted(stored, key=lambda name: places[name]):
        yield _bytes_of(stored[name])


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind in "biuf" and array.dtype.isbuiltin == 1:
        return array
    return array.reshape(-1).view(np.uint8).reshape(*array.shape, array.dtype.itemsize)
