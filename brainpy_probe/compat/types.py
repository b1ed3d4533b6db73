"""Type aliases for objects of JAX, XLA, BrainPy and wrapt.

These libraries have no stable public types for most of them: an alias names the kind of object, and
a type checker does not check it. The types of MLIR's bindings are in :mod:`.bindings`; NumPy's
arrays are ``format.arrays.Array``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = [
    "Args",
    "Array",
    "Atom",
    "Buffer",
    "Client",
    "ClosedJaxpr",
    "CompileOptions",
    "DType",
    "Device",
    "Equation",
    "Executable",
    "Jaxpr",
    "Kwargs",
    "NamedArrays",
    "Primitive",
    "PyTreeDef",
    "Pytree",
    "Runner",
    "StateTrace",
    "StatefulFunction",
    "Transform",
    "Var",
    "Variable",
    "Wrapped",
]

# The arguments of a wrapt wrapper: ``wrapper(wrapped, instance, args, kwargs)``.
Wrapped: TypeAlias = Callable[..., Any]
Args: TypeAlias = tuple[Any, ...]
Kwargs: TypeAlias = dict[str, Any]

# JAX's intermediate representation; an Atom is a Var or a Literal.
Jaxpr: TypeAlias = Any
ClosedJaxpr: TypeAlias = Any
Equation: TypeAlias = Any
Primitive: TypeAlias = Any
Var: TypeAlias = Any
Atom: TypeAlias = Any

# A jax.Array or a NumPy array, and a dtype of NumPy's or an extended one of JAX's.
Array: TypeAlias = Any
DType: TypeAlias = Any
Pytree: TypeAlias = Any
PyTreeDef: TypeAlias = Any
# Arrays, or their shapes and dtypes, by name.
NamedArrays: TypeAlias = dict[str, Any]

# XLA's client and devices, the options of a compilation, and a compiled program.
Client: TypeAlias = Any
Device: TypeAlias = Any
CompileOptions: TypeAlias = Any
Executable: TypeAlias = Any
# An array in the memory of a device, as a runtime (XLA's or IREE's) takes and returns it.
Buffer: TypeAlias = Any

# A brainpy.DSRunner, and a Variable of BrainPy or a State of brainstate.
Runner: TypeAlias = Any
Variable: TypeAlias = Any
# brainstate's StatefulFunction and StateTraceStack (BrainPy 2.7 and later), and BrainPy's jit
# object (up to 2.6).
StatefulFunction: TypeAlias = Any
StateTrace: TypeAlias = Any
Transform: TypeAlias = Any
