"""What a compiled module is: text, optimised HLO, cost, custom calls; knows no call, no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brainpy_probe.compat import bindings, jax_compiler
from brainpy_probe.errors import first_line
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.records import ModuleFacts
from brainpy_probe.ir import mlir
from brainpy_probe.recording.modules.compilation import Compilation

__all__ = ["ModuleTexts", "bare", "facts"]


@dataclass(frozen=True)
class ModuleTexts:
    """The texts of a module.

    Attributes
    ----------
    stablehlo : str
        StableHLO to read: constants of more than 16 elements are cut.
    hlo : str
        The optimised HLO, complete; empty if it can't be had.
    """

    stablehlo: str
    hlo: str


def facts(compilation: Compilation) -> tuple[ModuleFacts, ModuleTexts]:
    """Read what a compilation's module and executable tell."""
    module = bindings.parse_mlir(compilation.bytecode, bindings.mlir_context())
    text = _HEADER + bindings.mlir_text(module, mlir.READABLE_ELEMENTS)
    operations = tuple(mlir.operations(module))
    calls = mlir.custom_calls(operations)
    large = mlir.large_constants(operations)
    module = _bared(module, calls)
    notes: list[str] = []

    def had(what: str, get: Callable[[Any], Any], otherwise: Any) -> Any:
        try:
            return get(compilation.executable)
        except Exception as error:
            notes.append(f"XLA gives no {what}: {first_line(error)}")
            return otherwise

    texts = ModuleTexts(text, had("optimised HLO", jax_compiler.optimized_hlo, ""))
    made = ModuleFacts(
        name=compilation.name,
        backend=compilation.backend,
        fingerprint=digest_of(bindings.mlir_bytecode(module)),
        arguments=mlir.argument_types(module),
        cost=had("cost analysis", jax_compiler.executable_cost, {}),
        memory=had("memory analysis", jax_compiler.executable_memory, {}),
        custom_calls=tuple(calls),
        large_constants=sum(size for _, size in large),
        notes=tuple(notes),
    )
    return made, texts


_HEADER = f"""// To be read: constants of more than {mlir.READABLE_ELEMENTS} elements are cut.
// The complete module is module.mlirbc beside this file.
"""


def bare(bytecode: bytes) -> Any:
    """Return a module for comparison: locations, names and addresses left out."""
    module = bindings.parse_mlir(bytecode, bindings.mlir_context())
    return _bared(module, mlir.custom_calls(tuple(mlir.operations(module))))


def _bared(module: Any, custom_calls: dict[str, list[Any]]) -> Any:
    _forget_names(module)
    _forget_addresses(module, custom_calls)
    # Last: on JAX 0.4.13 each operation's location is then its place in the text, names and all.
    return bindings.without_locations(module)


def _forget_names(module: Any) -> None:
    """Take the names of main's arguments and results out, in place: they are no part of what runs.

    JAX 0.4.13 names each argument; with BrainPy 2.3.8 that is a Variable's name, which counts the
    models made so far.
    """
    ir = bindings.take("mlir")
    attributes = mlir.main(module).operation.attributes
    with module.context:
        for kind, info in (("arg_attrs", "jax.arg_info"), ("res_attrs", "jax.result_info")):
            if kind in attributes:
                attributes[kind] = ir.ArrayAttr.get(
                    [
                        ir.DictAttr.get(
                            {one.name: one.attr for one in ir.DictAttr(entry) if one.name != info}
                        )
                        for entry in ir.ArrayAttr(attributes[kind])
                    ]
                )


def _forget_addresses(module: Any, custom_calls: dict[str, list[Any]]) -> None:
    """Take the addresses of Python callbacks out, in place: no two functions have the same.

    JAX 0.4.30 writes one into the call and into the constant that it takes first
    (_src/interpreters/mlir.py: emit_python_callback); today's write a number instead.
    """
    ir = bindings.take("mlir")
    with module.context:
        for target, calls in custom_calls.items():
            for call in calls if mlir.is_callback(target) else ():
                address = str(bindings.mlir_attributes(call).get("backend_config", "")).strip('"')
                if not address.isdecimal():
                    continue
                call.attributes["backend_config"] = ir.StringAttr.get("")
                for operand in call.operands:
                    maker = mlir.maker(operand)
                    if maker is not None and f"dense<{address}>" in str(maker):
                        kind = operand.type
                        maker.attributes["value"] = ir.Attribute.parse(f"dense<0> : {kind}")
