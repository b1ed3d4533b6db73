"""JAX's traces and jaxprs: their classes, equations, and the settings of a trace.

JAX 0.4.13 to 0.12.0.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.compat.types import Array, ClosedJaxpr, DType, Equation, Jaxpr

__all__ = [
    "LOOP_MODULE",
    "JaxprClasses",
    "bind_equation",
    "callback_of",
    "canonical_array",
    "equation_context",
    "equation_settings",
    "has_unused_results",
    "is_extended",
    "is_key",
    "is_on_mesh",
    "is_transposed",
    "jaxpr_classes",
    "scan_arguments",
    "scan_operands",
    "take",
    "trace_settings",
    "trace_state_clean",
    "without_dead_code",
    "without_mesh",
    "without_sharding",
]

NAMES.update(
    {
        "scan": PrivateName(
            "jax.lax.scan",
            ("jax.lax:scan",),
            "public; brainstate 0.5.4, 0.6.0: transform/_loop_collect_return.py and brainpy 2.4.6, "
            "2.6.0: _src/math/object_transform/controls.py call it by attribute",
        ),
        "scan-primitive": PrivateName(
            "JAX's scan primitive",
            ("jax._src.lax.control_flow.loops:scan_p",),
            "jax 0.4.13, 0.4.23, 0.4.30: its bind is an attribute of the object",
            era="variables",
            members=("bind",),
        ),
        "closed-jaxpr": PrivateName(
            "JAX's class of closed jaxprs",
            ("jax.extend.core:ClosedJaxpr", "jax.core:ClosedJaxpr"),
            "public; jax.extend.core in jax 0.4.30, 0.10.2, 0.12.0 (where it is Jaxpr itself); "
            "jax.core in 0.4.13 and 0.4.23, whose jax.extend.core is absent or lacks it",
        ),
        "jaxpr": PrivateName(
            "JAX's class of jaxprs",
            ("jax.extend.core:Jaxpr", "jax.core:Jaxpr"),
            "public; as closed-jaxpr",
        ),
        "dead-code": PrivateName(
            "JAX's removal of dead code from a jaxpr",
            ("jax._src.interpreters.partial_eval:dce_jaxpr",),
            "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: it takes the open jaxpr, and returns the "
            "live part and which arguments it uses. JAX applies it to what a jit lowers, unless "
            "the jit keeps unused arguments",
        ),
        "literal": PrivateName(
            "JAX's class of literals",
            ("jax.extend.core:Literal", "jax.core:Literal"),
            "public; as closed-jaxpr",
        ),
        "source-info": PrivateName(
            "JAX's module of source lines and name stacks",
            ("jax.extend.source_info_util:", "jax._src.source_info_util:"),
            "public; jax.extend in jax 0.4.23, 0.4.30, 0.10.2, 0.12.0, jax._src in 0.4.13",
            members=("current_name_stack", "user_context", "register_exclusion"),
        ),
        "trace-state": PrivateName(
            "JAX's check whether a trace is active",
            ("jax._src.core:trace_state_clean",),
            "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: _src/core.py",
        ),
        "trace-context": PrivateName(
            "JAX's thread-local settings that affect tracing",
            ("jax._src.config:trace_context", "jax._src.config:config._trace_context"),
            "jax 0.4.30, 0.10.2, 0.12.0: _src/config.py; a method of its config in 0.4.13, 0.4.23",
        ),
    }
)


def trace_settings() -> object:
    """Return the settings that affect how JAX traces and lowers in this thread, for comparison.

    Some are thread-local contexts. ``trace_context`` is a function of jax._src.config (0.4.30,
    0.10.2, 0.12.0); in 0.4.13 and 0.4.23 it is a method of ``config`` there.
    """
    return take("trace-context")()


# JAX's name for the module of a scan outside of any trace (0.4.13 to 0.12.0).
LOOP_MODULE = "jit_scan"


def scan_arguments(
    f: Any,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    **others: Any,
) -> dict[str, Any]:
    """Return the arguments of a ``jax.lax.scan`` call by parameter name.

    This function has scan's signature. Scan itself is not inspected, because another tool may have
    wrapped it without a signature. jax 0.4.13 to 0.12.0.
    """
    return {"f": f, "init": init, "xs": xs, "length": length, "reverse": reverse, "unroll": unroll}


def is_extended(dtype: DType) -> bool:
    """Return whether a dtype is an extended dtype of JAX, such as the dtype of typed random keys.

    ``jax.dtypes.extended`` is public from 0.4.23 on; 0.4.13 calls such dtypes opaque
    (_src/dtypes.py).
    """
    import jax
    import jax.numpy as jnp

    if hasattr(jax.dtypes, "extended"):
        return bool(jnp.issubdtype(dtype, jax.dtypes.extended))
    from jax._src import dtypes

    opaque: Any = dtypes
    return bool(opaque.is_opaque_dtype(dtype))


def is_key(value: Any) -> bool:
    """Return whether a value is a typed random key.

    ``jax.dtypes.prng_key`` is public from 0.4.23 on; 0.4.13 has no other opaque dtype.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    dtype = getattr(value, "dtype", None)
    if dtype is None or isinstance(dtype, np.dtype):
        return False
    if hasattr(jax.dtypes, "prng_key"):
        return bool(jnp.issubdtype(dtype, jax.dtypes.prng_key))
    return is_extended(dtype)


