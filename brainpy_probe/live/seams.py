"""The only home of version facts: each private name of BrainPy, JAX and jaxlib that is touched.

Knows what stands where in which version, and where that was seen; never what it is used for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from brainpy_probe.errors import SeamMissing

__all__ = ["MONITOR_TAKER", "SEAMS", "TESTED", "Seam", "take", "taken_from"]


@dataclass(frozen=True)
class Seam:
    """A name that the probe takes from another library.

    Parameters
    ----------
    what : str
        What it is, for error messages.
    places : tuple of str
        Where it may be, as ``module:attribute``, in the order in which they are tried.
    holds : str
        The versions for which this holds, and where that was seen.
    """

    what: str
    places: tuple[str, ...]
    holds: str


SEAMS: dict[str, Seam] = {
    "runner": Seam(
        "BrainPy's DSRunner",
        ("brainpy:DSRunner",),
        "public; brainpy 2.8.2, 2.9.0: brainpy/runners.py",
    ),
    "stateful-function": Seam(
        "brainstate's StatefulFunction",
        ("brainstate.transform:StatefulFunction",),
        "public; brainstate 0.5.4, 0.6.0: transform/_make_jaxpr.py. Every loop and every jit of "
        "BrainPy from 2.7 on makes its jaxpr in StatefulFunction.make_jaxpr",
    ),
    "scan": Seam(
        "jax.lax.scan",
        ("jax.lax:scan",),
        "public; brainstate 0.5.4, 0.6.0: transform/_loop_collect_return.py calls it by attribute",
    ),
    "state": Seam("brainstate's State", ("brainstate:State",), "public; brainstate 0.5.4, 0.6.0"),
    "array": Seam("BrainPy's Array", ("brainpy.math:Array",), "public; brainpy 2.8.2, 2.9.0"),
    "random-state": Seam(
        "the random state that BrainPy draws from",
        ("brainstate.random:DEFAULT",),
        "public; brainstate 0.5.4, 0.6.0. brainpy.math.random.DEFAULT is the same object",
    ),
    "progress-bar": Seam(
        "brainstate's ProgressBar",
        ("brainstate.transform:ProgressBar",),
        "public; brainstate 0.5.4, 0.6.0: transform/_progress_bar.py",
    ),
    "environment": Seam(
        "the store behind bp.share",
        ("brainstate:environ",),
        "public; brainpy 2.8.2, 2.9.0: brainpy/context.py saves t, i and dt there",
    ),
    "environment-scope": Seam(
        "the scope in which bp.share saves",
        ("brainpy.math.defaults:env",),
        "brainpy 2.8.2, 2.9.0: brainpy/context.py",
    ),
    "compiler": Seam(
        "the module through which JAX compiles",
        ("jax._src.compiler:", "jax._src.dispatch:"),
        "jax 0.10.2, 0.12.0: _src/compiler.py, compile_or_get_cached (called by attribute from "
        "_src/interpreters/pxla.py, on a cache hit too) and below it backend_compile_and_load",
    ),
    "mlir": Seam("jaxlib's MLIR bindings", ("jaxlib.mlir:ir",), "jaxlib 0.10.2, 0.12.0"),
    "mlir-passes": Seam(
        "MLIR's pass manager",
        ("jaxlib.mlir.passmanager:PassManager",),
        "jaxlib 0.10.2, 0.12.0",
    ),
    "mlir-context": Seam(
        "a fresh MLIR context with JAX's dialects",
        ("jax._src.interpreters.mlir:make_ir_context",),
        "jax 0.10.2, 0.12.0: _src/interpreters/mlir.py",
    ),
    "mhlo": Seam(
        "XLA's MHLO dialect and passes",
        ("jaxlib.mlir._mlir_libs._mlirHlo:",),
        "jaxlib 0.10.2, 0.12.0: register_mhlo_dialect, register_mhlo_passes",
    ),
    "stablehlo": Seam(
        "the StableHLO dialect",
        ("jaxlib.mlir.dialects.stablehlo:",),
        "jaxlib 0.10.2, 0.12.0: serialize_portable_artifact, register_stablehlo_passes",
    ),
    "stablehlo-to-hlo": Seam(
        "XLA's translation of StableHLO to HLO",
        ("jaxlib._jax:mlir.mlir_module_to_xla_computation",),
        "jaxlib 0.10.2, 0.12.0",
    ),
    "hlo": Seam(
        "XLA's HLO parser and printer",
        ("jaxlib._hlo:",),
        "jaxlib 0.10.2, 0.12.0: hlo_module_from_text, HloPrintOptions",
    ),
}


@functools.cache
def take(name: str) -> Any:
    """Return what a seam names, from the first place that has it.

    Raises
    ------
    SeamMissing
        With each place that was tried, if none has it.
    """
    seam = SEAMS[name]
    tried = []
    for place in seam.places:
        try:
            return _at(place)
        except (ImportError, AttributeError) as error:
            tried.append(f"{place.rstrip(':')} ({error})")
    raise SeamMissing(seam.what, tried)


def taken_from(name: str) -> str:
    """Return the place from which :func:`take` takes a seam.

    Raises
    ------
    SeamMissing
        With each place that was tried, if none has it.
    """
    found = take(name)
    for place in SEAMS[name].places:
        with contextlib.suppress(ImportError, AttributeError):
            if _at(place) is found:
                return place.rstrip(":")
    raise SeamMissing(SEAMS[name].what, SEAMS[name].places)


def _at(place: str) -> Any:
    module, _, attribute = place.partition(":")
    found: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found


# --- BrainPy 2.8.2, 2.9.0: brainpy/runners.py -------------------------------------------------


# The method to which a memory_efficient step hands its monitors.
MONITOR_TAKER = "_step_mon_on_cpu"


def compiles_its_step(runner: Any) -> bool:
    """Whether a runner traces its loop or its step itself: not with ``jit=False``.

    Read from ``DSRunner._fun_predict``; JAX's own ``jax_disable_jit`` has the same effect.
    """
    import jax

    return bool(runner.jit["predict"]) and not jax.config.jax_disable_jit


def step_function(runner: Any) -> Any:
    """Return the function of one step, ``step(i, *xs, shared_args=) -> (outputs, monitors)``."""
    return runner._step_func_predict


def monitor_names(runner: Any) -> list[str]:
    """Return the names of a runner's monitors, in the order in which JAX flattens them."""
    return sorted(runner._monitors)


