"""How JAX lowers and compiles: the compiler's entry, its options, what an executable tells.

JAX 0.4.13 to 0.12.0.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.compat.lookup import NAMES, PrivateName, take
from brainpy_probe.errors import PrivateNameMissing

__all__ = [
    "backend_compile_name",
    "dump_settings",
    "executable_cost",
    "executable_fingerprint",
    "executable_memory",
    "is_listening",
    "lowered_with_jaxpr",
    "names_are_in_cache_keys",
    "numba_events",
    "optimized_hlo",
    "option_overrides",
    "set_dump_settings",
    "take",
]

NAMES.update(
    {
        "compiler": PrivateName(
            "the module through which JAX compiles",
            ("jax._src.compiler:", "jax._src.dispatch:"),
            "jax 0.4.23, 0.4.30, 0.10.2, 0.12.0: _src/compiler.py; 0.4.13: _src/dispatch.py. "
            "compile_or_get_cached (called by attribute from _src/interpreters/pxla.py, on a "
            "cache hit "
            "too) has the parameters backend and computation, and below it stands "
            "backend_compile_and_load or backend_compile, with the parameter options",
            members=("compile_or_get_cached",),
        ),
    }
)


def lowered_with_jaxpr(jitted: Any, arguments: Sequence[Any]) -> tuple[Any, Any]:
    """Lower a jitted function; return the lowering, and the jaxpr where JAX gives that too.

    ``trace``, of which ``lower`` is the rest, is public in 0.10.2 and 0.12.0, absent up to 0.4.30.
    """
    with _no_tracebacks():
        if not hasattr(jitted, "trace"):
            return jitted.lower(*arguments), None
        traced = jitted.trace(*arguments)
        return traced.lower(), traced.jaxpr


def _no_tracebacks() -> contextlib.AbstractContextManager[None]:
    """Have JAX leave the lines of files out of locations in this thread, in this block.

    ``traceback_in_locations_limit`` of jax._src.config is the thread's own form of the public
    ``jax_traceback_in_locations_limit`` (0.4.30, 0.10.2, 0.12.0). 0.4.13 and 0.4.23 have none, nor
    need it: they write one line of one file. Whatever there is, is left out later; this saves time.
    """
    limit = getattr(
        importlib.import_module("jax._src.config"), "traceback_in_locations_limit", None
    )
    return contextlib.nullcontext() if limit is None else limit(0)


def is_listening(listener: Any) -> bool:
    """Whether a listener to durations is registered with jax.monitoring; true if none can tell.

    ``get_event_duration_listeners`` of _src/monitoring.py (jax 0.4.23, 0.4.30, 0.10.2, 0.12.0);
    0.4.13 has the list alone.
    """
    monitoring: Any = importlib.import_module("jax._src.monitoring")
    if hasattr(monitoring, "get_event_duration_listeners"):
        return listener in monitoring.get_event_duration_listeners()
    return listener in getattr(monitoring, "_event_duration_secs_listeners", [listener])


def numba_events() -> Any:
    """Return numba's module of events if numba is there; it is never imported for that.

    ``numba.core.event`` is public; numba 0.53 to 0.68.
    """
    return sys.modules.get("numba.core.event")


def names_are_in_cache_keys() -> bool:
    """Whether the names of ops are part of the persistent cache's keys.

    They are not unless ``jax_compilation_cache_include_metadata_in_key`` is set, which is public
    from 0.4.13 to 0.12.0; else JAX strips them (_src/compilation_cache.py in 0.4.13,
    _src/cache_key.py later).
    """
    import jax

    return bool(getattr(jax.config, "jax_compilation_cache_include_metadata_in_key", False))


def backend_compile_name() -> str:
    """Return the name of the function in which XLA compiles, below JAX's persistent cache.

    ``backend_compile`` on 0.4.13, 0.4.23, 0.4.30; ``backend_compile_and_load`` from 0.6.2 on (seen
    in 0.10.2, 0.12.0), where ``backend_compile`` still exists, unused.
    """
    names = ("backend_compile_and_load", "backend_compile")
    compiler = take("compiler")
    for name in names:
        if hasattr(compiler, name):
            return name
    raise PrivateNameMissing("XLA's compile function", [f"{compiler.__name__}.{n}" for n in names])


def dump_settings(options: Any) -> dict[str, str | bool]:
    """Return what one compilation's options say of XLA's dumps, as far as they say anything.

    They start from ``XLA_FLAGS``. XLA's debug options have an attribute for each from 0.4.23 on;
    those of 0.4.13 have none, but print themselves, one option a line.
    """
    debug = options.executable_build_options.debug_options
    if hasattr(debug, "xla_dump_to"):
        names = [name for name in dir(debug) if name.startswith("xla_dump_")]
        return {name: getattr(debug, name) for name in names}
    found: dict[str, str | bool] = {}
    for name, value in re.findall(r"^(xla_dump_\w+): (.*)$", repr(debug), re.MULTILINE):
        if value in ("true", "false"):
            found[name] = value == "true"
        elif value.startswith('"'):
            # A C string literal, as protobuf's text format writes it; Python reads it as bytes.
            found[name] = ast.literal_eval(f"b{value}").decode(errors="surrogateescape")
    return found


def set_dump_settings(options: Any, settings: Mapping[str, str | bool]) -> None:
    """Set XLA's dumps in one compilation's options, in place.

    By attributes where there are any; XLA reads these before all else, so that the files which it
    writes of a compilation's own options (0.10.2, 0.12.0) are written, too. On 0.4.13 by overrides,
    which take any option by name.
    """
    debug = options.executable_build_options.debug_options
    if hasattr(debug, "xla_dump_to"):
        for name, value in settings.items():
            setattr(debug, name, value)
    else:
        options.env_option_overrides = [*options.env_option_overrides, *settings.items()]


def option_overrides(options: Any) -> set[str]:
    """Return the names of XLA's options that ``compiler_options`` of a jit set; they win."""
    return {str(name) for name, _ in options.env_option_overrides}


