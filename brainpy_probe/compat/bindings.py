"""jaxlib's MLIR bindings and XLA's parsers, printers and passes, across versions.

These functions need only jaxlib, not JAX. Each names the versions in which a fact was seen.
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
from typing import TYPE_CHECKING, Any, TypeAlias

from brainpy_probe.compat import lookup
from brainpy_probe.compat.lookup import NAMES, PrivateName

if TYPE_CHECKING:
    from jaxlib import _hlo
    from jaxlib.mlir import ir as _ir

    HloModule: TypeAlias = _hlo.HloModule
    MlirAttribute: TypeAlias = _ir.Attribute
    MlirBlock: TypeAlias = _ir.Block
    MlirContext: TypeAlias = _ir.Context
    MlirModule: TypeAlias = _ir.Module
    MlirOperation: TypeAlias = _ir.Operation
    MlirType: TypeAlias = _ir.Type
    MlirValue: TypeAlias = _ir.Value

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
            "the function that registers MLIR's own dialects",
            (
                "jaxlib.mlir._mlir_libs._jax_mlir_ext:register_dialects",
                "jaxlib.mlir._mlir_libs.register_jax_dialects:register_dialects",
                "jaxlib.mlir._mlir_libs._site_initialize_0:register_dialects",
            ),
            "jaxlib 0.10.2, 0.12.0: _jax_mlir_ext; 0.4.23, 0.4.30: register_jax_dialects; 0.4.13: "
            "_site_initialize_0, which every context already applies",
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
            "jaxlib 0.10.2, 0.12.0: ProfilerSession, ProfileOptions; up to 0.4.30 jaxlib has no "
            "reader for the output of xla_extension.profiler",
            era="brainstate",
            optional=True,
        ),
        "profile-data": PrivateName(
            "the reader of the XLA profiler's output",
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
            "XLA's client, which compiles and runs programs",
            ("jaxlib.xla_client:",),
            "jaxlib 0.4.13, 0.4.23, 0.4.30, 0.10.2, 0.12.0: make_cpu_client, CompileOptions; for "
            "other differences between versions see ir/executables/execution.py",
        ),
    }
)


@functools.cache
def _silence_xla_log() -> None:
    """Turn XLA's informational log lines off, as JAX does when it is imported.

    The variable stays set, as with JAX: unsetting it would affect other threads.
    """
    if sys.modules.get("jax") is None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")


def take(name: str) -> Any:
    """Return the object that an entry of the table describes, as :func:`.lookup.take` does."""
    _silence_xla_log()
    return lookup.take(name)


def version_remark(written: str) -> str:
    """Return a remark with both versions if a capture was written with another jaxlib."""
    installed = metadata.version("jaxlib")
    return "" if installed == written else f"written with jaxlib {written}, read with {installed}"


# --- MLIR -----------------------------------------------------------------------------------------


def mlir_context() -> MlirContext:
    """Return a new context with the dialects StableHLO, CHLO, MHLO, Shardy (if any) and MLIR's own.

    ``make_ir_context`` of jax/_src/interpreters/mlir.py does the same, but needs JAX; in 0.12.0 it
    returns each context ten times. ``register_stablehlo_passes`` and the dialects sdy and mpmd do
    not exist on 0.4.13, 0.4.23 and 0.4.30.
    """
    ir, mhlo = take("mlir"), take("mhlo")
    context, registry = ir.Context(), ir.DialectRegistry()
    take("mlir-dialects")(registry)
    context.append_dialect_registry(registry)
    context.enable_multithreading(False)  # otherwise each context keeps a thread pool alive
    # Without a handler MLIR prints each diagnostic to stderr, with a stack trace.
    context.attach_diagnostic_handler(lambda _: True)
    # Loaded with the first operation of the dialect: most programs contain only StableHLO.
    mhlo.register_mhlo_dialect(context, load=False)
    for name in ("chlo", "stablehlo", "sdy", "mpmd"):
        with contextlib.suppress(ModuleNotFoundError):
            dialect = importlib.import_module(f"jaxlib.mlir.dialects.{name}")
            dialect.register_dialect(context, load=False)
    # Passes are registered for the process. Registering them again has no effect.
    mhlo.register_mhlo_passes()
    getattr(take("stablehlo"), "register_stablehlo_passes", lambda: None)()
    return context


def mlir_is(value: Any, class_name: str) -> bool:
    """Return whether an MLIR value or attribute is an instance of a class of the bindings.

    ``cls.isinstance`` exists from 0.4.13 to 0.10.2. In 0.12.0 each object has its own class.
    """
    cls = getattr(take("mlir"), class_name)
    return isinstance(value, cls) or (hasattr(cls, "isinstance") and bool(cls.isinstance(value)))


def mlir_attributes(operation: MlirOperation) -> dict[str, Any]:
    """Return an operation's attributes by name.

    The attributes are accessed by index: iteration yields names on 0.10.2 and 0.12.0, but named
    attributes on 0.4.13, 0.4.23 and 0.4.30.
    """
    attributes = operation.attributes
    return {attributes[n].name: attributes[n].attr for n in range(len(attributes))}


def line_of(operation: MlirOperation) -> int:
    """Return the line of the text at which an operation was parsed; 0 if the text has locations.

    The parser gives an operation without a location its position in the text, ``loc("-":12:5)``
    (0.4.13 to 0.12.0).
    """
    found = re.match(r'loc\("-":(\d+):\d+', str(operation.location))
    return int(found[1]) if found else 0


def mlir_sizes(sizes: list[int]) -> Any:
    """Return the attribute in which StableHLO lists sizes, such as ``slice_sizes``.

    It is an array of integers from 0.4.23 on, and dense elements on 0.4.13.
    """
    parse = take("mlir").Attribute.parse
    if metadata.version("jaxlib") == "0.4.13":
        return parse(f"dense<{sizes}> : tensor<{len(sizes)}xi64>")
    return parse(f"array<i64: {', '.join(map(str, sizes))}>")


def parse_mlir(source: str | bytes, context: MlirContext) -> MlirModule:
    """Parse and verify MLIR text or bytecode; the parser itself verifies from 0.4.13 on."""
    return take("mlir").Module.parse(source, context)


def read_mlir(content: bytes) -> MlirModule:
    """Read a StableHLO module from VHLO bytecode or text, in a new context."""
    if is_bytecode(content):
        return read_portable_bytecode(content, mlir_context())
    return parse_mlir(content, mlir_context())


def mlir_text(module: MlirModule, elements: int | None = None, *, locations: bool = False) -> str:
    """Print a module; constants with more than ``elements`` elements are elided.

    With ``locations``, each operation is followed by its location, ``loc("~E2E.comm/mul")``.
    """
    return str(
        module.operation.get_asm(
            large_elements_limit=elements, enable_debug_info=locations, use_local_scope=locations
        )
    )


def has_locations(text: str) -> bool:
    """Return whether a module's text was printed with locations."""
    return re.search(r' loc\((?:unknown|".*")\)$', text, re.MULTILINE) is not None


