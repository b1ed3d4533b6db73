"""Calls of BrainPy's own kernels in a jaxpr, as records; knows no program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from brainpy_probe.compat import brainevent_kernels
from brainpy_probe.format.program_records import AbstractArray, KernelCall
from brainpy_probe.recording.program import jaxprs

__all__ = ["kernel_calls"]


def kernel_calls(eqns: Sequence[Any]) -> tuple[KernelCall, ...]:
    """Return the calls of kernels that can be registered again elsewhere, each once.

    A call whose parameters are more than numbers, words and shapes is left out.
    """
    names = brainevent_kernels.kernel_names()
    found: dict[bytes, KernelCall] = {}
    for eqn in jaxprs.equations(eqns):
        if eqn.primitive.name in names:
            try:
                call = _recorded(eqn)
            except TypeError:
                continue
            found.setdefault(msgspec.json.encode(call), call)
    return tuple(found.values())


def _recorded(eqn: Any) -> KernelCall:
    avals = [atom.aval for atom in eqn.invars]
    return KernelCall(
        name=eqn.primitive.name,
        arguments=tuple((tuple(aval.shape), str(aval.dtype)) for aval in avals),
        parameters={name: _plain(value) for name, value in eqn.params.items()},
    )


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a parameter as :data:`~brainpy_probe.format.program_records.Parameter` has it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)) and depth < 2:
        return tuple(_plain(one, depth + 1) for one in value)
    if (
        depth < 2
        and not isinstance(value, np.ndarray)
        and hasattr(value, "shape")
        and hasattr(value, "dtype")
    ):
        shape = tuple(int(size) for size in value.shape)
        return AbstractArray(shape=shape, dtype=str(value.dtype))
    raise TypeError(f"{type(value).__name__} can't be recorded")
