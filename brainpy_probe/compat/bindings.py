"""The only home of jaxlib's version facts: its MLIR bindings, XLA's parsers, printers and passes.

Knows what stands where in which version, and where that was seen; never what it is used for, and
no JAX: jaxlib alone is enough.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import re
import sys
from importlib import metadata
from typing import Any

from brainpy_probe.compat import lookup
from brainpy_probe.compat.lookup import NAMES, PrivateName

__all__ = ["take"]

NAMES.update(
    {
        "mlir": PrivateName(
            "jaxlib's MLIR bindings",
            ("jaxlib.mlir.ir:",),
            "jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0",
        ),
        "mlir-passes": PrivateName(
            "MLIR's pass manager",
            ("jaxlib.mlir.passmanager:PassManager",),
            "jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0",
        ),
        "mlir-dialects": PrivateName(
            "what registers MLIR's own dialects",
            (
                "jaxlib.mlir._mlir_libs._jax_mlir_ext:register_dialects",
                "jaxlib.mlir._mlir_libs.register_jax_dialects:register_dialects",
                "jaxlib.mlir._mlir_libs._site_initialize_0:register_dialects",
            ),
            "jaxlib 0.10.2, 0.12.0: _jax_mlir_ext; 0.4.23, 0.4.30: register_jax_dialects; 0.4.13: "
            "_site_initialize_0, of which every context knows already",
        ),
        "mhlo": PrivateName(
            "XLA's MHLO dialect and passes",
            ("jaxlib.mlir._mlir_libs._mlirHlo:",),
            "jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: register_mhlo_dialect, "
            "register_mhlo_passes; of the passes stablehlo-legalize-to-hlo, "
            "hlo-legalize-to-stablehlo "
            "and chlo-legalize-to-hlo",
        ),
        "stablehlo": PrivateName(
            "the StableHLO dialect",
            ("jaxlib.mlir.dialects.stablehlo:",),
            "jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: get_current_version",
        ),
        "xla-mlir": PrivateName(
            "XLA's translations between MLIR dialects",
            ("jaxlib._jax:mlir", "jaxlib.xla_extension:mlir"),
            "jaxlib 0.10.2, 0.12.0: _jax; 0.4.13, 0.4.23, 0.4.30: xla_extension. "
            "mlir_module_to_xla_computation, xla_computation_to_mlir_module, "
            "serialize_portable_artifact, deserialize_portable_artifact",
        ),
        "hlo": PrivateName(
            "XLA's HLO parser and printer",
            ("jaxlib._hlo:", "jaxlib.xla_extension:"),
            "jaxlib 0.10.2, 0.12.0: _hlo; 0.4.13, 0.4.23, 0.4.30: xla_extension. "
            "hlo_module_from_text, HloPrintOptions",
        ),
        "profiler": PrivateName(
            "XLA's profiler",
            ("jaxlib._profiler:",),
            "jaxlib 0.10.2, 0.12.0: ProfilerSession, ProfileOptions; up to 0.4.30 nothing reads "
            "what xla_extension.profiler writes",
            era="brainstate",
            optional=True,
        ),
        "profile-data": PrivateName(
            "the reader of what XLA's profiler wrote",
            ("jaxlib._profile_data:",),
            "jaxlib 0.10.2, 0.12.0: ProfileData, which is jax.profiler.ProfileData",
            era="brainstate",
            optional=True,
        ),
        "cost": PrivateName(
            "XLA's estimate of a program's cost",
            (
                "jaxlib._jax:hlo_module_cost_analysis",
                "jaxlib.xla_extension:hlo_module_cost_analysis",
            ),
            "jaxlib 0.10.2, 0.12.0: _jax; 0.4.13, 0.4.23, 0.4.30: xla_extension",
        ),
        "client": PrivateName(
            "XLA's client, which compiles and runs",
            ("jaxlib.xla_client:",),
            "jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: make_cpu_client, CompileOptions; what "
            "else differs from one to the other stands in execution.py",
        ),
    }
)


@functools.cache
def _leave_information_out() -> None:
    """Have XLA leave out its information lines, as JAX does when it is imported.

    Once and for good, as JAX does: a variable that is set and taken back is another thread's, too.
    """
    if sys.modules.get("jax") is None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


def take(name: str) -> Any:
    """Return the object that an entry of the table describes, as :func:`.lookup.take` does."""
    _leave_information_out()
    return lookup.take(name)


def other_version(written: str) -> str:
    """Return nothing if jaxlib is of this version, else a remark that tells of both."""
    here = metadata.version("jaxlib")
    return "" if here == written else f"written with jaxlib {written}, read with {here}"


# --- MLIR -----------------------------------------------------------------------------------------


def mlir_context() -> Any:
    """Return a fresh context that knows StableHLO, CHLO, MHLO, Shardy (if any) and MLIR's own.

    As ``make_ir_context`` of jax/_src/interpreters/mlir.py builds it, without JAX; that of 0.12.0
    gives out one context ten times. ``register_stablehlo_passes`` is absent on 0.4.13, 0.4.23 and
    0.4.30, the dialects sdy and mpmd likewise.
    """
    ir, mhlo = take("mlir"), take("mhlo")
    context, registry = ir.Context(), ir.DialectRegistry()
    take("mlir-dialects")(registry)
    context.append_dialect_registry(registry)
    context.enable_multithreading(False)  # else each context keeps a pool of threads alive
    # MLIR prints to stderr what we report ourselves, stack and all.
    context.attach_diagnostic_handler(lambda _: True)
    # Known, but loaded only with the first of its operations: most programs have StableHLO alone.
    mhlo.register_mhlo_dialect(context, load=False)
    for name in ("chlo", "stablehlo", "sdy", "mpmd"):
        with contextlib.suppress(ModuleNotFoundError):
            dialect = importlib.import_module(f"jaxlib.mlir.dialects.{name}")
            dialect.register_dialect(context, load=False)
    # Passes are registered once for the process; doing it again changes nothing.
    mhlo.register_mhlo_passes()
    getattr(take("stablehlo"), "register_stablehlo_passes", lambda: None)()
    return context


def mlir_is(thing: Any, kind: str) -> bool:
    """Whether an MLIR value or attribute is of a kind.

    ``cls.isinstance`` from 0.4.13 to 0.10.2; gone in 0.12.0, whose objects are of their own class.
    """
    cls = getattr(take("mlir"), kind)
    return isinstance(thing, cls) or (hasattr(cls, "isinstance") and bool(cls.isinstance(thing)))


def mlir_attributes(operation: Any) -> dict[str, Any]:
    """Return an operation's attributes by name.

    By number: going through them gives their names on 0.10.2 and 0.12.0, named attributes on
    0.4.13, 0.4.23 and 0.4.30.
    """
    given = operation.attributes
    return {given[n].name: given[n].attr for n in range(len(given))}


def parse_mlir(source: str | bytes, context: Any) -> Any:
    """Parse MLIR text or bytecode, and verify it, as the parser does itself from 0.4.13 on."""
    return take("mlir").Module.parse(source, context)


def read_mlir(content: bytes) -> Any:
    """Read a StableHLO module from VHLO bytecode or text, in a context of its own."""
    if is_bytecode(content):
        return read_portable_bytecode(content, mlir_context())
    return parse_mlir(content, mlir_context())


def mlir_text(module: Any, elements: int | None = None, *, locations: bool = False) -> str:
    """Print a module; constants of more elements are elided, if that is given.

    Locations stand behind each operation, ``loc("~E2E.comm/mul")``.
    """
    return str(
        module.operation.get_asm(
            large_elements_limit=elements, enable_debug_info=locations, use_local_scope=locations
        )
    )


def has_locations(text: str) -> bool:
    """Whether a module's text was printed with locations."""
    return re.search(r' loc\((?:unknown|".*")\)$', text, re.MULTILINE) is not None


