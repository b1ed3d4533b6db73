"""Names that differ between versions of BrainPy and JAX, for the installed ones.

BrainPy's models got new names in 2.4, and its state moved to brainstate in 2.7. A test that
takes these names runs on both sides of either line.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax

__all__ = [
    "ADDS_IN_NO_ORDER",
    "COMPILES_EACH_RUN",
    "JAX_CACHES_ON_CPU",
    "JAX_HAS_COMPILER",
    "LAMBDA_MODULE",
    "ORDERS_BY_IDS",
    "SINCE_2_4",
    "SINCE_2_7",
    "ConductanceBased",
    "DynamicalSystem",
    "Group",
    "LifRef",
    "for_loop",
    "hold_random_state",
    "jit",
    "jit_error",
    "layers",
    "rates",
    "silent",
    "var_dict",
    "var_list",
]

# BrainPy's own annotations miss much of what it has.
_bp: Any = bp
_bm: Any = bm

SINCE_2_4 = hasattr(bp, "DynSysGroup")
SINCE_2_7 = importlib.util.find_spec("brainstate") is not None

# BrainPy 2.3 keeps the jitted function that holds a runner's loop; later ones make a loop in each
# run, and JAX compiles it.
COMPILES_EACH_RUN = SINCE_2_4

# BrainPy 2.4 to 2.6 hand a loop its Variables in the order of their ids: two builds of one model
# may be two programs.
ORDERS_BY_IDS = SINCE_2_4 and not SINCE_2_7

# JAX's name for the module of a jitted lambda.
LAMBDA_MODULE = "jit__lambda" if SINCE_2_7 else "jit__lambda_"

# XLA of JAX 0.4.13 and 0.4.23 can not serialise what it compiled for a CPU: there is no persistent
# cache. (jax.tree came with 0.4.25.)
JAX_CACHES_ON_CPU = hasattr(jax, "tree")

# XLA of JAX 0.4.13 adds the parts of a sum over CPU devices in the order in which they end.
ADDS_IN_NO_ORDER = jax.__version_info__ < (0, 4, 14)

# JAX 0.4.13 compiles in jax._src.dispatch.
JAX_HAS_COMPILER = importlib.util.find_spec("jax._src.compiler") is not None

# A model whose update() takes no shared arguments. A DynamicalSystem of 2.3 takes them first.
DynamicalSystem: Any = bp.DynamicalSystem if SINCE_2_4 else _bp.DynamicalSystemNS

# A model that updates its synapses, its neurons and their delays by itself.
Group: Any = _bp.DynSysGroup if SINCE_2_4 else _bp.Network

# Neurons made of channels.
ConductanceBased: Any = _bp.dyn.CondNeuGroupLTC if SINCE_2_4 else _bp.dyn.CondNeuGroup

# BrainPy's check of a value within a compiled step.
jit_error: Any = _bp.check.jit_error if SINCE_2_4 else _bp.check.jit_error_checking

# Containers of Variables; those of BrainPy 2.3 are plain, and must be registered.
var_dict: Any = _bm.var_dict if SINCE_2_4 else dict
var_list: Any = _bm.var_list if SINCE_2_4 else list

# Where Dense is, and where Reservoir, RNNCell and LSTMCell are.
layers: Any = _bp.dnn if SINCE_2_4 else _bp.layers
rates: Any = _bp.dyn if SINCE_2_4 else _bp.layers


def LifRef(num: int, **parameters: Any) -> Any:  # noqa: N802 - stands for a class
    """Make refractory LIF neurons whose update takes their current as its argument."""
    if SINCE_2_4:
        return _bp.dyn.LifRef(num, **parameters)
    return _bp.neurons.LIF(num, input_var=False, **parameters)


def hold_random_state(model: Any) -> None:
    """Have a model of BrainPy 2.3 hold the random state that its update draws from.

    There, what a model does not hold is no argument of its compiled loop: each step would draw
    the same numbers, and a tracer would leak. From 2.4 on, this does nothing.
    """
    if not SINCE_2_4:
        model.random = bm.random.DEFAULT


def for_loop(body: Callable[..., Any], operands: Any, model: Any = None) -> Any:
    """Run a loop of BrainPy's; 2.3 must be told the Variables that it changes."""
    if SINCE_2_4:
        return _bm.for_loop(body, operands)
    return _bm.for_loop(body, operands, dyn_vars={} if model is None else model.vars())


def jit(function: Callable[..., Any], model: Any) -> Any:
    """Compile a function of a model's Variables, which BrainPy 2.3 must be given."""
    return bm.jit(function) if SINCE_2_4 else _bm.jit(function, dyn_vars=model.vars())


def traced(function: Callable[..., Any]) -> Any:
    """Return a function that traces another one and is no run itself, as a jitted one is.

    Up to 2.6 it leaves tracers in the Variables.
    """
    if not SINCE_2_7:
        return jax.make_jaxpr(lambda: jax.tree_util.tree_leaves(function()))
    import brainstate

    return brainstate.transform.make_jaxpr(function)


def silent(model: Any) -> Any:
    """Have a model return nothing where a memory-efficient run fails on what it returns.

    Up to 2.6 BrainPy calls `append()` on the array.
    """
    if not SINCE_2_7:
        cls = type(model)

        @functools.wraps(cls.update)
        def update(*args: Any, **kwargs: Any) -> None:
            cls.update(*args, **kwargs)

        model.__class__ = type(cls.__name__, (cls,), {"update": update})
    return model
