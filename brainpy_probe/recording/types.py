"""Type aliases for the objects of JAX and wrapt that the recorder handles.

JAX has no stable public types for most of them, so the aliases are documentation, not checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = [
    "Args",
    "Array",
    "Atom",
    "ClosedJaxpr",
    "Equation",
    "Jaxpr",
    "Kwargs",
    "MlirModule",
    "NamedArrays",
    "PyTreeDef",
    "Pytree",
    "Runner",
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
Var: TypeAlias = Any
Atom: TypeAlias = Any

# A module of MLIR's Python bindings.
MlirModule: TypeAlias = Any

# A jax.Array or a NumPy array.
Array: TypeAlias = Any
Pytree: TypeAlias = Any
PyTreeDef: TypeAlias = Any
# Arrays, or their shapes and dtypes, by name.
NamedArrays: TypeAlias = dict[str, Any]

# A brainpy.DSRunner, and a Variable of BrainPy's or a State of brainstate's.
Runner: TypeAlias = Any
Variable: TypeAlias = Any
