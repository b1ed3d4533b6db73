"""brainstate's transformations that run a function: loops, conditions and jits.

brainstate 0.5.4 to 0.6.0. Each transformation first asks a ``StatefulFunction`` for the states of
the function (``make_jaxpr``, ``get_state_trace``), then runs the function through JAX, and finally
assigns the new values to the states (``StateTraceStack.assign_state_vals_v2``). All of this happens
in one Python frame of the transformation.
"""

from __future__ import annotations

import functools
import inspect
import sys
from types import CodeType, FrameType
from typing import Any, Literal

from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.compat.types import Args, Array, Kwargs, Primitive, StatefulFunction, Variable

__all__ = [
    "RunKind",
    "control_flow_primitives",
    "is_running",
    "jit_module",
    "jit_outputs",
    "jitted_function",
    "run_functions",
    "run_kind",
    "run_states",
    "static_arguments",
    "take",
    "uncaptured_idiom",
    "without_static",
]

RunKind = Literal["loop", "cond", "jit"]

_LOOPS = "transform/_loop_collect_return.py, transform/_loop_no_collection.py"
_SEEN = "public; brainstate 0.5.4, 0.6.0: "

NAMES.update(
    {
        f"run-{name}": PrivateName(
            f"brainstate's {name}",
            (f"brainstate.transform:{name}",),
            f"{_SEEN}{file}",
            era="brainstate",
        )
        for name, file in (
            ("scan", _LOOPS),
            ("checkpointed_scan", _LOOPS),
            ("while_loop", _LOOPS),
            ("bounded_while_loop", _LOOPS),
            ("cond", "transform/_conditions.py"),
            ("switch", "transform/_conditions.py"),
        )
    }
    | {
        "run-jit": PrivateName(
            "the function that brainstate's jit returns",
            ("brainstate.transform._jit:_get_jitted_fun",),
            "brainstate 0.5.4, 0.6.0: transform/_jit.py. The inner function jitted_fn keeps the "
            "result of the compiled function in its local variable outs",
            era="brainstate",
        ),
        "while-primitive": PrivateName(
            "JAX's while primitive",
            ("jax._src.lax.control_flow.loops:while_p",),
            "jax 0.10.2, 0.12.0: its bind is an attribute of the object",
            era="brainstate",
            members=("bind",),
        ),
        "cond-primitive": PrivateName(
            "JAX's cond primitive",
            ("jax._src.lax.control_flow.conditionals:cond_p",),
            "jax 0.10.2, 0.12.0: its bind is an attribute of the object",
            era="brainstate",
            members=("bind",),
        ),
        "loop-primitive": PrivateName(
            "JAX's scan primitive",
            ("jax._src.lax.control_flow.loops:scan_p",),
            "jax 0.10.2, 0.12.0: its bind is an attribute of the object",
            era="brainstate",
            members=("bind",),
        ),
    }
)

_KINDS: dict[str, RunKind] = {
    "run-scan": "loop",
    "run-checkpointed_scan": "loop",
    "run-while_loop": "loop",
    "run-bounded_while_loop": "loop",
    "run-cond": "cond",
    "run-switch": "cond",
}


# What a StatefulFunction does, by its name, if its run is not recorded as a call (brainstate 0.5.4,
# 0.6.0: transform/_grad_transform.py, _vjp_jvp.py, _grad_checkpoint.py, _mapping2.py,
# _shard_map.py).
_UNCAPTURED = {
    "gradient": "gradient outside of a jitted function",
    "vjp": "gradient outside of a jitted function",
    "jvp": "gradient outside of a jitted function",
    "checkpoint": "checkpointed function outside of a loop or jitted function",
    "map_state_probe": "function mapped by brainstate.transform",
    "shard_map": "function sharded by brainstate.transform",
}


def uncaptured_idiom(stateful: StatefulFunction) -> str:
    """Return what a StatefulFunction does if its run is not recorded; empty if that is unknown."""
    return _UNCAPTURED.get(str(stateful.name), "")


