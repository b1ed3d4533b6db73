"""Captures each network once for all tests, and compiles programs from their captured text."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
from jax.tree_util import tree_leaves

import brainpy_probe as probe
from brainpy_probe.compat import bindings
from brainpy_probe.ir.executables import kernels
from tests import eras, watching
from tests.networks import by_name
from tests.sharing import made_once
from tests.watching import Run, as_numpy
from tests.xla import Array, Executable, inline, stablehlo_of

__all__ = [
    "DIALECTS",
    "PORTABLE",
    "STEPS",
    "Array",
    "CapturedNetwork",
    "Replayer",
    "captured",
    "captured_calling_back",
    "captured_with",
    "hlo_of",
    "inlined_constants",
    "qualified_names",
    "replay",
    "values_of_run",
]

DIALECTS = ("stablehlo", "mhlo", "hlo")

# The networks whose captures also have the portable program, for other compilers.
PORTABLE = (
    "lif", "einet", "hh", "izhikevich", "delay", "stp", "stdp", "gap-junction", "noise",
    "reservoir",
)  # fmt: skip

# The networks whose captures also have the program of one step.
STEPS = ("lif", "einet", "stdp", "noise", "lstm-batched")


# The networks that also run after the capture: a loop, kernels, a random state, a trainer, and
# steps that Python calls. The state after a capture does not depend on the network.
RUN_AFTER_CAPTURE = (
    "lif", "einet", "noise", "bptt-trainer-predict", "memory-efficient", "python-loop",
)  # fmt: skip


@dataclass(frozen=True)
class CapturedNetwork:
    """A network's runs: two without the probe, two in a capture, and for some one after it.

    Attributes
    ----------
    path : Path
        The capture's folder: strict, with all dialects and arrays, and with trace_eager.
    outputs, monitors, variables, random : list, dict, dict, array
        The values of the first captured run.
    plain, probed : list of Run
        The runs without the probe, and those with it.
    """

    path: Path
    outputs: list[Array]
    monitors: dict[str, Array]
    variables: dict[str, Array]
    random: Array
    plain: list[Run]
    probed: list[Run]

    @functools.cached_property
    def capture(self) -> probe.Capture:
        """The capture."""
        return probe.load(self.path)

    @property
    def call(self) -> probe.PredictCall:
        """The first run."""
        return self.capture.calls[0]

    @property
    def program(self) -> probe.Program:
        """The program of the first run."""
        program = self.call.program
        assert program is not None
        return program


@functools.cache
def captured(name: str) -> CapturedNetwork:
    """Return a network's runs, which are made once per test run.

    Up to BrainPy 2.6 a network with kernels runs in each process: its kernels exist only there.
    """
    process = f"-{os.getpid()}" if name.startswith("einet") and not eras.SINCE_2_7 else ""
    return made_once(f"network-{name}{process}", functools.partial(_capture_network, name))


def _capture_network(name: str, folder: Path) -> CapturedNetwork:
    case = by_name(name)
    if name in RUN_AFTER_CAPTURE:  # for both, this process has then compiled the same operations
        case.run(case.build())
    plain = case.build()
    expected = [watching.run(case, plain) for _ in range(3 if name in RUN_AFTER_CAPTURE else 2)]

    runner = case.build()
    with probe.capture(
        folder,
        dialect=DIALECTS,
        data="full",
        portable=name in PORTABLE,
        step=name in STEPS,
        trace_eager=True,
        strict=True,
    ) as capture:
        probed = [watching.run(case, runner)]
        values = values_of_run(runner, probed[0].returned)
        random = as_numpy(bm.random.DEFAULT.value)
        probed.append(watching.run(case, runner))
    probed += [watching.run(case, runner) for _ in expected[2:]]
    if probed[0].compilations != expected[0].compilations:
        # The plain runs were the first in this process, which compiles each single operation once.
        expected[0] = watching.run(case, case.build())
    runs = [[run.without_returned() for run in side] for side in (expected, probed)]
    return CapturedNetwork(capture.path, *values, random, *runs)


def captured_with(name: str, **settings: Any) -> probe.Capture:
    """Return the capture of a network's first run with these settings, made once per test run.

    Tests share it: a test that alters it must copy the folder.
    """
    words = "-".join(f"{key}-{value}" for key, value in settings.items())
    folder = re.sub(r"\W+", "_", f"{name}-{words}")
    return probe.load(made_once(folder, functools.partial(_captured_with, name, settings)))


def _captured_with(name: str, settings: dict[str, Any], folder: Path) -> Path:
    case = by_name(name)
    runner = case.build()
    with probe.capture(folder, strict=True, **settings) as capture:
        case.run(runner)
    return capture.path


class CallsBack(eras.DynamicalSystem):
    """A model that calls back into Python at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(2))

    def update(self) -> Any:
        self.x.value = self.x + 1.0
        jax.debug.callback(lambda _: None, self.x.value[0])
        return self.x.value