def mlir_bytecode(module: Any) -> bytes:
    """Write a module as MLIR bytecode, locations and names included."""
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def is_bytecode(content: bytes) -> bool:
    """Whether a module is MLIR's bytecode, VHLO or other; else it is text."""
    return content.startswith(b"ML\xefR")


def run_passes(module: Any, pipeline: str) -> None:
    """Run a pass pipeline over a module, in place."""
    with module.context:
        take("mlir-passes").parse(f"builtin.module({pipeline})").run(module.operation)


def run_pass_if_any(module: Any, pipeline: str) -> bool:
    """Run a pass over a module, in place, if it is registered; say whether it is.

    ``strip-debuginfo`` is not on 0.4.13, others not on 0.4.x.
    """
    with module.context:
        try:
            passes = take("mlir-passes").parse(f"builtin.module({pipeline})")
        except ValueError:
            return False
        passes.run(module.operation)
    return True


def without_locations(module: Any) -> Any:
    """Return a module with no trace of where it was made: itself, changed in place, or a copy.

    Where there is no pass for it (0.4.13), the copy's locations are the lines of its own text.
    """
    if run_pass_if_any(module, "strip-debuginfo"):
        return module
    return parse_mlir(mlir_text(module), module.context)


def chlo_to_stablehlo(module: Any) -> None:
    """Decompose CHLO operations, in place.

    0.4.13, 0.4.23 and 0.4.30 have no pass for it; there ``portable_bytecode`` takes them.
    """
    run_pass_if_any(module, "func.func(chlo-legalize-to-stablehlo)")


