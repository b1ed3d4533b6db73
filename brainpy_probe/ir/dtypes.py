"""NumPy's element types as MLIR and HLO spell them; knows no module and no capture."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["hlo_type", "mlir_type"]

_MLIR = {
    "bool": "i1",
    "bfloat16": "bf16",
    "complex64": "complex<f32>",
    "complex128": "complex<f64>",
}
_HLO = {"bool": "pred", "bfloat16": "bf16", "complex64": "c64", "complex128": "c128"}


def mlir_type(shape: Sequence[int], dtype: str) -> str:
    """Return a tensor's type as MLIR prints it: ``tensor<100x20xf32>``."""
    if dtype == "token":
        return "!stablehlo.token"
    kind, bits, form = _parts(dtype)
    prefix = {"float": "f", "uint": "ui", "int": "i"}.get(kind, "")
    element = _MLIR.get(dtype) or f"{prefix}{bits}{form.upper()}"
    return f"tensor<{''.join(f'{size}x' for size in shape)}{element}>"


def hlo_type(shape: Sequence[int], dtype: str) -> str:
    """Return an array's type as HLO prints it, without its layout: ``f32[100,20]``."""
    if dtype == "token":
        return "token[]"
    kind, bits, form = _parts(dtype)
    prefix = {"float": "f", "uint": "u", "int": "s"}.get(kind, "")
    element = _HLO.get(dtype) or f"{prefix}{bits}{form}"
    return f"{element}[{','.join(map(str, shape))}]"


def _parts(dtype: str) -> tuple[str, str, str]:
    """Part ``float32``, ``uint8`` or ``float8_e4m3fn`` into kind, bits and form."""
    found = re.fullmatch(r"(\D+?)(\d*)(?:_(\w+))?", dtype)
    if found is None:
        raise ValueError(f"{dtype!r} is no element type")
    kind, bits, form = found.groups(default="")
    return kind, bits, form
