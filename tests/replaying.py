"""Runs each network once for all tests, and compiles the captured texts from the text alone."""

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
    "Replayer",
    "Taken",
    "captured",
    "captured_calling_back",
    "captured_with",
    "compiled_in",
    "given_by",
    "hlo_of",
    "named",
    "replay",
]

DIALECTS = ("stablehlo", "mhlo", "hlo")

# The networks whose captures have the portable form too, which another compiler is given.
PORTABLE = (
    "lif", "einet", "hh", "izhikevich", "delay", "stp", "stdp", "gap-junction", "noise",
    "reservoir",
)  # fmt: skip

# The networks whose captures have the program of one step too.
STEPS = ("lif", "einet", "stdp", "noise", "lstm-batched")


# A loop, kernels, a random state, a trainer, and steps that Python calls: what the end of a capture
# leaves does not depend on the network.
RUN_AFTERWARDS = (
    "lif", "einet", "noise", "bptt-trainer-predict", "memory-efficient", "python-loop",
)  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """A network's runs: two plain ones, two in a capture, and for some one more after it.

    Attributes
    ----------
    path : Path
        The capture's folder: all dialects and arrays, traced without jit too, strict.
    outputs, monitors, variables, random : list, dict, dict, array
        What the first captured run gave and left.
    plain, probed : list of Run
        What the runs of either side left.
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
        """Its program."""
        program = self.call.program
        assert program is not None
        return program


@functools.cache
def captured(name: str) -> Taken:
    """Return what is made once in a test run of each network.

    Up to BrainPy 2.6 a network with its kernels is run once in each process, which alone has them.
    """
    process = f"-{os.getpid()}" if name.startswith("einet") and not eras.SINCE_2_7 else ""
    return made_once(f"network-{name}{process}", functools.partial(_taken, name))


def _taken(name: str, folder: Path) -> Taken:
    case = by_name(name)
    if name in RUN_AFTERWARDS:  # both sides find the same operations compiled in this process
        case.run(case.build())
    plain = case.build()
    expected = [watching.run(case, plain) for _ in range(3 if name in RUN_AFTERWARDS else 2)]

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
        given = given_by(runner, probed[0].returned)
        random = as_numpy(bm.random.DEFAULT.value)
        probed.append(watching.run(case, runner))
    probed += [watching.run(case, runner) for _ in expected[2:]]
    if probed[0].compilations != expected[0].compilations:
        # The plain runs were the first in this process, which compiles single operations once.
        expected[0] = watching.run(case, case.build())
    kept = [[run.kept() for run in runs] for runs in (expected, probed)]
    return Taken(capture.path, *given, random, *kept)


def captured_with(name: str, **settings: Any) -> probe.Capture:
    """Return the capture of a network's first run with some settings, made once in a test run.

    It must stay as it is: a test that alters it copies the folder.
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
    """Return the capture of a model that calls back into Python, made once in a test run."""
    return probe.load(made_once("calls-back", _captured_calling_back))


def _captured_calling_back(folder: Path) -> Path:
    runner = bp.DSRunner(CallsBack(), progress_bar=False)
    dialects = ["stablehlo", "hlo"]
    with probe.capture(folder, dialect=dialects, portable=True, strict=True) as capture:
        runner.run(1.0)
    return capture.path


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


def hlo_of(program: probe.Program, dialect: str) -> str:
    """Return the HLO that XLA is given for a text in a dialect, printed without names of its own.

    Texts of one such HLO are one program for XLA: to compile one of them is enough.
    """
    if dialect == "hlo":
        return bindings.hlo_canonical_text(bindings.parse_hlo(program.text("hlo")))
    return bindings.hlo_canonical_text(bindings.hlo_of(_module(program, dialect)))


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
        if eras.SINCE_2_7:  # another process may have captured it
            kernels.register(program.fidelity.custom_calls, program.record.kernels)
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
