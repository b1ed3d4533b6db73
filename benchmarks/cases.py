"""The benchmark cases: networks, ways of running them, and numbers of rounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

__all__ = ["PLAIN", "Case", "Figures", "Way", "Work", "all_cases"]

PLAIN = "plain"
Kind = Literal["plain", "probe", "old", "jax-dump", "xla-flags"]
# The figures of a process by name: seconds, bytes, counts.
Figures = dict[str, float]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one process.

    Attributes
    ----------
    task : str
        The function of :mod:`benchmarks.child` that does it.
    size : float
        The scale of EINet, a number of components or neurons, or a number of bytes.
    steps, runs : int
        The number of time steps per run, and the number of runs.
    kind : str
        ``plain``; ``probe``, with ``options`` for ``capture()``; ``old``, with an edited BrainPy;
        ``jax-dump`` and ``xla-flags``, which set the environment variable of that name.
    folder : str
        The folder to which the process writes.
    """

    task: str = "run"
    network: str = "einet"
    size: float = 1.0
    steps: int = 10_000
    runs: int = 1
    kind: Kind = "plain"
    options: dict[str, Any] = {}
    folder: str = ""


@dataclass(frozen=True)
class Way:
    """A way of running a network; ``options`` are arguments of ``capture()``."""

    kind: Kind = "probe"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A network and the ways of running it."""

    name: str
    work: Work
    ways: dict[str, Way]
    rounds: int

    def work_of(self, way: str, folder: str) -> Work:
        """Return the work of the process for a way of running."""
        chosen = self.ways[way]
        # The old way leaks its trace into the model: a second run fails.
        runs = 1 if chosen.kind == "old" else self.work.runs
        return msgspec.structs.replace(
            self.work, kind=chosen.kind, options=chosen.options, runs=runs, folder=folder
        )


_DIALECTS = ["stablehlo", "mhlo", "hlo"]
_PLAIN = {PLAIN: Way("plain")}
_NONE = {"none": Way(options={"data": "none"})}
_INPUTS = {"inputs": Way(options={"data": "inputs"})}
_OLD = {"old way": Way("old", {"dialect": "hlo"})}
_OPTIONS = {
    "mhlo": Way(options={"data": "none", "dialect": "mhlo"}),
    "hlo": Way(options={"data": "none", "dialect": "hlo"}),
    "three dialects": Way(options={"data": "none", "dialect": _DIALECTS}),
    "full": Way(options={"data": "full"}),
    "portable": Way(options={"data": "none", "portable": True}),
    "xla_dump": Way(options={"data": "none", "xla_dump": True}),
    "profile": Way(options={"data": "none", "profile": True}),
    "JAX_DUMP_IR_TO": Way("jax-dump"),
    "XLA_FLAGS": Way("xla-flags"),
}
_EAGER = {"none": Way(options={"data": "none", "trace_eager": True})}


def all_cases(*, quick: bool) -> list[Case]:
    """Return the cases; with ``quick`` one round of small networks."""
    cases = [
        *(
            Case(f"einet-{scale:g}", Work(size=scale, runs=2), ways, rounds)
            for scale, rounds, ways in (
                (0.25, 5, _PLAIN | _NONE | _INPUTS),
                (1.0, 10, _PLAIN | _NONE | _INPUTS | _OLD),
                (2.0, 5, _PLAIN | _NONE),
            )
        ),
        Case("options", Work(size=0.1, runs=2), _PLAIN | _NONE | _INPUTS | _OPTIONS, 3),
        *(
            Case(
                f"components-{number}",
                Work(network="components", size=number, steps=100),
                _PLAIN | _NONE,
                rounds,
            )
            for number, rounds in ((50, 2), (200, 2))
        ),
        Case("steps-100000", Work(size=0.02, steps=100_000, runs=2), _PLAIN | _NONE | _INPUTS, 3),
        Case("calls-1000", Work(size=0.02, steps=10, runs=1000), _PLAIN | _NONE | _INPUTS, 1),
        *(
            Case(
                f"known-{network}",
                Work(network=network, size=size, steps=steps, runs=12),
                _PLAIN | ways,
                1,
            )
            for network, size, steps, ways in (
                ("batch-first", 1_000, 1_000, _NONE),
                ("memory-efficient", 0.02, 10, _NONE),
                ("no-jit", 0.02, 2, _EAGER),
                ("numpy-weights", 1_000_000, 10, _NONE),
                ("made-in-update", 0.02, 10, _NONE),
                ("loose-components", 100, 10, _NONE),
            )
        ),
        Case("jitted-step", Work(task="repeat_step", runs=100_000), {"probe": Way("plain")}, 1),
        Case("start", Work(task="start"), {"probe": Way("plain")}, 25),
        Case("import", Work(task="import_package"), {"probe": Way("plain")}, 25),
        Case("data", Work(task="write_arrays", size=32e6), {"probe": Way("plain")}, 9),
        Case("index", Work(task="index_calls", runs=10_000), {"probe": Way("plain")}, 3),
        Case("read", Work(task="read_capture"), {"probe": Way("plain")}, 3),
    ]
    return [_small(case) for case in cases] if quick else cases


def _small(case: Case) -> Case:
    work = msgspec.structs.replace(
        case.work,
        size=min(case.work.size, 0.02 if case.work.network == "einet" else 8),
        steps=min(case.work.steps, 100),
        runs=min(case.work.runs, 30),
    )
    return replace(case, work=work, rounds=1)
