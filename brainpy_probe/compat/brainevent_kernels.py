"""brainevent's kernels, which BrainPy's event-driven synapses call since BrainPy 2.7."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from brainpy_probe.compat.lookup import take
from brainpy_probe.compat.types import Equation

__all__ = ["kernel_names", "lowering_settings", "plain_kernels", "take"]


def plain_kernels() -> Callable[[Equation], Equation]:
    """Return a function that replaces the kernel of an equation by plain StableHLO.

    The function returns an equation that calls no kernel unchanged. The equation's parameter
    ``backend`` takes precedence over the user's choice (brainevent 0.2.1, 0.3.0: _op/main.py). That
    choice is global to the process, and the public ``set_backend`` would clear all of JAX's caches.
    ``available_backends`` is public. Before BrainPy 2.7 the kernel is chosen while the model is
    traced, and all equations are returned unchanged. The kernels are those for a CPU, because the
    portable program is lowered for a CPU.
    """
    try:
        kernels: Any = importlib.import_module("brainevent").get_registry()
    except (ImportError, AttributeError):
        return lambda eqn: eqn

    def plain(eqn: Equation) -> Equation:
        kernel = kernels.get(eqn.primitive.name)
        if kernel is None or _PLAIN not in kernel.available_backends("cpu"):
            return eqn
        return eqn.replace(params={**eqn.params, "backend": _PLAIN})

    return plain


_PLAIN = "jax_raw"


def lowering_settings() -> tuple[object, ...]:
    """Return the global settings that decide how a jaxpr is lowered.

    These are the default device and the random bit generator (``jax_default_device``,
    ``jax_threefry_partitionable``, public from 0.4.13 to 0.12.0), and the backends of brainevent's
    kernels, as in :func:`plain_kernels`.
    """
    import jax

    config: Any = sys.modules.get("brainevent.config")
    chosen = getattr(config, "_global_backends", None)
    backends = sorted(dict(chosen).items()) if chosen else ()
    device = f"{jax.default_backend()} {jax.config.jax_default_device}"
    return device, bool(jax.config.jax_threefry_partitionable), backends


def kernel_names() -> frozenset[str]:
    """Return the names of brainevent's kernels, which are also the names of their primitives.

    ``get_registry`` is public (brainevent 0.2.1, 0.3.0). Empty without brainevent.
    """
    try:
        return frozenset(importlib.import_module("brainevent").get_registry())
    except (ImportError, AttributeError):
        return frozenset()