def iterated_inputs(runner: Any) -> list[list[Any]]:
    """Return the ``[Variable, iterator]`` entries from which each step takes one item."""
    inputs = runner._inputs
    if not isinstance(inputs, dict):
        return []
    return [entry for entries in inputs["iterated"].values() for entry in entries]


def is_written(states: Any) -> list[bool]:
    """Return for each state of a trace whether the trace writes it.

    The attribute is spelled ``been_writen`` (brainstate 0.5.4, 0.6.0: _state.py).
    """
    return list(states.been_writen)


# --- JAX: equations of a jaxpr, as jax.core.eval_jaxpr treats them -----------------------------


@contextlib.contextmanager
def equation_context(eqn: Any) -> Iterator[None]:
    """Restore the source line, the name stack and the settings under which an equation was made.

    ``eqn.ctx`` is missing up to 0.4.30 (_src/core.py).
    """
    from jax.extend import source_info_util

    source = eqn.source_info
    stack = source_info_util.current_name_stack() + source.name_stack
    settings = eqn.ctx.manager if hasattr(eqn, "ctx") else contextlib.nullcontext()
    with source_info_util.user_context(source.traceback, name_stack=stack), settings:
        yield


def bind_equation(eqn: Any, operands: Sequence[Any]) -> list[Any]:
    """Apply an equation's primitive.

    ``get_bind_params`` gives ``(functions, params)`` on 0.4.13, the parameters alone on 0.10.2
    and 0.12.0 (_src/core.py).
    """
    given = eqn.primitive.get_bind_params(eqn.params)
    functions, params = given if isinstance(given, tuple) else ((), given)
    outs = eqn.primitive.bind(*functions, *operands, **params)
    return list(outs) if eqn.primitive.multiple_results else [outs]


def scan_operands(params: dict[str, Any]) -> tuple[int, int]:
    """Return how many of a scan equation's operands are constants, and how many are its carry.

    ``num_consts`` and ``num_carry`` up to 0.10.2; in 0.12.0 ``ft_in`` holds the three groups
    (_src/lax/control_flow/loops.py).
    """
    if "num_consts" in params:
        return int(params["num_consts"]), int(params["num_carry"])
    constants, carry, _ = params["ft_in"].unpack()
    return len(list(constants)), len(list(carry))


# --- JAX: the compiler --------------------------------------------------------------------------


def backend_compile_name() -> str:
    """Return the name of the function in which XLA compiles, below JAX's persistent cache.

    ``backend_compile_and_load`` from 0.6.2 on; there ``backend_compile`` still exists, unused.
    """
    names = ("backend_compile_and_load", "backend_compile")
    compiler = take("compiler")
    for name in names:
        if hasattr(compiler, name):
            return name
    raise SeamMissing("XLA's compile function", [f"{compiler.__name__}.{n}" for n in names])


def debug_options(options: Any) -> Any:
    """Return XLA's debug options, where its dumps are set, of one compilation's options."""
    return options.executable_build_options.debug_options


