"""JAX's compiler entry points, compile options, and the properties of an executable.

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
from brainpy_probe.compat.types import Array, CompileOptions, Executable
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
    "persistent_cache_minimum",
    "platform_of",
    "set_dump_settings",
    "take",
]

NAMES.update(
    {
        "compiler": PrivateName(
            "the module through which JAX compiles",
            ("jax._src.compiler:", "jax._src.dispatch:"),
            "jax 0.4.23, 0.4.30, 0.10.2, 0.12.0: _src/compiler.py; 0.4.13: _src/dispatch.py. "
            "_src/interpreters/pxla.py calls compile_or_get_cached by attribute, also on a hit. "
            "It has the parameters backend and computation, and calls backend_compile_and_load or "
            "backend_compile, which have the parameter options",
            members=("compile_or_get_cached",),
        ),
    }
)


def platform_of(lowering: Any) -> str:
    """Return the platform for which JAX lowered a program: the platform of its arguments' devices.

    ``_platforms`` of the lowering (0.4.30, 0.10.2, 0.12.0: _src/interpreters/pxla.py), or the
    platform of its backend (0.4.13, 0.4.23).
    """
    inner = lowering._lowering
    platforms = getattr(inner, "_platforms", None)
    return str(platforms[0]) if platforms else str(inner.compile_args["backend"].platform)


def lowered_with_jaxpr(
    jitted: Any, arguments: Sequence[Array], platform: str = ""
) -> tuple[Any, Any]:
    """Lower a jitted function; return the lowering, and the jaxpr if JAX provides it.

    The method ``trace`` of a jitted function is public in 0.10.2 and 0.12.0; up to 0.4.30 there is
    none.

    Parameters
    ----------
    jitted : callable
        The function.
    arguments : sequence
        Its arguments.
    platform : str
        The target platform. By default, and always up to 0.4.30, the platform of the arguments'
        devices.
    """
    with _no_tracebacks():
        if not hasattr(jitted, "trace"):
            return jitted.lower(*arguments), None
        traced = jitted.trace(*arguments)
        options = {"lowering_platforms": (platform,)} if platform else {}
        return traced.lower(**options), traced.jaxpr


def _no_tracebacks() -> contextlib.AbstractContextManager[None]:
    """Make JAX omit source lines from locations, in this thread and block.

    ``traceback_in_locations_limit`` of jax._src.config is the thread-local form of the public
    ``jax_traceback_in_locations_limit`` (0.4.30, 0.10.2, 0.12.0). 0.4.13 and 0.4.23 write one
    source line and have no such setting. The locations are removed later in any case; this saves
    time.
    """
    limit = getattr(
        importlib.import_module("jax._src.config"), "traceback_in_locations_limit", None
    )
    return contextlib.nullcontext() if limit is None else limit(0)


def is_listening(listener: Any) -> bool:
    """Return whether a duration listener is registered with jax.monitoring; True if unknown.

    ``get_event_duration_listeners`` of _src/monitoring.py (jax 0.4.23, 0.4.30, 0.10.2, 0.12.0).
    0.4.13 has only the list of listeners.
    """
    monitoring: Any = importlib.import_module("jax._src.monitoring")
    if hasattr(monitoring, "get_event_duration_listeners"):
        return listener in monitoring.get_event_duration_listeners()
    return listener in getattr(monitoring, "_event_duration_secs_listeners", [listener])


def numba_events() -> Any:
    """Return numba's event module if numba is imported, otherwise None; this never imports numba.

    ``numba.core.event`` is public; numba 0.53 to 0.68.
    """
    return sys.modules.get("numba.core.event")


def names_are_in_cache_keys() -> bool:
    """Return whether the keys of the persistent cache contain op names.

    They do only if ``jax_compilation_cache_include_metadata_in_key`` is set, which is public from
    0.4.13 to 0.12.0. Otherwise JAX strips them (_src/compilation_cache.py in 0.4.13,
    _src/cache_key.py later).
    """
    import jax

    return bool(getattr(jax.config, "jax_compilation_cache_include_metadata_in_key", False))


def persistent_cache_minimum() -> float | None:
    """Return how many seconds a compilation must take for JAX's persistent cache to keep it.

    None if the cache is not in use. The settings are public: the minimum from 0.4.13 to 0.12.0 (1 s
    by default), the folder from 0.4.23 on. 0.4.13 has a function that sets the folder instead.
    """
    import jax

    if not getattr(jax.config, "jax_enable_compilation_cache", True):
        return None
    if not getattr(jax.config, "jax_compilation_cache_dir", None):
        return None
    return float(getattr(jax.config, "jax_persistent_cache_min_compile_time_secs", 1.0))


def backend_compile_name() -> str:
    """Return the name of JAX's function that calls XLA's compiler after a miss of JAX's cache.

    ``backend_compile`` on 0.4.13, 0.4.23, 0.4.30; ``backend_compile_and_load`` from 0.6.2 on (seen
    in 0.10.2, 0.12.0), where ``backend_compile`` still exists but is unused.
    """
    names = ("backend_compile_and_load", "backend_compile")
    compiler = take("compiler")
    for name in names:
        if hasattr(compiler, name):
            return name
    raise PrivateNameMissing("XLA's compile function", [f"{compiler.__name__}.{n}" for n in names])


def dump_settings(options: CompileOptions) -> dict[str, str | bool]:
    """Return XLA's dump settings in the options of one compilation.

    Their defaults come from ``XLA_FLAGS``. XLA's debug options have an attribute for each setting
    from 0.4.23 on. On 0.4.13 they have none, but their repr has one line for each setting.
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
            # protobuf's text format writes a C string literal, which Python parses as bytes.
            found[name] = ast.literal_eval(f"b{value}").decode(errors="surrogateescape")
    return found