def mlir_bytecode(module: MlirModule) -> bytes:
    """Return a module as MLIR bytecode, with locations and names."""
    buffer = io.BytesIO()
    module.operation.write_bytecode(buffer)
    return buffer.getvalue()


def is_bytecode(content: bytes) -> bool:
    """Return whether a module's content is MLIR bytecode, VHLO or other; otherwise it is text."""
    return content.startswith(b"ML\xefR")


def run_passes(module: MlirModule, pipeline: str) -> None:
    """Run a pass pipeline over a module, in place."""
    with module.context:
        take("mlir-passes").parse(f"builtin.module({pipeline})").run(module.operation)


def run_pass_if_any(module: MlirModule, pipeline: str) -> bool:
    """Run a pass over a module, in place, if it is registered; return whether it is.

    ``strip-debuginfo`` is missing on 0.4.13, other passes on 0.4.x.
    """
    with module.context:
        try:
            passes = take("mlir-passes").parse(f"builtin.module({pipeline})")
        except ValueError:
            return False
        passes.run(module.operation)
    return True


def without_locations(module: MlirModule) -> MlirModule:
    """Return a module without source locations.

    The module is changed in place and returned. 0.4.13 has no pass for this: there the result is a
    copy, and its locations are line numbers of its own text.
    """
    if run_pass_if_any(module, "strip-debuginfo"):
        return module
    return parse_mlir(mlir_text(module), module.context)


