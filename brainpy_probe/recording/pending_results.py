"""Checks whether XLA still computes the results of a call that has returned."""

from __future__ import annotations

import time
import weakref
from typing import Any

import jax

from brainpy_probe.compat.types import Array, Pytree

__all__ = ["is_xla_running", "keep_pending", "wait_for_pending"]

# Arrays of the last call that XLA had not computed when the call returned.
_LEFT_RUNNING: list[weakref.ref[Any]] = []


def keep_pending(results: Pytree) -> bool:
    """Remember the arrays of a call's results that XLA still computes; return whether any."""
    running = [leaf for leaf in jax.tree_util.tree_leaves(results) if _is_pending(leaf)]
    _LEFT_RUNNING[:] = [weakref.ref(leaf) for leaf in running]
    return bool(running)


def wait_for_pending() -> float:
    """Wait until XLA has computed the results of the last call; return the seconds."""
    begun = time.perf_counter()
    arrays: list[Array] = [reference() for reference in _LEFT_RUNNING]
    for array in arrays:
        if array is not None and not array.is_deleted():
            array.block_until_ready()
    return time.perf_counter() - begun


def is_xla_running() -> bool:
    """Return whether XLA still computes results of the last call."""
    return any(_is_pending(reference()) for reference in _LEFT_RUNNING)


def _is_pending(array: Array) -> bool:
    """Return whether XLA has not computed an array yet; JAX does not wait for XLA."""
    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return False
    value: Any = array
    # A typed random key has no is_ready, but the numbers drawn with it have one.
    return hasattr(value, "is_ready") and not value.is_deleted() and not value.is_ready()
