"""The record of the part of an array that one of several processes has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from brainpy_probe.format.manifest.common_records import Digest, NonNegativeInt, Record, Shape

if TYPE_CHECKING:
    from brainpy_probe.format.manifest.program_records import TensorSpec

__all__ = ["Part"]


class Part(Record, frozen=True, kw_only=True):
    """A part of an array that spans the processes of ``jax.distributed``.

    Attributes
    ----------
    start : tuple of int
        The index of its first element in the array, along each axis.
    shape : tuple of int
        Its shape.
    digest : str
        XXH3-128 of the part, its bytes in C order.
    file, entry : str
        The file of the capture that holds the part, and the part's name in it; empty if only the
        digest was recorded.
    """

    start: tuple[NonNegativeInt, ...]
    shape: Shape
    digest: Digest
    file: str = ""
    entry: str = ""

    def spec(self, whole: TensorSpec) -> TensorSpec:
        """Return a spec of this part, given that of the array."""
        elements = max(math.prod(whole.shape), 1)
        size = whole.nbytes * math.prod(self.shape) // elements
        return replace(
            whole,
            shape=self.shape,
            nbytes=size,
            digest=self.digest,
            file=self.file,
            entry=self.entry,
            parts=(),
        )