def chlo_to_stablehlo(module: MlirModule) -> None:
    """Decompose CHLO operations, in place.

    0.4.13, 0.4.23 and 0.4.30 have no pass for it. There ``portable_bytecode`` accepts CHLO.
    """
    run_pass_if_any(module, "func.func(chlo-legalize-to-stablehlo)")


def portable_bytecode(module: MlirModule) -> bytes:
    """Serialise a StableHLO module as VHLO bytecode of the current StableHLO version.

    This uses XLA's function, which takes the module on 0.10.2 and 0.12.0, and its bytecode on
    versions with ``jaxlib.xla_extension`` (0.4.13, 0.4.23, 0.4.30). The function of the same name
    in ``jaxlib.mlir.dialects.stablehlo`` refuses LAPACK's typed calls (0.10.2, 0.12.0), or ends the
    process (0.4.13, 0.4.23, 0.4.30): "LLVM ERROR: Trying to register different dialects for the
    same namespace: builtin".
    """
    version = take("stablehlo").get_current_version()
    source = mlir_bytecode(module) if _has_xla_extension() else module
    with module.context:
        return bytes(take("xla-mlir").serialize_portable_artifact(source, version))


def read_portable_bytecode(content: bytes, context: MlirContext) -> MlirModule:
    """Read VHLO bytecode as a StableHLO module."""
    deserialise = take("xla-mlir").deserialize_portable_artifact
    if _has_xla_extension():
        return parse_mlir(deserialise(content), context)
    return deserialise(content, context)


def as_stablehlo(kind: str, content: bytes) -> bytes:
    """Convert a program to a form that XLA compiles: StableHLO text, or the unchanged VHLO.

    MHLO and HLO text is translated. The bits of the results stay the same: an operation that MHLO
    has and StableHLO lacks, such as erf, becomes a custom call that XLA implements (0.4.13 to
    0.12.0).

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
        stablehlo = take("xla-mlir").xla_computation_to_mlir_module(computation)
        return stablehlo.encode() if isinstance(stablehlo, str) else bytes(stablehlo)
    return content


def _has_xla_extension() -> bool:
    return importlib.util.find_spec("jaxlib.xla_extension") is not None


# --- HLO ------------------------------------------------------------------------------------------


def hlo_of(module: MlirModule) -> HloModule:
    """Translate a StableHLO module to an HLO module."""
    translate = take("xla-mlir").mlir_module_to_xla_computation
    return translate(mlir_bytecode(module)).get_hlo_module()


def hlo_text(module: HloModule) -> str:
    """Print an HLO module without eliding constants."""
    options = take("hlo").HloPrintOptions()
    options.print_large_constants = True
    return str(module.to_string(options))


def hlo_canonical_text(module: HloModule) -> str:
    """Print an HLO module so that two modules with the same computations print the same text."""
    options = take("hlo").HloPrintOptions.canonical()
    options.canonicalize_computations = True
    options.print_large_constants = True
    options.print_backend_config = True
    options.print_metadata = False
    # XLA's parser keeps the computations in a different order, and on 0.4.23 and 0.4.30
    # canonicalize_computations does not sort them. They are separated by empty lines, and keep
    # their names.
    head, *computations = str(module.to_string(options)).strip().split("\n\n")
    return "\n\n".join([head, *sorted(computations)])


def parse_hlo(text: str) -> HloModule:
    """Parse HLO text with XLA's own parser."""
    return take("hlo").hlo_module_from_text(text)


def hlo_from_proto(content: bytes) -> HloModule:
    """Build an HLO module from its protocol buffer; XLA validates it."""
    return take("hlo").HloModule.from_serialized_hlo_module_proto(content)


def hlo_types(module: HloModule) -> tuple[list[str], list[str]]:
    """Return the types of an HLO module's parameters and results, without their layouts.

    ``XlaComputation`` is in the same module as the parser. ``str`` of a shape is ``f32[20]{0}``.
    """
    computation = take("hlo").XlaComputation(module.as_serialized_hlo_module_proto())
    shape = computation.program_shape()
    result = shape.result_shape()
    results = result.tuple_shapes() if result.is_tuple() else [result]
    parameters = [_without_layout(parameter) for parameter in shape.parameter_shapes()]
    return parameters, [_without_layout(result) for result in results]


def _without_layout(shape: Any) -> str:
    return str(shape).partition("{")[0]
