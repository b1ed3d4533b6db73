"""Reads the values after a run as bytes, counts XLA's compilations, and checks for patches."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import wrapt
from jax._src import monitoring
from jax.tree_util import tree_leaves

from brainpy_probe.recording.patches import ACTIVE
from tests import eras
from tests.networks import ROUNDED, UNSTABLE_NAMES, Case

# The attributes that a capture patches. The list is written by hand, so that it finds a remaining
# patch even if the probe lost track of it. (Of runners: each class of the tests and of BrainPy.)
_PLACES = {
    "jax.lax": ["scan"],
    "jax.numpy": ["moveaxis"],
    "jax._src.compiler" if eras.JAX_HAS_COMPILER else "jax._src.dispatch": [
        "compile_or_get_cached",
        "backend_compile_and_load" if eras.SINCE_2_7 else "backend_compile",
    ],
}
if eras.SINCE_2_7:
    _PLACES["brainstate.transform:StatefulFunction"] = [
        *("make_jaxpr", "_wrapped_fun_to_eval", "get_state_trace")
    ]
    _PLACES["brainstate._state:StateTraceStack"] = ["assign_state_vals_v2"]
    _PLACES["jax._src.lax.control_flow.loops:scan_p"] = ["bind"]
    _PLACES["jax._src.lax.control_flow.loops:while_p"] = ["bind"]
    _PLACES["jax._src.lax.control_flow.conditionals:cond_p"] = ["bind"]
else:
    _TRANSFORM = "brainpy._src.math.object_transform"
    _PLACES[f"{_TRANSFORM}.jit:JITTransform"] = ["__call__"]
    # An attribute of the primitive itself: scan has its own bind.
    _PLACES["jax._src.lax.control_flow.loops:scan_p"] = ["bind"]
if eras.SINCE_2_4 and not eras.SINCE_2_7:
    _PLACES[f"{_TRANSFORM}.variables:VariableStack"] = ["call_on_subset"]
    _PLACES[f"{_TRANSFORM}.variables:Variable"] = ["_append_to_stack"]


def _runners(runner: type) -> Iterator[type]:
    yield runner
    for subclass in runner.__subclasses__():
        yield from _runners(subclass)


def _patched() -> Iterator[tuple[Any, str]]:
    for place, names in _PLACES.items():
        module, _, attribute = place.partition(":")
        owner = importlib.import_module(module)
        for name in names:
            yield (getattr(owner, attribute) if attribute else owner), name
    for runner in _runners(bp.DSRunner):
        for name in ("predict", "_predict", "_step_func_input", "_step_func_monitor"):
            if name in vars(runner):
                yield runner, name


PATCHED = tuple(_patched())


def wrappers_on_runners() -> list[str]:
    """Return the wrapped methods of all runner classes that exist now, including those of tests."""
    return [
        f"{runner.__name__}.{name}"
        for runner in _runners(bp.DSRunner)
        for name, value in vars(runner).items()
        if isinstance(value, wrapt.FunctionWrapper)
    ]


# Some attributes are not in the object itself but in its class.
_INHERITED = object()
ORIGINALS = [vars(owner).get(name, _INHERITED) for owner, name in PATCHED]


def assert_nothing_patched() -> None:
    """Assert that each attribute is the original object, and that no session is open."""
    for (owner, name), original in zip(PATCHED, ORIGINALS, strict=True):
        assert vars(owner).get(name, _INHERITED) is original, f"{owner!r}.{name} is patched"
    assert wrappers_on_runners() == []
    assert ACTIVE.users == ()


COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclass
class Compilations:
    """The number of modules that XLA compiled."""

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
        remove_listener(listen)


def remove_listener(listen: Callable[..., None]) -> None:
    """Remove a listener for durations; before JAX 0.9 no public function does so."""
    monitoring._event_duration_secs_listeners.remove(listen)


def as_bytes(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Return the dtype, shape and bytes of an array; of a random key, those of its words."""
    array = as_numpy(value)
    return str(array.dtype), array.shape, array.tobytes()


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return a NumPy copy of an array of any kind; of a random key, its words.

    Random keys have their own dtype from BrainPy 2.7 on, and are plain words before. After a failed
    run, BrainPy 2.3 leaves tracers in the Variables: they have no value.
    """
    if isinstance(value, bm.Array):
        value = value.value
    if isinstance(value, jax.core.Tracer):
        return np.array("a tracer")
    if str(getattr(value, "dtype", "")).startswith("key<"):
        value = jax.random.key_data(value)
    return np.array(value)


def values_after(runner: bp.DSRunner, returned: Any) -> dict[str, Any]:
    """Return all values after a run: outputs, monitors, Variables, random state, step."""
    leaves = tree_leaves(returned, is_leaf=lambda x: isinstance(x, bm.Array))
    values: dict[str, Any] = {f"output {i}": as_bytes(leaf) for i, leaf in enumerate(leaves)}
    values |= {f"monitor {name}": as_bytes(runner.mon[name]) for name in runner.mon}
    for name, variable in runner.target.vars(method="relative").unique().items():
        values[f"variable {name}"] = as_bytes(variable.value)
    values["random"] = as_bytes(bm.random.DEFAULT.value)
    values["i0"] = runner.i0
    return values


@dataclass(frozen=True)
class Run:
    """The values after a run, and the number of modules that XLA compiled for it."""

    values: dict[str, Any]
    compilations: int
    returned: Any = None

    def without_returned(self) -> Run:
        """Return the same run without its outputs, which hold JAX arrays."""
        return Run(self.values, self.compilations)


def run(case: Case, runner: bp.DSRunner) -> Run:
    """Run a case's runner once, and read the values after it."""
    with counting_compilations() as compilations:
        returned = case.run(runner)
    return Run(values_after(runner, returned), compilations.count, returned)


def assert_same_values(
    case: Case, values: dict[str, Any], expected: dict[str, Any], number: int
) -> None:
    """Assert that a run of two builds of a case gave the same bits under the same names."""
    if case not in UNSTABLE_NAMES:
        assert list(values) == list(expected), f"run {number}"
    if case.name not in ROUNDED:
        assert list(values.values()) == list(expected.values()), f"run {number}"
        return
    for name, value, reference in zip(values, values.values(), expected.values(), strict=True):
        if isinstance(value, tuple) and value[0].startswith("float"):
            assert value[:2] == reference[:2], f"run {number}: {name}"
            arrays = [np.frombuffer(content, dtype) for dtype, _, content in (value, reference)]
            np.testing.assert_allclose(*arrays, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert value == reference, f"run {number}: {name}"
