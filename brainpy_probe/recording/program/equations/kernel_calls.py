"""Records the calls of BrainPy's own kernels in a jaxpr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from brainpy_probe.compat import brainevent_kernels
from brainpy_probe.compat.types import Equation
from brainpy_probe.format.manifest.program_records import AbstractArray, KernelCall
from brainpy_probe.recording.program.equations import jaxprs

__all__ = ["kernel_calls"]


def kernel_calls(eqns: Sequence[Equation]) -> tuple[KernelCall, ...]:
    """Return the distinct calls of kernels that another process can register.

    A call with parameters other than numbers, strings and shapes is left out.
    """
    names = brainevent_kernels.kernel_names()
    calls: dict[bytes, KernelCall] = {}
    for eqn in jaxprs.equations(eqns):
        if eqn.primitive.name in names:
            try:
                call = _record(eqn)
            except TypeError:
                continue
            calls.setdefault(msgspec.json.encode(call), call)
    return tuple(calls.values())


def _record(eqn: Equation) -> KernelCall:
    avals = [atom.aval for atom in eqn.invars]
    return KernelCall(
        name=eqn.primitive.name,
        arguments=tuple((tuple(aval.shape), str(aval.dtype)) for aval in avals),
        parameters={name: _parameter(value) for name, value in eqn.params.items()},
    )


def _parameter(value: Any, depth: int = 0) -> Any:
    """Return a parameter as a :data:`~brainpy_probe.format.manifest.program_records.Parameter`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)) and depth < 2:
        return tuple(_parameter(item, depth + 1) for item in value)
    if (
        depth < 2
        and not isinstance(value, np.ndarray)
        and hasattr(value, "shape")
        and hasattr(value, "dtype")
    ):
        shape = tuple(int(size) for size in value.shape)
        return AbstractArray(shape=shape, dtype=str(value.dtype))
    raise TypeError(f"{type(value).__name__} can't be recorded")
