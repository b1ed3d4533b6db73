"""Registers the kernels that a program calls, where the package that has them is installed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from brainpy_probe.arrays import named_dtype
from brainpy_probe.errors import first_line
from brainpy_probe.records import KernelCall
from brainpy_probe.xla import execution

__all__ = ["register", "unknown"]

# brainevent names a kernel by its content, so that another process gives it the same name. A
# kernel whose content it can't hash has a number, which says nothing there.
_OF_CONTENT = re.compile(r"brainevent_numba_ffi_[0-9a-f]{16}")


def register(targets: Iterable[str], calls: Sequence[KernelCall]) -> str:
    """Register what can be: LAPACK from jaxlib, BrainPy's event-driven kernels from brainevent.

    Parameters
    ----------
    targets : iterable of str
        The custom calls of a program.
    calls : sequence of KernelCall
        What its capture recorded of BrainPy's kernels.

    Returns
    -------
    str
        A sentence on what went wrong, or nothing.
    """
    missing = unknown(targets)
    if any(target.startswith(("lapack_", "blas_")) for target in missing):
        try:
            execution.register_lapack()
        except ImportError as error:
            return f"LAPACK can't be had: {first_line(error)}."
    if not any(_OF_CONTENT.fullmatch(target) for target in missing):
        return ""
    try:
        kernels = importlib.import_module("brainevent").get_registry()
    except ImportError as error:
        return f"brainevent can't be imported: {first_line(error)}."
    for call in calls:
        try:
            _lower(kernels[call.name], call)
        except Exception as error:  # another brainevent may take other parameters
            return f"brainevent here has no such {call.name}: {first_line(error)}."
    return ""


def unknown(targets: Iterable[str]) -> list[str]:
    """Return the custom calls that XLA has not been told of, as far as it says."""
    known = execution.registered() or frozenset()
    return [target for target in targets if target not in known]


def _lower(kernel: Any, call: KernelCall) -> None:
    """Lower one call of a kernel for the CPU: that is when brainevent registers it."""
    import jax

    def called(*arguments: Any) -> Any:
        parameters = {name: _abstract(value) for name, value in call.parameters.items()}
        return kernel.primitive.bind(*arguments, **parameters)

    forms = [_aval(shape, dtype) for shape, dtype in call.arguments]
    jax.jit(called).trace(*forms).lower(lowering_platforms=("cpu",))


def _abstract(value: Any) -> Any:
    """Return a parameter as it was before it was written as JSON."""
    if isinstance(value, list):
        return tuple(map(_abstract, value))
    if isinstance(value, dict):
        return _aval(value["shape"], value["dtype"])
    return value


def _aval(shape: Iterable[int], dtype: str) -> Any:
    from jax.core import ShapedArray

    return ShapedArray(tuple(shape), named_dtype(dtype))
