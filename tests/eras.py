"""Names that differ between versions of BrainPy and JAX, for the installed ones.

BrainPy's models got new names in 2.4, and its state moved to brainstate in 2.7. A test that
uses the names of this module runs on all of these versions.
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
    "var_dict",
    "var_list",
    "without_outputs",
]

# BrainPy's own annotations lack many of its names.
_bp: Any = bp
_bm: Any = bm

SINCE_2_4 = hasattr(bp, "DynSysGroup")
SINCE_2_7 = importlib.util.find_spec("brainstate") is not None

# BrainPy 2.3 keeps the jitted function that holds a runner's loop; later versions build a new loop
# in each run, which JAX compiles again.
COMPILES_EACH_RUN = SINCE_2_4

# BrainPy 2.4 to 2.6 pass the Variables to a loop in the order of their ids: two builds of one model
# may give two programs.
ORDERS_BY_IDS = SINCE_2_4 and not SINCE_2_7

# JAX's name for the module of a jitted lambda.
LAMBDA_MODULE = "jit__lambda" if SINCE_2_7 else "jit__lambda_"

# XLA of JAX 0.4.13 and 0.4.23 cannot serialize executables for a CPU: there is no persistent cache.
# (jax.tree came with 0.4.25.)
JAX_CACHES_ON_CPU = hasattr(jax, "tree")

# XLA of JAX 0.4.13 adds the terms of a sum over CPU devices in the order in which devices finish.
ADDS_IN_NO_ORDER = jax.__version_info__ < (0, 4, 14)

# JAX 0.4.13 compiles in jax._src.dispatch.
JAX_HAS_COMPILER = importlib.util.find_spec("jax._src.compiler") is not None

# A model whose update() takes no shared arguments. A DynamicalSystem of 2.3 takes them first.
DynamicalSystem: Any = bp.DynamicalSystem if SINCE_2_4 else _bp.DynamicalSystemNS

# A group whose update calls its synapses, its neurons and their delays.
Group: Any = _bp.DynSysGroup if SINCE_2_4 else _bp.Network

# Neurons made of channels.
ConductanceBased: Any = _bp.dyn.CondNeuGroupLTC if SINCE_2_4 else _bp.dyn.CondNeuGroup

# BrainPy's run-time check of a value in a compiled step.
jit_error: Any = _bp.check.jit_error if SINCE_2_4 else _bp.check.jit_error_checking

# Containers of Variables. BrainPy 2.3 uses a plain dict and list, which must be registered.
var_dict: Any = _bm.var_dict if SINCE_2_4 else dict
var_list: Any = _bm.var_list if SINCE_2_4 else list

# The module of Dense, and the module of Reservoir, RNNCell and LSTMCell.
layers: Any = _bp.dnn if SINCE_2_4 else _bp.layers
rates: Any = _bp.dyn if SINCE_2_4 else _bp.layers


def LifRef(num: int, **parameters: Any) -> Any:  # noqa: N802 - named like the class
    """Make refractory LIF neurons whose update takes the input current as its argument."""
    if SINCE_2_4:
        return _bp.dyn.LifRef(num, **parameters)
    return _bp.neurons.LIF(num, input_var=False, **parameters)


def hold_random_state(model: Any) -> None:
    """On BrainPy 2.3, make a model hold the random state that its update draws from.

    There, a state that the model does not hold is no argument of the compiled loop: each step would
    draw the same numbers, and a tracer would leak. From 2.4 on, this does nothing.
    """
    if not SINCE_2_4:
        model.random = bm.random.DEFAULT


def for_loop(body: Callable[..., Any], operands: Any, model: Any = None) -> Any:
    """Run BrainPy's for_loop; 2.3 takes the Variables that the loop changes as an argument."""
    if SINCE_2_4:
        return _bm.for_loop(body, operands)
    return _bm.for_loop(body, operands, dyn_vars={} if model is None else model.vars())


def jit(function: Callable[..., Any], model: Any) -> Any:
    """Jit a function of a model's Variables, which BrainPy 2.3 takes as an argument."""
    return bm.jit(function) if SINCE_2_4 else _bm.jit(function, dyn_vars=model.vars())


def traced(function: Callable[..., Any]) -> Any:
    """Return a function that traces another one, as `jax.make_jaxpr` does.

    Unlike a jitted function of brainstate, it is no recorded call. Up to 2.6 it leaves tracers in
    the Variables.
    """
    if not SINCE_2_7:
        return jax.make_jaxpr(lambda: jax.tree_util.tree_leaves(function()))
    import brainstate

    return brainstate.transform.make_jaxpr(function)


def without_outputs(model: Any) -> Any:
    """Make a model return None where a memory-efficient run fails on returned outputs.

    Up to 2.6 BrainPy calls `append()` on the output array.
    """
    if not SINCE_2_7:
        cls = type(model)

        @functools.wraps(cls.update)
        def update(*args: Any, **kwargs: Any) -> None:
            cls.update(*args, **kwargs)

        model.__class__ = type(cls.__name__, (cls,), {"update": update})
    return model
