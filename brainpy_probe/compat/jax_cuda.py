"""Settings that JAX passes to XLA's compiler for CUDA."""

from __future__ import annotations

import importlib

__all__ = ["cuda_folder"]


def cuda_folder() -> str:
    """Return the folder of CUDA's compiler and libraries that JAX passes to XLA; empty if none.

    ``cuda_path`` of jax._src.lib (0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0), which JAX sets as
    ``xla_gpu_cuda_data_dir`` (_src/compiler.py: get_compile_options).
    """
    try:
        found = importlib.import_module("jax._src.lib").cuda_path
    except (ImportError, AttributeError):
        return ""
    return str(found or "")
