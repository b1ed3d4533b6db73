"""BrainPy's transformations: brainstate's loops and jits from 2.7 on, before that BrainPy's own."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from brainpy_probe.compat.brainpy_model import on_brainstate
from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.compat.types import (
    Args,
    Array,
    Kwargs,
    PyTreeDef,
    StatefulFunction,
    StateTrace,
    Transform,
    Variable,
)
from brainpy_probe.errors import PrivateNameMissing

__all__ = [
    "compiles_each_run",
    "forbid_retracing",
    "is_jitted",
    "is_written",
    "jit_function",
    "jit_module",
    "jit_results",
    "jit_static",
    "jit_target",
    "jit_variables",
    "loop_variables",
    "orders_by_address",
    "scanned_function",
    "split_key",
    "splits_random_states",
    "step_arguments",
    "take",
    "variable_stack",
]

NAMES.update(
    {
        "stateful-function": PrivateName(
            "brainstate's StatefulFunction",
            ("brainstate.transform:StatefulFunction",),
            "public; brainstate 0.5.4, 0.6.0: transform/_make_jaxpr.py. From 2.7 on every loop and "
            "every jit of BrainPy makes its jaxpr in StatefulFunction.make_jaxpr",
            era="brainstate",
            members=(
                "make_jaxpr",
                "_wrapped_fun_to_eval",
                "get_state_trace",
                "get_arg_cache_key",
                "get_state_trace_by_cache",
                "get_jaxpr_by_cache",
                "get_out_treedef_by_cache",
            ),
        ),
        "state-trace": PrivateName(
            "brainstate's class of a trace's states",
            ("brainstate._state:StateTraceStack",),
            "brainstate 0.5.4, 0.6.0: _state.py. After a jit, loop or condition has run, it passes "
            "the new values of its states to this object",
            era="brainstate",
            members=("assign_state_vals_v2",),
        ),
        "progress-bar": PrivateName(
            "brainstate's ProgressBar",
            ("brainstate.transform:ProgressBar",),
            "public; brainstate 0.5.4, 0.6.0: transform/_progress_bar.py",
            era="brainstate",
            members=("init",),
        ),
        "jit-transform": PrivateName(
            "the class of bm.jit's functions",
            ("brainpy._src.math.object_transform.jit:JITTransform",),
            "brainpy 2.3.8, 2.4.6, 2.6.0: _src/math/object_transform/jit.py",
            era="variables",
        ),
    }
)


def is_written(states: StateTrace) -> list[bool]:
    """Return for each state of a trace whether the trace writes it.

    The attribute is spelled ``been_writen`` (brainstate 0.5.4, 0.6.0: _state.py).
    """
    return list(states.been_writen)


def is_jitted(stateful: StatefulFunction) -> bool:
    """Return whether a StatefulFunction belongs to a jitted function.

    ``_get_jitted_fun`` names it ``jit`` (brainstate 0.5.4, 0.6.0: transform/_jit.py); loops,
    conditions and gradients use other names.
    """
    return bool(stateful.name == "jit")


def scanned_function(body: Any) -> StatefulFunction | None:
    """Return the StatefulFunction that brainstate's loop passes to lax.scan, or None.

    ``wrap_single_fun`` closes over it as ``stateful_fun`` (brainstate 0.5.4, 0.6.0:
    transform/_util.py).
    """
    cell = _closure_cell(body, "stateful_fun")
    return None if cell is None else cell.cell_contents


def split_key(key: Array) -> tuple[Array, Array]:
    """Split a random state into the part that a ``bm.jit`` function takes and the new state.

    2.4.6, 2.6.0: ``RandomState.split_key`` in _src/math/random.py.
    """
    import jax

    keys = jax.random.split(key, 2)
    return keys[0], keys[1]


def splits_random_states() -> bool:
    """Return whether ``bm.jit`` splits random states before it runs: from 2.4 on, not on 2.3.8."""
    return variable_stack() is not None


def variable_stack() -> Any:
    """Return the class in which transformations collect Variables; None before 2.4."""
    try:
        module = importlib.import_module("brainpy._src.math.object_transform.variables")
    except ImportError:
        return None
    return getattr(module, "VariableStack", None)


def compiles_each_run() -> bool:
    """Return whether BrainPy makes a new loop function for each run: from 2.4 on, not on 2.3.8."""
    return on_brainstate() or variable_stack() is not None


def orders_by_address() -> bool:
    """Return whether a loop orders its Variables by their addresses: from 2.4 to 2.6.

    2.4.6, 2.6.0: a VariableStack is a dict by id (_src/math/object_transform/variables.py).
    """
    return not on_brainstate() and variable_stack() is not None


def loop_variables(body: Any) -> dict[Any, Variable] | None:
    """Return the Variables of a BrainPy loop by their keys in its carry, given its scan function.

    ``fun2scan`` closes over them as ``dyn_vars``: a VariableStack with ids as keys on 2.4.6 and
    2.6.0, a list on 2.3.8 (for_loop in _src/math/object_transform/controls.py). None for any other
    function.
    """
    cell = _closure_cell(body, "dyn_vars")
    found = None if cell is None else cell.cell_contents
    if isinstance(found, list) and all(isinstance(item, take("variable")) for item in found):
        return dict(enumerate(found))
    stack = variable_stack()
    return dict(found) if stack is not None and isinstance(found, stack) else None


def jit_variables(transform: Transform) -> dict[Any, Variable]:
    """Return the Variables of a ``bm.jit`` function by their keys; empty before its first call.

    ``_all_vars``, by name, on 2.3.8; ``_dyn_vars``, by id, on 2.4.6 and 2.6.0.
    """
    found = getattr(transform, "_all_vars", None)
    if found is None:
        found = getattr(transform, "_dyn_vars", None)
    return {} if found is None else dict(found)


def jit_function(transform: Transform) -> Any:
    """Return the function that ``jax.jit`` created: ``_f`` on 2.3.8, ``_transform`` later."""
    return transform._transform if hasattr(transform, "_transform") else transform._f


def jit_target(transform: Transform) -> Any:
    """Return the function passed to ``bm.jit``: ``target`` on 2.3.8, ``fun`` later (jit.py)."""
    return transform.fun if hasattr(transform, "fun") else transform.target


def jit_static(
    transform: Transform, args: Args, kwargs: Kwargs
) -> tuple[dict[int, Any], dict[str, Any]]:
    """Return the static arguments of a ``bm.jit`` function, by position and by name.

    ``_static_argnums`` and ``_static_argnames`` on 2.4.6 and 2.6.0; 2.3.8 keeps neither (jit.py).
    """
    numbers = getattr(transform, "_static_argnums", None)
    names = getattr(transform, "_static_argnames", None)
    numbers = (numbers,) if isinstance(numbers, int) else numbers or ()
    names = (names,) if isinstance(names, str) else names or ()
    found = {n % len(args) for n in numbers if -len(args) <= n < len(args)}
    return (
        {n: args[n] for n in sorted(found)},
        {name: kwargs[name] for name in names if name in kwargs},
    )


def jit_module(transform: Transform) -> str:
    """Return JAX's name for the module of a ``bm.jit`` function."""
    return f"jit_{jit_function(transform).__name__}"