def control_flow_primitives() -> list[Primitive]:
    """Return the JAX primitives that brainstate's loops and conditions bind."""
    return [take(name) for name in ("loop-primitive", "while-primitive", "cond-primitive")]


@functools.cache
def _kind_by_code() -> dict[int, RunKind]:
    """Return the kind of run that a function makes, by the ``id`` of its code object."""
    found: dict[int, RunKind] = {
        id(inspect.unwrap(take(name)).__code__): kind for name, kind in _KINDS.items()
    }
    for constant in take("run-jit").__code__.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == "jitted_fn":
            found[id(constant)] = "jit"
    return found


def run_kind(frame: FrameType | None) -> RunKind | None:
    """Return the kind of run that a frame makes; None if it makes none."""
    return None if frame is None else _kind_by_code().get(id(frame.f_code))


def is_running(frame: FrameType | None) -> bool:
    """Return whether a frame is on the stack of the current thread."""
    current: FrameType | None = sys._getframe(1)
    while current is not None:
        if current is frame:
            return True
        current = current.f_back
    return False


def jit_outputs(frame: FrameType) -> list[Array]:
    """Return the flat results of a jitted function that is about to return."""
    import jax

    return jax.tree_util.tree_leaves(frame.f_locals["outs"])


def jit_module(frame: FrameType) -> str:
    """Return JAX's name for the module of a jitted function, given the frame that runs it.

    ``jit_fun`` is the function that ``jax.jit`` has made (brainstate 0.5.4, 0.6.0:
    transform/_jit.py).
    """
    return f"jit_{frame.f_locals['jit_fun'].__name__}"


def jitted_function(frame: FrameType) -> Any:
    """Return the user's function that a frame runs as a jitted function; None for another frame.

    ``fun`` is the StatefulFunction (brainstate 0.5.4, 0.6.0: transform/_jit.py).
    """
    return frame.f_locals["fun"].fun if run_kind(frame) == "jit" else None


def run_functions(frame: FrameType, stateful: StatefulFunction) -> list[Any]:
    """Return the user's functions of a run that begins, given its frame and its first function.

    A loop's condition and the branches of a condition are local variables of the frame (brainstate
    0.5.4, 0.6.0: transform/_conditions.py, transform/_loop_no_collection.py).
    """
    names = ("body_fun", "cond_fun", "true_fun", "false_fun")
    found = [frame.f_locals[name] for name in names if name in frame.f_locals]
    found += frame.f_locals.get("branches", ())
    return found if found and run_kind(frame) != "jit" else [stateful.fun]


def run_states(frame: FrameType) -> list[Variable]:
    """Return the states of a loop or condition, given the frame that runs it.

    They are in the frame's local variable ``state_trace`` (brainstate 0.5.4, 0.6.0:
    transform/_conditions.py, transform/_loop_collect_return.py, transform/_loop_no_collection.py).
    """
    return list(frame.f_locals["state_trace"].states)


def static_arguments(frame: FrameType, stateful: StatefulFunction) -> dict[int | str, Any]:
    """Return the static arguments of a jitted function by position or name, given its frame.

    The frame's local variables ``args`` and ``params`` contain all arguments (brainstate 0.5.4,
    0.6.0: transform/_jit.py). ``bm.cls_jit`` makes ``self`` of a method static.
    """
    if run_kind(frame) != "jit":
        return {}
    args, named = frame.f_locals["args"], frame.f_locals["params"]
    found: dict[int | str, Any] = {n: args[n] for n in sorted(_static_positions(stateful, args))}
    return found | {name: named[name] for name in stateful.static_argnames if name in named}


def _static_positions(stateful: StatefulFunction, args: Args) -> set[int]:
    """Return the positions of the static arguments of a StatefulFunction."""
    numbers = range(-len(args), len(args))
    return {number % len(args) for number in stateful.static_argnums if number in numbers}


def without_static(stateful: StatefulFunction, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """Return a StatefulFunction's arguments without the static ones, which its jaxpr lacks."""
    static = _static_positions(stateful, args)
    return (
        tuple(arg for number, arg in enumerate(args) if number not in static),
        {name: value for name, value in kwargs.items() if name not in stateful.static_argnames},
    )