def captured_calling_back() -> probe.Capture:
    """Return the capture of a model that calls back into Python, made once per test run."""
    return probe.load(made_once("calls-back", _captured_calling_back))


def _captured_calling_back(folder: Path) -> Path:
    runner = bp.DSRunner(CallsBack(), progress_bar=False)
    dialects = ["stablehlo", "hlo"]
    with probe.capture(folder, dialect=dialects, portable=True, strict=True) as capture:
        runner.run(1.0)
    return capture.path


def values_of_run(
    runner: bp.DSRunner, returned: Any
) -> tuple[list[Array], dict[str, Array], dict[str, Array]]:
    """Return copies of a run's outputs, monitors and Variables, as NumPy arrays.

    The Variables exclude BrainPy's default random state, even where the model holds it.
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


def qualified_names(specs: Sequence[probe.TensorSpec]) -> list[str]:
    """Return the group and name of each argument or result in order, as ``state/E.V``."""
    plural = {"state": ""}
    return [f"{spec.role}{plural.get(spec.role, 's')}/{spec.name}" for spec in specs]


def _module(program: probe.Program, dialect: str) -> Any:
    if dialect == "vhlo":
        content = program.paths["vhlo"].read_bytes()
        return bindings.read_portable_bytecode(content, bindings.mlir_context())
    return stablehlo_of(program.text(dialect), dialect)


def hlo_of(program: probe.Program, dialect: str) -> str:
    """Return the HLO that XLA gets for a text in a dialect, in canonical form.

    Texts with equal HLO are one program for XLA: it is enough to compile one of them.
    """
    if dialect == "hlo":
        return bindings.hlo_canonical_text(bindings.parse_hlo(program.text("hlo")))
    return bindings.hlo_canonical_text(bindings.hlo_of(_module(program, dialect)))


class Replayer:
    """A captured text that is compiled once, and runs with any arrays.

    Parameters
    ----------
    program : Program
        The captured program; it must have no host callbacks.
    dialect : str
        The dialect of the text to compile, or ``"vhlo"`` for the portable bytecode.
    inlined : mapping
        The arguments, by group and name, to compile as constants with these values. Only a program
        with the same constants gives the same bits as a run that has them.
    """

    def __init__(
        self, program: probe.Program, dialect: str, inlined: Mapping[str, Array] | None = None
    ) -> None:
        assert not program.fidelity.host_callbacks
        if eras.SINCE_2_7:  # another process may have captured it
            kernels.register(program.fidelity.custom_calls, program.record.kernels)
        self.program = program
        module = _module(program, dialect)
        if inlined:
            names = qualified_names(program.arguments)
            inline(module, {names.index(name): array for name, array in inlined.items()})
        self._executable = Executable(module)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program on arguments by group and name; return the results by group and name."""
        specs = self.program.arguments
        arrays_out = self._executable(
            [
                np.asarray(arrays[name], spec.dtype)
                for name, spec in zip(qualified_names(specs), specs, strict=True)
            ]
        )
        return dict(zip(qualified_names(self.program.results), arrays_out, strict=True))


def replay(
    program: probe.Program, dialect: str, *, inlined: bool = not eras.SINCE_2_4
) -> dict[str, Array]:
    """Compile a program's text in a dialect, and run it on the recorded arguments.

    `inlined` compiles the model's arrays as constants, as the native run may have them.
    """
    return Replayer(program, dialect, inlined_constants(program, inlined=inlined))(program.data())


def inlined_constants(
    program: probe.Program, *, inlined: bool = not eras.SINCE_2_4
) -> dict[str, Array]:
    """Return the arrays that the native run's loop has as constants, by group and name.

    Up to 2.3 BrainPy compiles all of them into its loop; from 2.4 on they are arguments.
    """
    arrays = program.data() if inlined else {}
    return {key: array for key, array in arrays.items() if key.startswith("constants/")}
