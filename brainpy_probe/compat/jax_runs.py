"""Finds the function for which JAX compiles a module, from the frames of the compilation.

JAX 0.4.13 to 0.12.0. JAX compiles a jitted function below the frame that has missed its cache. It
compiles a loop or condition outside of any trace below ``apply_primitive``, which ``jax.lax.scan``
and similar functions call. The operations of ``jax.numpy`` are compiled in the same way, but their
functions are part of JAX.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Literal

from brainpy_probe.compat import brainpy_model, brainstate_runs
from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.compat.types import Primitive
from brainpy_probe.errors import PrivateNameMissing

__all__ = ["CompiledFunction", "compiled_function"]

NAMES.update(
    {
        "jit-call": PrivateName(
            "the maker of JAX's jitted functions",
            ("jax._src.pjit:_cpp_pjit",),
            "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0. Its inner function cache_miss compiles; "
            "it closes over fun, in 0.4.30 over jit_info, which has fun",
            optional=True,
        ),
        "primitive-call": PrivateName(
            "JAX's run of one primitive",
            ("jax._src.dispatch:apply_primitive",),
            "jax 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0; the parameter prim is the primitive",
            optional=True,
        ),
        "class-jit": PrivateName(
            "the maker of BrainPy's jitted methods",
            ("brainpy._src.math.object_transform.jit:_make_jit_fun",),
            "brainpy 2.4.6, 2.6.0; absent in 2.3.8. Its inner function call_fun runs the method "
            "fun",
            era="variables",
            optional=True,
        ),
    }
)

# The parameter of each jax.lax function that takes the user's function, or a list of functions.
_LOOPS = {"scan": "f", "while_loop": "body_fun", "fori_loop": "body_fun", "map": "f"}
_CONDITIONS = {"cond": "true_fun", "switch": "branches"}
# Packages that may have frames between the user's call and the compilation.
_LIBRARIES = ("jax", "jaxlib", "brainpy_probe", "wrapt", "contextlib")


# The same for BrainPy's functions up to 2.6 (2.3.8, 2.4.6, 2.6.0:
# _src/math/object_transform/controls.py).
_BRAINPY_CONTROL_FLOW = {
    "while_loop": "body_fun", "scan": "body_fun", "cond": "true_fun", "ifelse": "branches",
}  # fmt: skip


@dataclass(frozen=True)
class CompiledFunction:
    """The function that JAX compiles: a jitted function, a loop or a condition.

    Attributes
    ----------
    kind : str
        ``jit``, ``loop`` or ``condition``; the name of BrainPy's own function, such as
        ``bm.while_loop``, up to BrainPy 2.6.
    function : callable
        The function; the first branch of a condition.
    """

    kind: str
    function: Any


@functools.cache
def _jax_codes() -> tuple[dict[int, str], dict[int, tuple[Literal["loop", "condition"], str]]]:
    """Return JAX's compiling functions and jax.lax's control flow, by the ``id`` of their code."""
    import jax

    inner = {id(take("primitive-call").__code__): "primitive"}
    inner |= {id(code): "jit" for code in _inner_codes(take("jit-call"), "cache_miss")}
    kinds: tuple[tuple[Literal["loop", "condition"], dict[str, str]], ...] = (
        ("loop", _LOOPS),
        ("condition", _CONDITIONS),
    )
    control = {
        id(inspect.unwrap(getattr(jax.lax, name)).__code__): (kind, parameter)
        for kind, names in kinds
        for name, parameter in names.items()
    }
    return inner, control


def _inner_codes(function: Any, name: str) -> list[CodeType]:
    """Return the code of the inner functions of a function that have a given name."""
    constants = function.__code__.co_consts
    return [code for code in constants if isinstance(code, CodeType) and code.co_name == name]


@functools.cache
def _brainpy_codes() -> dict[int, tuple[str, str]]:
    """Return name and parameter of BrainPy's loops and conditions, by the ``id`` of their code."""
    if brainpy_model.on_brainstate():
        return {}
    maths = importlib.import_module("brainpy.math")
    found = {
        id(inspect.unwrap(getattr(maths, name)).__code__): (f"bm.{name}", parameter)
        for name, parameter in _BRAINPY_CONTROL_FLOW.items()
        if hasattr(maths, name)
    }
    with contextlib.suppress(PrivateNameMissing):
        for code in _inner_codes(take("class-jit"), "call_fun"):
            found[id(code)] = "bm.cls_jit", "fun"
    return found


def compiled_function(frame: FrameType | None) -> CompiledFunction | None:
    """Return the function for which JAX compiles a module; None for an operation of JAX itself.

    Parameters
    ----------
    frame : frame
        A frame of the compilation.
    """
    import jax

    inner, control = _jax_codes()
    function: Any = None
    primitive: Primitive = None
    found: CompiledFunction | None = None
    last = frame
    for current in _outer_frames(frame):
        key = id(current.f_code)
        what = inner.get(key)
        if what == "jit" and function is None:
            function = _jitted_function(current)
        elif what == "primitive" and primitive is None:
            primitive = current.f_locals["prim"]
        elif key in control:
            kind, parameter = control[key]
            found = CompiledFunction(kind, _first_function(current.f_locals[parameter]))
        last = current.f_back
    if primitive is not None:
        is_control = primitive in (jax.lax.scan_p, jax.lax.while_p, jax.lax.cond_p)
        return (_of_brainpy(last) or found) if is_control else None
    if function is None:
        return None
    if last is not None and _package(last) == "brainpy":
        return _of_brainpy(last)
    if last is not None and _package(last) == "brainstate":
        stateful = brainstate_runs.jitted_function(last)
        function = function if stateful is None else stateful
    return CompiledFunction("jit", function)


def _of_brainpy(frame: FrameType | None) -> CompiledFunction | None:
    """Return BrainPy's loop or condition that encloses a frame, up to BrainPy 2.6."""
    while frame is not None and _package(frame) == "brainpy":
        known = _brainpy_codes().get(id(frame.f_code))
        if known is not None:
            return CompiledFunction(known[0], _first_function(frame.f_locals[known[1]]))
        frame = frame.f_back
    return None


def _first_function(functions: Any) -> Any:
    """Return the first of several functions, or the function itself."""
    return next(iter(functions), None) if isinstance(functions, (list, tuple)) else functions


def _jitted_function(frame: FrameType) -> Any:
    """Return the jitted function, given a frame of ``cache_miss``."""
    names = frame.f_locals
    return names["fun"] if "fun" in names else names["jit_info"].fun


def _outer_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and its callers, up to the first one outside of JAX and the probe."""
    while frame is not None and _package(frame) in _LIBRARIES:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
