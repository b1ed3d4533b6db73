"""What a run leaves behind, as bytes, and how often XLA compiled for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np

from tests.networks import Case

COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclass
class Compilations:
    """How many modules XLA compiled."""

    count: int = 0


@contextmanager
def counting_compilations() -> Iterator[Compilations]:
    """Count the modules that XLA compiles in a block."""
    compilations = Compilations()

    def listen(event: str, _: float, **__: Any) -> None:
        compilations.count += event == COMPILED

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compilations
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def as_bytes(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Return an array's dtype, shape and content; a random key as its words."""
    if isinstance(value, bm.Array):
        value = value.value
    if jax.dtypes.issubdtype(getattr(value, "dtype", None), jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return str(array.dtype), array.shape, array.tobytes()


def traces_of(runner: bp.DSRunner, returned: Any) -> dict[str, Any]:
    """Return all that a run leaves behind: outputs, monitors, Variables, random state, step."""
    leaves = jax.tree.leaves(returned, is_leaf=lambda x: isinstance(x, bm.Array))
    left: dict[str, Any] = {f"output {i}": as_bytes(leaf) for i, leaf in enumerate(leaves)}
    left |= {f"monitor {name}": as_bytes(runner.mon[name]) for name in runner.mon}
    for name, variable in runner.target.vars(method="relative").unique().items():
        left[f"variable {name}"] = as_bytes(variable.value)
    left["random"] = as_bytes(bm.random.DEFAULT.value)
    left["i0"] = runner.i0
    return left


@dataclass(frozen=True)
class Run:
    """What one run left behind and how many modules XLA compiled for it."""

    left: dict[str, Any]
    compilations: int


def run(case: Case, runner: bp.DSRunner) -> Run:
    """Run a case's runner once and look at what is left."""
    with counting_compilations() as compilations:
        returned = case.run(runner)
    return Run(traces_of(runner, returned), compilations.count)
