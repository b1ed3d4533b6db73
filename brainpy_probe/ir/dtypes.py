"""Tensor types as MLIR and HLO print them, for NumPy's dtype names."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["hlo_type", "mlir_type", "numpy_type"]

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


def numpy_type(printed: str) -> tuple[tuple[int, ...], str]:
    """Return shape and NumPy's name of the dtype of a type as MLIR prints it; see mlir_type."""
    if not printed.startswith("tensor<"):
        return (), "token"
    found = re.fullmatch(r"((?:\d+x)*)([^,]+)(?:,.*)?", printed[len("tensor<") : -1])
    if found is None:
        raise ValueError(f"unknown type {printed!r}")
    element = found[2]
    shape = tuple(map(int, found[1].split("x")[:-1]))
    known = {element_type: dtype for dtype, element_type in _MLIR.items()}
    if element in known:
        return shape, known[element]
    match = re.fullmatch(r"(ui|i|f)(\d+)(\w*)", element)
    if match is None:
        raise ValueError(f"unknown element type {element!r}")
    kind = {"ui": "uint", "i": "int", "f": "float"}[match[1]]
    return shape, f"{kind}{match[2]}{'_' + match[3].lower() if match[3] else ''}"


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
