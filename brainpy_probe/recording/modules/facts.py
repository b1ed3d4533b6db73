"""Reads the facts of a compiled module: text, optimised HLO, cost, memory, custom calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brainpy_probe.compat import bindings, jax_compiler
from brainpy_probe.errors import first_line
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.manifest.records import ModuleFacts
from brainpy_probe.ir import mlir
from brainpy_probe.recording.modules.compilation import Compilation

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirModule

__all__ = ["ModuleTexts", "normalized", "read_facts"]

_HEADER = f"""// For reading: constants of over {mlir.READABLE_ELEMENTS} elements are shortened.
// module.mlirbc in this folder is the complete module.
"""


@dataclass(frozen=True)
class ModuleTexts:
    """The texts of a module.

    Attributes
    ----------
    stablehlo : str
        StableHLO for reading: constants of more than 16 elements are shortened.
    hlo : str
        The complete optimised HLO; empty if XLA does not provide it.
    """

    stablehlo: str
    hlo: str


def read_facts(compilation: Compilation) -> tuple[ModuleFacts, ModuleTexts]:
    """Read the facts and the texts of a compilation's module and executable."""
    module = bindings.parse_mlir(compilation.bytecode, bindings.mlir_context())
    text = _HEADER + bindings.mlir_text(module, mlir.READABLE_ELEMENTS)
    operations = tuple(mlir.operations(module))
    calls = mlir.custom_calls(operations)
    large = mlir.large_constants(operations)
    module = _normalize(module, calls)
    notes: list[str] = []

    def read(what: str, get: Callable[[Any], Any], default: Any) -> Any:
        try:
            return get(compilation.executable)
        except Exception as error:
            notes.append(f"XLA provides no {what}: {first_line(error)}")
            return default

    texts = ModuleTexts(text, read("optimised HLO", jax_compiler.optimized_hlo, ""))
    facts = ModuleFacts(
        name=compilation.name,
        backend=compilation.backend,
        fingerprint=digest_of(bindings.mlir_bytecode(module)),
        arguments=mlir.argument_types(module),
        cost=read("cost analysis", jax_compiler.executable_cost, {}),
        memory=read("memory analysis", jax_compiler.executable_memory, {}),
        custom_calls=tuple(calls),
        large_constants=sum(size for _, size in large),
        notes=tuple(notes),
    )
    return facts, texts


def normalized(bytecode: bytes) -> MlirModule:
    """Return a module without locations, argument names and addresses, for comparison."""
    module = bindings.parse_mlir(bytecode, bindings.mlir_context())
    return _normalize(module, mlir.custom_calls(tuple(mlir.operations(module))))


def _normalize(module: MlirModule, custom_calls: dict[str, list[Any]]) -> MlirModule:
    _remove_names(module)
    _remove_addresses(module, custom_calls)
    # Last, because on JAX 0.4.13 a location is then the operation's position in the text.
    return bindings.without_locations(module)


def _remove_names(module: MlirModule) -> None:
    """Remove the names of main's arguments and results, in place. They have no effect on the run.

    JAX 0.4.13 names each argument. With BrainPy 2.3.8 this is the Variable's name, which contains a
    counter of the models created so far.
    """
    ir = bindings.take("mlir")
    attributes = mlir.main(module).operation.attributes
    with module.context:
        for kind, info in (("arg_attrs", "jax.arg_info"), ("res_attrs", "jax.result_info")):
            if kind in attributes:
                attributes[kind] = ir.ArrayAttr.get(
                    [
                        ir.DictAttr.get(
                            {
                                item.name: item.attr
                                for item in ir.DictAttr(entry)
                                if item.name != info
                            }
                        )
                        for entry in ir.ArrayAttr(attributes[kind])
                    ]
                )


def _remove_addresses(module: MlirModule, custom_calls: dict[str, list[Any]]) -> None:
    """Remove the addresses of Python callbacks, in place. Each function has a different address.

    JAX 0.4.30 writes the address into the call and into the constant that is its first operand
    (_src/interpreters/mlir.py: emit_python_callback). Later versions write a number instead.
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
                    maker = mlir.defining_op(operand)
                    if maker is not None and f"dense<{address}>" in str(maker):
                        kind = operand.type
                        maker.attributes["value"] = ir.Attribute.parse(f"dense<0> : {kind}")