def jit_results(leaves: list[Array], tree: PyTreeDef) -> tuple[tuple[list[Array], PyTreeDef], ...]:
    """Split a ``bm.jit`` function's leaves into result and changed Variables, each with its tree.

    ``(out, changes)`` on 2.3.8, ``(changes, out)`` on 2.4.6 and 2.6.0 (jit.py).
    """
    first, second = tree.children()
    parts = (leaves[: first.num_leaves], first), (leaves[first.num_leaves :], second)
    return parts[::-1] if splits_random_states() else parts


def step_arguments(args: Args) -> Args:
    """Return the arguments of a step or loop as a flat tuple.

    2.3.8 passes them to a loop as one tuple of three.
    """
    if len(args) == 1 and isinstance(args[0], tuple) and len(args[0]) == 3:
        return args[0]
    return args


@contextlib.contextmanager
def forbid_retracing(transform: Transform) -> Iterator[None]:
    """Make a ``bm.jit`` function raise if JAX traces it again, before any user code runs.

    This replaces the function that a new trace would call: ``target`` on 2.3.8, ``fun`` on 2.4.6;
    on 2.6.0 the closure cell ``fun`` (all in _src/math/object_transform/jit.py).
    """

    def refuse(*_: Any, **__: Any) -> Any:
        raise PrivateNameMissing(
            "the trace of a bm.jit function", ["JAX's cache, which evicted it"]
        )

    cell = _closure_cell(getattr(jit_function(transform), "__wrapped__", None), "fun")
    name = next((name for name in ("target", "fun") if name in transform.__dict__), None)
    if cell is not None:
        original = cell.cell_contents
        cell.cell_contents = refuse
    elif name is not None:
        original = transform.__dict__[name]
        transform.__dict__[name] = refuse
    else:
        raise PrivateNameMissing("the function of a bm.jit", ["attributes target, fun", "cell fun"])
    try:
        yield
    finally:
        if cell is not None:
            cell.cell_contents = original
        else:
            transform.__dict__[name] = original


def _closure_cell(function: Any, name: str) -> Any:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    return function.__closure__[names.index(name)] if function and name in names else None
