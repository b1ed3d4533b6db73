"""Base class and field types of the manifest's records, and the records that several others hold.

A field type states which values a file may contain; msgspec rejects any other value.
"""

from __future__ import annotations

import traceback as tracebacks
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = [
    "BoundedFloat",
    "BoundedInt",
    "DeviceCount",
    "Digest",
    "ElementType",
    "Failure",
    "FileKind",
    "NonNegativeInt",
    "Record",
    "Seconds",
    "Shape",
    "Timing",
    "WrittenFile",
]

# A float represents integers exactly up to this number. Larger numbers from a file might overflow
# in arithmetic.
_MAX_INT = 2**53

NonNegativeInt = Annotated[int, Meta(ge=0, le=_MAX_INT)]
DeviceCount = Annotated[int, Meta(ge=1, le=2**20)]
BoundedInt = Annotated[int, Meta(ge=-_MAX_INT, le=_MAX_INT)]
BoundedFloat = Annotated[float, Meta(ge=-1e30, le=1e30)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e12)]
Shape = Annotated[tuple[NonNegativeInt, ...], Meta(max_length=64)]
# \Z, because $ also matches before a final newline.
Digest = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{32})?\Z")]
ElementType = Annotated[
    str, Meta(pattern=r"\A(?:token|bool|(?:u?int|b?float|complex)[0-9]{1,3}(?:_[0-9a-z]{1,20})?)\Z")
]
FileKind = Annotated[
    str, Meta(pattern=r"\A(?:stablehlo|mhlo|hlo|vhlo|mlirbc|xla|data|results|shared|last-state)\Z")
]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record with keyword-only fields, which rejects unknown fields when decoded."""


class Timing(Record, frozen=True, kw_only=True):
    """Seconds by phase. No second is counted in two phases; None means not measured.

    Attributes
    ----------
    trace, lower, compile : float or None
        Time to trace Python to a jaxpr, to lower the jaxpr to StableHLO, and to compile it in XLA.
    numba : float or None
        Time in which numba compiled kernels, before the run or when XLA first called them.
    execute : float or None
        The rest of ``wall``: execution of the program, and BrainPy's own Python around it.
    wall : float or None
        Time from the start of the call to its end; for a module, the sum of its phases.
    """

    trace: Seconds | None = 0.0
    lower: Seconds | None = 0.0
    compile: Seconds | None = 0.0
    numba: Seconds | None = 0.0
    execute: Seconds | None = 0.0
    wall: Seconds | None = 0.0


class WrittenFile(Record, frozen=True, kw_only=True):
    """A file of the capture.

    Attributes
    ----------
    path : str
        Its path relative to the capture folder, with ``/`` between the parts.
    kind : str
        What it holds.
    size : int
        Its size in bytes.
    digest : str
        The XXH3-128 of its content.
    """

    path: str
    kind: FileKind
    size: NonNegativeInt
    digest: Digest


class Failure(Record, frozen=True, kw_only=True):
    """An exception.

    Attributes
    ----------
    kind : str
        The name of its class.
    message : str
        Its message.
    traceback : str
        Its traceback.
    """

    kind: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Record an exception."""
        try:
            message = str(error)
        except Exception as second:  # __str__ of a user's exception class may raise
            message = f"its message is not available: {type(second).__qualname__}"
        return cls(
            kind=type(error).__qualname__,
            message=message,
            traceback="".join(tracebacks.format_exception(error)),
        )