def set_dump_settings(options: CompileOptions, settings: Mapping[str, str | bool]) -> None:
    """Set XLA's dump settings in the options of one compilation, in place.

    Attributes are used where they exist. XLA reads them first, and then also writes the files that
    a compilation's own options request (0.10.2, 0.12.0). On 0.4.13 overrides are used, which set
    any option by name.
    """
    debug = options.executable_build_options.debug_options
    if hasattr(debug, "xla_dump_to"):
        for name, value in settings.items():
            setattr(debug, name, value)
    else:
        options.env_option_overrides = [*options.env_option_overrides, *settings.items()]


def option_overrides(options: CompileOptions) -> set[str]:
    """Return the names of the XLA options that ``compiler_options`` of a jit set.

    These options take precedence over the attributes.
    """
    return {str(name) for name, _ in options.env_option_overrides}


def executable_fingerprint(executable: Executable) -> str:
    """Return XLA's digest of an executable's optimised HLO; empty if there is none.

    ``fingerprint`` is public on 0.10.2 and 0.12.0, where it also depends on passes that the
    module's own ``compiler_options`` disable; None on 0.4.13, 0.4.23 and 0.4.30.
    """
    fingerprint = getattr(executable, "fingerprint", None)
    return fingerprint.hex() if isinstance(fingerprint, bytes) else ""


def optimized_hlo(executable: Executable) -> str:
    """Print an executable's optimised HLO without eliding constants."""
    return "\n".join(bindings.hlo_text(module) for module in executable.hlo_modules())


def executable_cost(executable: Executable) -> dict[str, float]:
    """Return XLA's cost analysis: flops, transcendentals, bytes accessed."""
    cost = executable.cost_analysis()
    names = ("flops", "transcendentals", "bytes accessed", "optimal_seconds")
    return {name: float(cost[name]) for name in names if name in cost}


def executable_memory(executable: Executable) -> dict[str, int]:
    """Return the sizes in bytes of an executable's code and buffers.

    Sizes that XLA's CPU compiler does not fill in are omitted: the sizes of buffers on 0.4.13 and
    0.4.23, the size of the code on 0.10.2 and 0.12.0.
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