def portable_bytecode(module: Any) -> bytes:
    """Serialise a StableHLO module as VHLO bytecode of the current StableHLO version.

    By XLA's own entry, which takes the module on 0.10.2 and 0.12.0, its bytecode where there is
    ``jaxlib.xla_extension`` (0.4.13, 0.4.23, 0.4.30). The one in
    ``jaxlib.mlir.dialects.stablehlo`` refuses LAPACK's typed calls (0.10.2, 0.12.0), or ends the
    process (0.4.13, 0.4.23, 0.4.30): "LLVM ERROR: Trying to register different dialects for the
    same namespace: builtin".
    """
    version = take("stablehlo").get_current_version()
    given = mlir_bytecode(module) if _has_xla_extension() else module
    with module.context:
        return bytes(take("xla-mlir").serialize_portable_artifact(given, version))


def read_portable_bytecode(content: bytes, context: Any) -> Any:
    """Read VHLO bytecode back as a StableHLO module; ``jaxlib.xla_extension`` gives its text."""
    deserialise = take("xla-mlir").deserialize_portable_artifact
    if _has_xla_extension():
        return parse_mlir(deserialise(content), context)
    return deserialise(content, context)


def as_stablehlo(kind: str, content: bytes) -> bytes:
    """Return a program in a form that XLA compiles: StableHLO text, or the VHLO that was given.

    Text in MHLO and HLO is translated. The results' bits stay: what MHLO has an operation for and
    StableHLO has none, such as erf, becomes a call that XLA knows (0.4.13 to 0.12.0).

    Parameters
    ----------
    kind : str
        ``stablehlo``, ``mhlo``, ``hlo`` or ``vhlo``.
    content : bytes
        The program.
    """
    if kind == "mhlo":
        module = parse_mlir(content.decode(), mlir_context())
        run_passes(module, "hlo-legalize-to-stablehlo")
        return mlir_text(module, locations=True).encode()
    if kind == "hlo":
        proto = parse_hlo(content.decode()).as_serialized_hlo_module_proto()
        computation = take("hlo").XlaComputation(proto)
        made = take("xla-mlir").xla_computation_to_mlir_module(computation)
        return made.encode() if isinstance(made, str) else bytes(made)
    return content


def _has_xla_extension() -> bool:
    return importlib.util.find_spec("jaxlib.xla_extension") is not None


# --- HLO ------------------------------------------------------------------------------------------


def hlo_of(module: Any) -> Any:
    """Translate a StableHLO module to an HLO module."""
    translate = take("xla-mlir").mlir_module_to_xla_computation
    return translate(mlir_bytecode(module)).get_hlo_module()


def hlo_text(module: Any) -> str:
    """Print an HLO module, no constant elided."""
    options = take("hlo").HloPrintOptions()
    options.print_large_constants = True
    return str(module.to_string(options))


def hlo_canonical_text(module: Any) -> str:
    """Print an HLO module so that two modules of one computation print alike."""
    options = take("hlo").HloPrintOptions.canonical()
    options.canonicalize_computations = True
    options.print_large_constants = True
    options.print_backend_config = True
    options.print_metadata = False
    # XLA's parser keeps the computations in another order, and on 0.4.23 and 0.4.30
    # canonicalize_computations does not sort them. Empty lines part them; their names survive.
    head, *computations = str(module.to_string(options)).strip().split("\n\n")
    return "\n\n".join([head, *sorted(computations)])


def parse_hlo(text: str) -> Any:
    """Parse HLO text with XLA's own parser."""
    return take("hlo").hlo_module_from_text(text)


def hlo_from_proto(content: bytes) -> Any:
    """Make an HLO module of its protocol buffer; XLA checks it."""
    return take("hlo").HloModule.from_serialized_hlo_module_proto(content)


def hlo_types(module: Any) -> tuple[list[str], list[str]]:
    """Return the types of an HLO module's parameters and results, without their layouts.

    ``XlaComputation`` stands where the parser does; ``str`` of a shape is ``f32[20]{0}``.
    """
    computation = take("hlo").XlaComputation(module.as_serialized_hlo_module_proto())
    shape = computation.program_shape()
    result = shape.result_shape()
    results = result.tuple_shapes() if result.is_tuple() else [result]
    given = [_without_layout(one) for one in shape.parameter_shapes()]
    return given, [_without_layout(one) for one in results]


def _without_layout(shape: Any) -> str:
    return str(shape).partition("{")[0]