@dataclass(frozen=True)
class JaxprClasses:
    """JAX's classes for jaxprs and their literals."""

    ClosedJaxpr: type[Any]
    Jaxpr: type[Any]
    Literal: type[Any]


def jaxpr_classes() -> JaxprClasses:
    """Return JAX's classes for jaxprs and their literals."""
    return JaxprClasses(take("closed-jaxpr"), take("jaxpr"), take("literal"))


def canonical_array(array: Array) -> Array | None:
    """Return the JAX array that a trace uses for a NumPy array, or None.

    ``canonicalize_value`` of _src/dtypes.py (jax 0.10.2, 0.12.0) returns the same object for the
    same array as long as that object is alive. Up to 0.4.30 a trace uses the NumPy array itself,
    and the result is None.
    """
    convert = getattr(importlib.import_module("jax._src.dtypes"), "canonicalize_value", None)
    return None if convert is None else convert(array)


def without_dead_code(closed: ClosedJaxpr) -> tuple[Jaxpr, list[bool]]:
    """Remove the equations of a closed jaxpr that neither its results nor its effects need.

    Returns
    -------
    jaxpr
        The open jaxpr without these equations; it has the same constants.
    list of bool
        For each argument of the closed jaxpr, whether the new jaxpr has it.
    """
    jaxpr = closed.jaxpr
    live, used = take("dead-code")(jaxpr, [True] * len(jaxpr.outvars))
    return live, list(used)


def trace_state_clean() -> bool:
    """Return whether no trace is active in this thread."""
    return bool(take("trace-state")())


def equation_settings(eqn: Equation) -> tuple[Any, ...]:
    """Return the name stack and the settings under which an equation was created.

    Consecutive equations with equal settings can share one :func:`equation_context`. They then
    share the source line of the first equation, which only an error message would show.
    """
    return eqn.source_info.name_stack, getattr(eqn, "ctx", None)


@contextlib.contextmanager
def equation_context(eqn: Equation, *, on_mesh: bool = True) -> Iterator[None]:
    """Restore the source line, name stack and settings under which an equation was created.

    ``eqn.ctx`` exists from 0.4.30 on, not in 0.4.23 (_src/core.py).

    Parameters
    ----------
    eqn : Equation
        The equation.
    on_mesh : bool
        Whether to restore the device mesh too.
    """
    source_info_util = take("source-info")
    source = eqn.source_info
    stack = source_info_util.current_name_stack() + source.name_stack
    settings = eqn.ctx.manager if hasattr(eqn, "ctx") else contextlib.nullcontext()
    mesh = contextlib.nullcontext() if on_mesh else without_mesh()
    with source_info_util.user_context(source.traceback, name_stack=stack), settings, mesh:
        yield


