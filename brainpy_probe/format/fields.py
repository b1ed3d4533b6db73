"""The types of a record's fields, with what each may hold in a file; knows no record."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["Digest", "ElementType", "FileKind", "Number", "Real", "Seconds", "Shape", "Whole"]

# What floats hold exactly: beyond it, arithmetic with a number of a file may overflow.
_MOST = 2**53

Number = Annotated[int, Meta(ge=0, le=_MOST)]
Whole = Annotated[int, Meta(ge=-_MOST, le=_MOST)]
Real = Annotated[float, Meta(ge=-1e30, le=1e30)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e12)]
Shape = Annotated[tuple[Number, ...], Meta(max_length=64)]
# \Z, for $ matches before a last line end, too.
Digest = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{32})?\Z")]
ElementType = Annotated[
    str, Meta(pattern=r"\A(?:token|bool|(?:u?int|b?float|complex)[0-9]{1,3}(?:_[0-9a-z]{1,20})?)\Z")
]
FileKind = Annotated[
    str, Meta(pattern=r"\A(?:stablehlo|mhlo|hlo|vhlo|mlirbc|xla|data|results|shared)\Z")
]
