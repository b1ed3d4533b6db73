"""Compiles and runs an MLIR module with XLA, as JAX does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax._src.lib import xla_client

from brainpy_probe.compat import bindings

try:
    from jax._src.compiler import get_compile_options
except ImportError:  # JAX 0.4.13
    from jax._src.xla_bridge import get_compile_options

try:
    from jaxlib._jax import mlir as translation
except ImportError:  # JAX 0.4
    from jaxlib.xla_extension import mlir as translation

__all__ = ["Array", "Executable", "inline", "stablehlo_of"]

from brainpy_probe.format.arrays import Array


def stablehlo_of(text: str, dialect: str) -> Any:
    """Parse a text in any dialect in a new context, and convert it to StableHLO."""
    context = bindings.mlir_context()
    source: Any = _mlir_of_hlo(text) if dialect == "hlo" else text
    module = bindings.parse_mlir(source, context)
    if "mhlo." in bindings.mlir_text(module):
        bindings.run_passes(module, "hlo-legalize-to-stablehlo")
    return module


def _mlir_of_hlo(text: str) -> Any:
    """Convert HLO to StableHLO bytecode, or up to JAX 0.4 to MHLO text."""
    proto = bindings.parse_hlo(text).as_serialized_hlo_module_proto()
    if hasattr(translation, "hlo_to_stablehlo"):
        return translation.hlo_to_stablehlo(proto)
    return translation.xla_computation_to_mlir_module(xla_client.XlaComputation(proto))


def inline(module: Any, arrays: Mapping[int, Array]) -> None:
    """Replace some arguments of a StableHLO module's main by constants, in place.

    The arguments remain, unused. XLA compiles a product with a constant differently from one with
    an argument: a program gives the same bits as another only if it has the same constants.
    """
    ir: Any = bindings.take("mlir")
    (main,) = [op for op in module.body.operations if op.name.value == "main"]
    block = main.regions[0].blocks[0]
    with module.context, ir.Location.unknown(), ir.InsertionPoint.at_block_begin(block):
        for position, array in arrays.items():
            argument = block.arguments[position]
            if array.dtype == bool:  # the packing of booleans differs between versions of jaxlib
                text = str(array.tolist()).lower()
                value = ir.Attribute.parse(f"dense<{text}> : {argument.type}")
            else:
                element = ir.RankedTensorType(argument.type).element_type
                content = np.ascontiguousarray(array)
                value = ir.DenseElementsAttr.get(content, type=element, shape=list(array.shape))
            constant = ir.Operation.create(
                "stablehlo.constant", results=[argument.type], attributes={"value": value}
            )
            argument.replace_all_uses_with(constant.result)


class Executable:
    """An MLIR module, compiled as JAX compiles it, that runs with any arrays.

    Parameters
    ----------
    module : jaxlib.mlir.ir.Module
        A module in any dialect that XLA accepts.
    """

    def __init__(self, module: Any) -> None:
        device = jax.devices()[0]
        content = bindings.mlir_bytecode(module)
        options = get_compile_options(num_replicas=1, num_partitions=1)
        client: Any = device.client
        if hasattr(client, "compile_and_load"):
            devices = xla_client.DeviceList((device,))
            self._executable = client.compile_and_load(content, devices, options)
        else:  # JAX 0.4
            self._executable = client.compile(content, options)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the module on its arguments in order; return its results in order."""
        on_device = [jax.device_put(array) for array in arrays]
        results = self._executable.execute_sharded(on_device)
        return [np.asarray(shards[0]) for shards in results.disassemble_into_single_device_arrays()]