def executable_fingerprint(executable: Any) -> str:
    """Return XLA's digest of an executable's optimised HLO; empty where there is none.

    Public on 0.10.2 and 0.12.0, where it is another one if a pass is disabled by the module's own
    ``compiler_options``; None on 0.4.13, 0.4.23 and 0.4.30.
    """
    fingerprint = getattr(executable, "fingerprint", None)
    return fingerprint.hex() if isinstance(fingerprint, bytes) else ""


def optimized_hlo(executable: Any) -> str:
    """Print an executable's HLO, as it runs, no constant elided."""
    return "\n".join(bindings.hlo_text(module) for module in executable.hlo_modules())


def executable_cost(executable: Any) -> dict[str, float]:
    """Return XLA's cost analysis: flops, transcendentals, bytes accessed."""
    cost = executable.cost_analysis()
    names = ("flops", "transcendentals", "bytes accessed", "optimal_seconds")
    return {name: float(cost[name]) for name in names if name in cost}


def executable_memory(executable: Any) -> dict[str, int]:
    """Return the sizes, in bytes, of an executable's code and of its buffers.

    What XLA's CPU compiler does not fill in is left out: the buffers on 0.4.13 and 0.4.23, the code
    on 0.10.2 and 0.12.0.
    """
    stats = executable.get_compiled_memory_stats()
    names = {
        "code": "generated_code_size_in_bytes",
        "arguments": "argument_size_in_bytes",
        "outputs": "output_size_in_bytes",
        "aliases": "alias_size_in_bytes",
        "temporaries": "temp_size_in_bytes",
    }
    sizes = {name: int(getattr(stats, field)) for name, field in names.items()}
    unknown = set() if sizes["code"] else {"code"}
    if not (sizes["arguments"] or sizes["outputs"]):
        unknown |= sizes.keys() - {"code"}
    return {name: size for name, size in sizes.items() if name not in unknown}