def option_overrides(options: Any) -> set[str]:
    """Return the names of XLA's options that ``compiler_options`` of a jit set; they win."""
    return {str(name) for name, _ in options.env_option_overrides}


def optimized_hlo(executable: Any) -> str:
    """Print an executable's HLO, as it runs, no constant elided."""
    return "\n".join(hlo_text(module) for module in executable.hlo_modules())


def executable_cost(executable: Any) -> dict[str, float]:
    """Return XLA's cost analysis: flops, transcendentals, bytes accessed."""
    cost = executable.cost_analysis()
    names = ("flops", "transcendentals", "bytes accessed", "optimal_seconds")
    return {name: float(cost[name]) for name in names if name in cost}


def executable_memory(executable: Any) -> dict[str, int]:
    """Return the sizes, in bytes, of an executable's code and of its buffers."""
    stats = executable.get_compiled_memory_stats()
    names = {
        "code": "generated_code_size_in_bytes",
        "arguments": "argument_size_in_bytes",
        "outputs": "output_size_in_bytes",
        "aliases": "alias_size_in_bytes",
        "temporaries": "temp_size_in_bytes",
    }
    return {name: int(getattr(stats, field)) for name, field in names.items()}


# --- jaxlib: MLIR and HLO ---------------------------------------------------------------------


def mlir_context() -> Any:
    """Return a context of our own that knows StableHLO, CHLO, MHLO, Shardy and func."""
    mhlo = take("mhlo")
    context = take("mlir-context")()
    # MLIR prints to stderr what we report ourselves, stack and all.
    context.attach_diagnostic_handler(lambda _: True)
    mhlo.register_mhlo_dialect(context)
    # Passes are registered once for the process; doing it again changes nothing.
    mhlo.register_mhlo_passes()
    take("stablehlo").register_stablehlo_passes()
    return context


def mlir_is(thing: Any, kind: str) -> bool:
    """Whether an MLIR value or attribute is of a kind.

    ``cls.isinstance`` up to 0.10.2; gone in 0.12.0, whose objects are of their own class.
    """
    cls = getattr(take("mlir"), kind)
    return isinstance(thing, cls) or (hasattr(cls, "isinstance") and bool(cls.isinstance(thing)))


def parse_mlir(source: str | bytes, context: Any) -> Any:
    """Parse MLIR text or bytecode and verify it."""
    module = take("mlir").Module.parse(source, context)
    module.operation.verify()
    return module


def mlir_text(module: Any, elements: int | None = None) -> str:
    """Print a module without locations; constants of more elements are elided, if that is given."""
    return str(module.operation.get_asm(large_elements_limit=elements, enable_debug_info=False))


def mlir_bytecode(module: Any) -> bytes:
    """Write a module as MLIR bytecode, locations and names included."""
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def run_passes(module: Any, pipeline: str) -> None:
    """Run a pass pipeline over a module, in place."""
    with module.context:
        take("mlir-passes").parse(f"builtin.module({pipeline})").run(module.operation)


def portable_bytecode(module: Any) -> bytes:
    """Serialise a StableHLO module as VHLO bytecode of the current StableHLO version."""
    stablehlo = take("stablehlo")
    return bytes(stablehlo.serialize_portable_artifact(module, stablehlo.get_current_version()))


def read_portable_bytecode(content: bytes, context: Any) -> Any:
    """Read VHLO bytecode back as a StableHLO module."""
    return take("stablehlo").deserialize_portable_artifact(context, content)


def hlo_of(module: Any) -> Any:
    """Translate a StableHLO module to an HLO module."""
    return take("stablehlo-to-hlo")(mlir_bytecode(module)).get_hlo_module()


def hlo_text(module: Any) -> str:
    """Print an HLO module, no constant elided."""
    options = take("hlo").HloPrintOptions()
    options.print_large_constants = True
    return str(module.to_string(options))


def hlo_canonical_text(module: Any) -> str:
    """Print an HLO module so that two modules of one computation print alike."""
    options = take("hlo").HloPrintOptions.canonical()
    # XLA's parser keeps the computations in another order (0.12.0).
    options.canonicalize_computations = True
    options.print_large_constants = True
    options.print_metadata = False
    return str(module.to_string(options))


def parse_hlo(text: str) -> Any:
    """Parse HLO text with XLA's own parser."""
    return take("hlo").hlo_module_from_text(text)


# --- Tested stacks ------------------------------------------------------------------------------

# Name, BrainPy, JAX: the test suite passes on each.
TESTED: tuple[tuple[str, str, str], ...] = (
    ("2022", "2.3.8", "0.4.13"),
    ("2023", "2.4.6.post5", "0.4.23"),
    ("2024", "2.6.0", "0.4.30"),
    ("py311", "2.8.2", "0.10.2"),
    ("latest", "2.9.0", "0.12.0.1"),
)
