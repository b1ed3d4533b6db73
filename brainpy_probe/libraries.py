"""Lists the packages that are libraries, not the user's code, wherever they are installed.

A developer's BrainPy may be outside of site-packages.
"""

from __future__ import annotations

import sys

__all__ = ["is_library", "is_user_module", "may_hold_models"]

# Packages that provide models. Their functions and objects may hold components, like the user's.
_MODELS = frozenset(
    {"brainpy_state", "braincell", "brainmass", "braintrace", "brainspike", "brainpy_datasets"}
)
_LIBRARIES = _MODELS | {
    "brainpy", "brainpylib", "brainstate", "brainevent", "braintools", "brainunit", "saiunit",
    "braintaichi", "jax", "jaxlib", "ml_dtypes", "opt_einsum", "numba", "taichi", "numpy", "scipy",
    "matplotlib", "pandas", "tqdm", "typing_extensions", "wrapt", "brainpy_probe",
}  # fmt: skip


def is_library(module: str | None) -> bool:
    """Return whether a module, given its name, belongs to a known library."""
    return _package(module) in _LIBRARIES


def is_user_module(module: str | None) -> bool:
    """Return whether a module, given its name, is neither a known library's nor Python's."""
    package = _package(module)
    return package not in _LIBRARIES and package not in sys.stdlib_module_names


def may_hold_models(module: str | None) -> bool:
    """Return whether a module belongs to the user or to a package that provides models."""
    return _package(module) in _MODELS or is_user_module(module)


def _package(module: str | None) -> str:
    return (module or "builtins").partition(".")[0]
