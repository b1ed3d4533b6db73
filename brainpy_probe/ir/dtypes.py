"""Tensor types as MLIR and HLO print them, for NumPy's dtype names."""

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
    """Return a tensor type as MLIR prints it: ``tensor<100x20xf32>``."""
    if dtype == "token":
        return "!stablehlo.token"
    kind, bits, suffix = _split(dtype)
    prefix = {"float": "f", "uint": "ui", "int": "i"}.get(kind, "")
    element = _MLIR.get(dtype) or f"{prefix}{bits}{suffix.upper()}"
    return f"tensor<{''.join(f'{size}x' for size in shape)}{element}>"


def hlo_type(shape: Sequence[int], dtype: str) -> str:
    """Return an array type as HLO prints it, without its layout: ``f32[100,20]``."""
    if dtype == "token":
        return "token[]"
    kind, bits, suffix = _split(dtype)
    prefix = {"float": "f", "uint": "u", "int": "s"}.get(kind, "")
    element = _HLO.get(dtype) or f"{prefix}{bits}{suffix}"
    return f"{element}[{','.join(map(str, shape))}]"


def _split(dtype: str) -> tuple[str, str, str]:
    """Split ``float32``, ``uint8`` or ``float8_e4m3fn`` into kind, bits and suffix."""
    match = re.fullmatch(r"(\D+?)(\d*)(?:_(\w+))?", dtype)
    if match is None:
        raise ValueError(f"unknown dtype {dtype!r}")
    kind, bits, suffix = match.groups(default="")
    return kind, bits, suffix
