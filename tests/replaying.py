"""Runs a captured text afresh: compiled from the text alone, fed with the recorded arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax._src import compiler
from jax._src.lib import xla_client
from jaxlib._jax import mlir as translation

import brainpy_probe as probe
from brainpy_probe.live import seams

__all__ = ["Arrays", "Replayer", "named", "replay", "stablehlo_of"]

Arrays = Mapping[str, np.ndarray[Any, Any]]


def named(specs: Sequence[probe.TensorSpec]) -> list[str]:
    """Return ``role/name`` of each argument or result, in order."""
    return [f"{spec.role}/{spec.name}" for spec in specs]


def stablehlo_of(text: str, dialect: str) -> Any:
    """Parse a text in any dialect, in a context of its own, and lead it back to StableHLO."""
    context = seams.mlir_context()
    if dialect == "hlo":
        proto = seams.parse_hlo(text).as_serialized_hlo_module_proto()
        return seams.parse_mlir(translation.hlo_to_stablehlo(proto), context)
    module = seams.parse_mlir(text, context)
    if dialect == "mhlo":
        seams.run_passes(module, "hlo-legalize-to-stablehlo")
    return module


class Replayer:
    """A captured text, compiled once, to be run with any arrays.

    Parameters
    ----------
    program : Program
        The captured program; it must call back into no host.
    dialect : str
        Which of its texts is compiled.
    """

    def __init__(self, program: probe.Program, dialect: str) -> None:
        assert not program.fidelity.host_callbacks
        self.program = program
        module = stablehlo_of(program.text(dialect), dialect)
        device = jax.devices()[0]
        with module.context:
            self._executable = compiler.backend_compile_and_load(
                device.client,
                module,
                xla_client.DeviceList((device,)),
                compiler.get_compile_options(num_replicas=1, num_partitions=1),
                [],
            )

    def __call__(self, arrays: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Run the program on its arguments, by ``role/name``; return its results likewise."""
        given = [jax.device_put(arrays[name]) for name in named(self.program.arguments)]
        made = self._executable.execute_sharded(given).disassemble_into_single_device_arrays()
        names = named(self.program.results)
        return {name: np.asarray(shards[0]) for name, shards in zip(names, made, strict=True)}


def replay(program: probe.Program, dialect: str) -> dict[str, np.ndarray[Any, Any]]:
    """Compile a program's text in a dialect afresh and run it on the recorded arguments."""
    return Replayer(program, dialect)(program.data())
