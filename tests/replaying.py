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
import numpy as np
from jax.tree_util import tree_leaves

import brainpy_probe as probe
from brainpy_probe.compat import bindings
from tests import eras
from tests.networks import by_name
from tests.watching import as_numpy
from tests.xla import Array, Executable, inline, stablehlo_of

__all__ = ["DIALECTS", "Array", "Replayer", "Taken", "captured", "compiled_in", "named", "replay"]

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
    with probe.capture(
        _folder(), dialect=DIALECTS, data="full", trace_eager=True, strict=True
    ) as capture:
        returned = case.run(runner)
    return Taken(
        capture,
        *given_by(runner, returned),
        as_numpy(bm.random.DEFAULT.value),
    )


def given_by(
    runner: bp.DSRunner, returned: Any
) -> tuple[list[Array], dict[str, Array], dict[str, Array]]:
    """Return copies of a run's outputs, monitors and Variables, as NumPy arrays.

    BrainPy's own random state is none of the Variables, be it held by the model or not.
    """
    leaves = tree_leaves(returned, is_leaf=lambda x: isinstance(x, bm.Array))
    variables = runner.target.vars(method="relative").unique().items()
    return (
        [as_numpy(leaf) for leaf in leaves],
        {key: as_numpy(value) for key, value in runner.mon.items()},
        {
            key: as_numpy(variable.value)
            for key, variable in variables
            if variable is not bm.random.DEFAULT
        },
    )


def named(specs: Sequence[probe.TensorSpec]) -> list[str]:
    """Return group and name of each argument or result, as ``state/E.V``, in order."""
    plural = {"state": ""}
    return [f"{spec.role}{plural.get(spec.role, 's')}/{spec.name}" for spec in specs]


def _module(program: probe.Program, dialect: str) -> Any:
    if dialect == "vhlo":
        content = program.paths["vhlo"].read_bytes()
        return bindings.read_portable_bytecode(content, bindings.mlir_context())
    return stablehlo_of(program.text(dialect), dialect)


class Replayer:
    """A captured text, compiled once, to be run with any arrays.

    Parameters
    ----------
    program : Program
        The captured program; it must call back into no host.
    dialect : str
        Which of its texts is compiled, or ``"vhlo"`` for the portable bytecode.
    inlined : mapping
        The arguments, by group and name, that are compiled as constants of these values. A run
        that compiles them so gives its bits only to a program that does likewise.
    """

    def __init__(
        self, program: probe.Program, dialect: str, inlined: Mapping[str, Array] | None = None
    ) -> None:
        assert not program.fidelity.host_callbacks
        self.program = program
        module = _module(program, dialect)
        if inlined:
            names = named(program.arguments)
            inline(module, {names.index(name): array for name, array in inlined.items()})
        self._executable = Executable(module)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program on its arguments, by group and name; return its results likewise."""
        specs = self.program.arguments
        made = self._executable(
            [
                np.asarray(arrays[name], spec.dtype)
                for name, spec in zip(named(specs), specs, strict=True)
            ]
        )
        return dict(zip(named(self.program.results), made, strict=True))


def replay(
    program: probe.Program, dialect: str, *, inlined: bool = not eras.SINCE_2_4
) -> dict[str, Array]:
    """Compile a program's text in a dialect afresh and run it on the recorded arguments.

    Where the native run has the model's arrays as constants, they are that here too: `inlined`.
    """
    return Replayer(program, dialect, compiled_in(program, inlined=inlined))(program.data())


def compiled_in(program: probe.Program, *, inlined: bool = not eras.SINCE_2_4) -> dict[str, Array]:
    """Return the arrays which the native run's loop has as constants, by group and name.

    Up to 2.3 BrainPy compiles its loop so with all of them; from 2.4 on they are its arguments.
    """
    arrays = program.data() if inlined else {}
    return {key: array for key, array in arrays.items() if key.startswith("constants/")}
