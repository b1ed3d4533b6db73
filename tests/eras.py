"""What the installed BrainPy calls the things that every BrainPy has; knows no network and no test.

BrainPy's models were spelled anew in 2.4 and its state moved to brainstate in 2.7. A test that
takes these names runs on both sides of either line.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import brainpy as bp
import brainpy.math as bm

__all__ = [
    "JAX_HAS_COMPILER",
    "SINCE_2_4",
    "SINCE_2_7",
    "ConductanceBased",
    "DynamicalSystem",
    "Group",
    "LifRef",
    "hold_random_state",
    "layers",
    "rates",
]

# BrainPy's own annotations miss much of what it has.
_bp: Any = bp
_bm: Any = bm

SINCE_2_4 = hasattr(bp, "DynSysGroup")
SINCE_2_7 = importlib.util.find_spec("brainstate") is not None

# JAX 0.4.13 compiles in jax._src.dispatch.
JAX_HAS_COMPILER = importlib.util.find_spec("jax._src.compiler") is not None

# A model whose update() takes no shared arguments. A DynamicalSystem of 2.3 takes them first.
DynamicalSystem: Any = bp.DynamicalSystem if SINCE_2_4 else _bp.DynamicalSystemNS

# A model that updates its synapses, its neurons and their delays by itself.
Group: Any = _bp.DynSysGroup if SINCE_2_4 else _bp.Network

# Neurons made of channels.
ConductanceBased: Any = _bp.dyn.CondNeuGroupLTC if SINCE_2_4 else _bp.dyn.CondNeuGroup

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