def without_mesh() -> contextlib.AbstractContextManager[None]:
    """Return a context in which JAX traces without a device mesh.

    ``jax.sharding.use_abstract_mesh`` is public in 0.10.2 and 0.12.0. Up to 0.4.30 traces have no
    mesh.
    """
    import jax

    sharding: Any = jax.sharding
    if not hasattr(sharding, "use_abstract_mesh"):
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[None] = sharding.use_abstract_mesh(
        sharding.AbstractMesh((), ())
    )
    return context


def is_on_mesh(eqn: Equation) -> bool:
    """Return whether an equation, or the type of one of its values, has a device mesh.

    The mesh is in ``cur_abstract_mesh`` of the equation's settings, or in ``sharding`` of a type
    (0.10.2, 0.12.0: _src/core.py). Up to 0.4.30 neither has a mesh.
    """
    shardings = (getattr(v.aval, "sharding", None) for v in (*eqn.invars, *eqn.outvars))
    meshes = [getattr(sharding, "mesh", None) for sharding in shardings]
    meshes.append(getattr(getattr(eqn, "ctx", None), "cur_abstract_mesh", None))
    return any(mesh is not None and not mesh.empty for mesh in meshes)


def without_sharding(eqn: Equation) -> Equation:
    """Return an equation without an explicit sharding of its result.

    Some primitives have a parameter for it (0.10.2, 0.12.0: _src/lax/lax.py).
    """
    given = [name for name in ("sharding", "out_sharding") if eqn.params.get(name) is not None]
    return eqn.replace(params={**eqn.params, **dict.fromkeys(given)}) if given else eqn


def bind_equation(eqn: Equation, operands: Sequence[Array]) -> list[Array]:
    """Apply an equation's primitive to operands.

    ``get_bind_params`` returns ``(functions, params)`` on 0.4.13, 0.4.23 and 0.4.30, only the
    parameters on 0.10.2 and 0.12.0 (_src/core.py).
    """
    bind_params = eqn.primitive.get_bind_params(eqn.params)
    functions, params = bind_params if isinstance(bind_params, tuple) else ((), bind_params)
    outs = eqn.primitive.bind(*functions, *operands, **params)
    return list(outs) if eqn.primitive.multiple_results else [outs]


def scan_operands(params: dict[str, Any]) -> tuple[int, int]:
    """Return how many operands of a scan equation are constants, and how many are its carry.

    ``num_consts`` and ``num_carry`` from 0.4.13 to 0.10.2; in 0.12.0 ``ft_in`` has the three groups
    (_src/lax/control_flow/loops.py).
    """
    if "num_consts" in params:
        return int(params["num_consts"]), int(params["num_carry"])
    constants, carry, _ = params["ft_in"].unpack()
    return len(list(constants)), len(list(carry))


def callback_of(eqn: Equation) -> Any:
    """Return the Python callable that an equation calls at run time, or None.

    host_callback wraps the callable (0.4.13 to 0.4.30: experimental/host_callback.py,
    ``callback_func``).
    """
    called = eqn.params.get("callback")
    called = getattr(called, "callback_func", called)
    return called if callable(called) else None


def has_unused_results(eqn: Equation) -> bool:
    """Return whether all results of an equation are unused.

    A host_callback tap returns its operands as results, which are then dropped (0.4.13 to 0.4.30);
    later callbacks have no results.
    """
    return all(type(var).__name__ == "DropVar" for var in eqn.outvars)


def is_transposed(eqn: Equation) -> bool:
    """Return whether an equation belongs to the transpose of a function.

    A gradient is a transpose, and JAX marks its equations in their name stacks (jax 0.4.13 to
    0.12.0: interpreters/ad.py; ``source_info.name_stack`` of an equation).
    """
    return "transpose(" in str(eqn.source_info.name_stack)
