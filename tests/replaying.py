"""Captures the zoo once for all tests, and runs the captured texts afresh, from the text alone."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
from jax._src import compiler
from jax._src.lib import xla_client
from jaxlib._jax import mlir as translation

import brainpy_probe as probe
from brainpy_probe.live import seams
from tests.networks import by_name

__all__ = ["DIALECTS", "Array", "Replayer", "Taken", "captured", "named", "replay", "stablehlo_of"]

Array = np.ndarray[Any, Any]

DIALECTS = ("stablehlo", "mhlo", "hlo")


@dataclass(frozen=True)
class Taken:
    """A case's first run: its capture, and what the run itself gave and left."""

    capture: probe.Capture
    outputs: list[Array]
    monitors: dict[str, Array]
    variables: dict[str, Array]
    random: Array

    @property
    def program(self) -> probe.Program:
        """The only program."""
        (program,) = self.capture.programs
        return program

    @property
    def call(self) -> probe.PredictCall:
        """The only call."""
        (call,) = self.capture.calls
        return call


@functools.cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="brainpy-probe-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def captured(name: str) -> Taken:
    """Capture the first run of a case of the zoo, with all dialects and all arrays."""
    case = by_name(name)
    runner = case.build()
    with probe.capture(_folder(), dialect=DIALECTS, data="full", strict=True) as capture:
        returned = case.run(runner)
    return Taken(
        capture,
        *given_by(runner, returned),
        np.asarray(jax.random.key_data(bm.random.DEFAULT.value)),
    )


def given_by(
    runner: bp.DSRunner, returned: Any
) -> tuple[list[Array], dict[str, Array], dict[str, Array]]:
    """Return copies of a run's outputs, monitors and Variables, as NumPy arrays."""
    leaves = jax.tree.leaves(returned, is_leaf=lambda x: isinstance(x, bm.Array))
    variables = runner.target.vars(method="relative").unique().items()
    return (
        [_copy(leaf) for leaf in leaves],
        {key: _copy(value) for key, value in runner.mon.items()},
        {key: _copy(variable.value) for key, variable in variables},
    )


def _copy(value: Any) -> Array:
    return np.array(value.value if isinstance(value, bm.Array) else value)


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


def _module(program: probe.Program, dialect: str) -> Any:
    if dialect == "vhlo":
        content = program.paths["vhlo"].read_bytes()
        return seams.read_portable_bytecode(content, seams.mlir_context())
    return stablehlo_of(program.text(dialect), dialect)


class Replayer:
    """A captured text, compiled once, to be run with any arrays.

    Parameters
    ----------
    program : Program
        The captured program; it must call back into no host.
    dialect : str
        Which of its texts is compiled, or ``"vhlo"`` for the portable bytecode.
    """

    def __init__(self, program: probe.Program, dialect: str) -> None:
        assert not program.fidelity.host_callbacks
        self.program = program
        device = jax.devices()[0]
        module = _module(program, dialect)
        with module.context:
            self._executable = compiler.backend_compile_and_load(
                device.client,
                module,
                xla_client.DeviceList((device,)),
                compiler.get_compile_options(num_replicas=1, num_partitions=1),
                [],
            )

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program on its arguments, by ``role/name``; return its results likewise."""
        given = [
            jax.device_put(np.asarray(arrays[f"{spec.role}/{spec.name}"], spec.dtype))
            for spec in self.program.arguments
        ]
        made = self._executable.execute_sharded(given).disassemble_into_single_device_arrays()
        names = named(self.program.results)
        return {name: np.asarray(shards[0]) for name, shards in zip(names, made, strict=True)}


def replay(program: probe.Program, dialect: str) -> dict[str, Array]:
    """Compile a program's text in a dialect afresh and run it on the recorded arguments."""
    return Replayer(program, dialect)(program.data())
