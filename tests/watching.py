"""What a run leaves behind, as bytes, how often XLA compiled for it, and what may be patched."""

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

from brainpy_probe.recording.patches import LEDGER
from tests import eras
from tests.networks import ROUNDED, UNSTABLE_NAMES, Case

# What a capture patches, written down by hand, so that a patch which stays is seen whatever the
# probe believes to have patched. (On runners, each class that the zoo and BrainPy have.)
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
    # An attribute of the primitive itself: scan's custom bind.
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
    """Return what is wrapped on any runner there is by now, those of a test's own included."""
    return [
        f"{runner.__name__}.{name}"
        for runner in _runners(bp.DSRunner)
        for name, value in vars(runner).items()
        if isinstance(value, wrapt.FunctionWrapper)
    ]


# Some attributes are not in the object itself, but in its class.
_INHERITED = object()
ORIGINALS = [vars(owner).get(name, _INHERITED) for owner, name in PATCHED]


def assert_nothing_patched() -> None:
    """Assert that each patched attribute is the original object, and that nobody is watching."""
    for (owner, name), original in zip(PATCHED, ORIGINALS, strict=True):
        assert vars(owner).get(name, _INHERITED) is original, f"{owner!r}.{name} is patched"
    assert wrappers_on_runners() == []
    assert LEDGER.users == ()


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
        stop_listening(listen)


def stop_listening(listen: Callable[..., None]) -> None:
    """Take a listener of durations out again; before JAX 0.9 that has no public name."""
    monitoring._event_duration_secs_listeners.remove(listen)


def as_bytes(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Return an array's dtype, shape and content; a random key as its words."""
    array = as_numpy(value)
    return str(array.dtype), array.shape, array.tobytes()


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    """Return a copy of an array of any kind; of a random key its words.

    Random keys are of a type of their own from BrainPy 2.7 on, and plain words before. Where a run
    has failed, BrainPy 2.3 leaves the tracers of its trace behind: they have no value.
    """
    if isinstance(value, bm.Array):
        value = value.value
    if isinstance(value, jax.core.Tracer):
        return np.array("a tracer")
    if str(getattr(value, "dtype", "")).startswith("key<"):
        value = jax.random.key_data(value)
    return np.array(value)


def traces_of(runner: bp.DSRunner, returned: Any) -> dict[str, Any]:
    """Return all that a run leaves behind: outputs, monitors, Variables, random state, step."""
    leaves = tree_leaves(returned, is_leaf=lambda x: isinstance(x, bm.Array))
    left: dict[str, Any] = {f"output {i}": as_bytes(leaf) for i, leaf in enumerate(leaves)}
    left |= {f"monitor {name}": as_bytes(runner.mon[name]) for name in runner.mon}
    for name, variable in runner.target.vars(method="relative").unique().items():
        left[f"variable {name}"] = as_bytes(variable.value)
    left["random"] = as_bytes(bm.random.DEFAULT.value)
    left["i0"] = runner.i0
    return left


@dataclass(frozen=True)
class Run:
    """The values after one run, and how many modules XLA compiled for it."""

    left: dict[str, Any]
    compilations: int
    returned: Any = None

    def kept(self) -> Run:
        """Return the same without what the run returned, which has arrays of JAX."""
        return Run(self.left, self.compilations)


def run(case: Case, runner: bp.DSRunner) -> Run:
    """Run a case's runner once and look at what is left."""
    with counting_compilations() as compilations:
        returned = case.run(runner)
    return Run(traces_of(runner, returned), compilations.count, returned)


def assert_same_left(
    case: Case, left: dict[str, Any], expected: dict[str, Any], number: int
) -> None:
    """Assert that two builds of a case left the same bits in a run, under the same names."""
    if case not in UNSTABLE_NAMES:
        assert list(left) == list(expected), f"run {number}"
    if case.name not in ROUNDED:
        assert list(left.values()) == list(expected.values()), f"run {number}"
        return
    for name, one, other in zip(left, left.values(), expected.values(), strict=True):
        if isinstance(one, tuple) and one[0].startswith("float"):
            assert one[:2] == other[:2], f"run {number}: {name}"
            arrays = [np.frombuffer(content, dtype) for dtype, _, content in (one, other)]
            np.testing.assert_allclose(*arrays, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert one == other, f"run {number}: {name}"
