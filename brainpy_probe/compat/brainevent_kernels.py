"""The kernels of brainevent, which BrainPy's event-driven synapses call from 2.7 on."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from brainpy_probe.compat.lookup import take

__all__ = ["kernel_names", "lowering_settings", "plain_kernels", "take"]


def plain_kernels() -> Callable[[Any], Any]:
    """Return what gives an equation that calls a kernel of BrainPy's the one of plain StableHLO.

    brainevent (0.2.1, 0.3.0: _op/main.py) takes the parameter ``backend`` of the equation before
    the user's choice, which is one for the process: its public ``set_backend`` would clear all of
    JAX's caches. ``available_backends`` is public. Before BrainPy 2.7 a kernel is chosen while the
    model is traced: nothing can be done here.
    """
    try:
        kernels: Any = importlib.import_module("brainevent").get_registry()
    except (ImportError, AttributeError):
        return lambda eqn: eqn
    import jax

    platform = jax.default_backend()

    def plain(eqn: Any) -> Any:
        kernel = kernels.get(eqn.primitive.name)
        if kernel is None or _PLAIN not in kernel.available_backends(platform):
            return eqn
        return eqn.replace(params={**eqn.params, "backend": _PLAIN})

    return plain


_PLAIN = "jax_raw"


def lowering_settings() -> tuple[object, ...]:
    """Return what decides how a jaxpr is lowered besides what stands in it.

    That is the platform; how random bits are made (``jax_threefry_partitionable``, public from
    0.4.13 to 0.12.0); and which backends brainevent's kernels have, as in :func:`plain_kernels`.
    """
    import jax

    config: Any = sys.modules.get("brainevent.config")
    chosen = getattr(config, "_global_backends", None)
    backends = sorted(dict(chosen).items()) if chosen else ()
    return jax.default_backend(), bool(jax.config.jax_threefry_partitionable), backends


def kernel_names() -> frozenset[str]:
    """Return the names of brainevent's kernels, which are those of their primitives.

    brainevent 0.2.1, 0.3.0: ``get_registry`` is public; none where there is no brainevent.
    """
    try:
        return frozenset(importlib.import_module("brainevent").get_registry())
    except (ImportError, AttributeError):
        return frozenset()
