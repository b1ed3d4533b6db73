"""The cases: which networks, which ways of running, how many rounds; measures nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.work import Way, Work

__all__ = ["PLAIN", "Case", "Variant", "all_cases"]

PLAIN = "plain"


@dataclass(frozen=True)
class Variant:
    """One way of running a case's network.

    Attributes
    ----------
    options : dict
        Arguments for ``capture()``, or the dialect of the old way.
    once : bool
        Whether a second run would die: the old way's trace has leaked into the model.
    """

    name: str
    way: Way = "probe"
    options: dict[str, Any] = field(default_factory=dict)
    once: bool = False


@dataclass(frozen=True)
class Case:
    """A network that is run in several ways, round by round.

    Attributes
    ----------
    group : str
        What the cases have in common over which growth is fitted; empty for one of its own.
    size, steps, runs
        As in :class:`benchmarks.work.Work`.
    """

    name: str
    variants: tuple[Variant, ...]
    rounds: int
    network: str = "einet"
    group: str = ""
    size: float = 1.0
    steps: int = 10_000
    runs: int = 3

    def work(self, variant: Variant, folder: str) -> Work:
        """Return what a process is to do for a variant."""
        return Work(
            network=self.network,
            size=self.size,
            steps=self.steps,
            runs=1 if variant.once else self.runs,
            way=variant.way,
            options=variant.options,
            folder=folder,
        )


_PLAIN = Variant(PLAIN, "plain")
_NONE = Variant("none", options={"data": "none"})
_INPUTS = Variant("inputs", options={"data": "inputs"})
_HLO = Variant("hlo", options={"data": "none", "dialect": "hlo"})
_OLD = Variant("old way", "old", {"dialect": "hlo"}, once=True)


def all_cases(*, quick: bool) -> list[Case]:
    """Return the cases in the order in which they are measured.

    Parameters
    ----------
    quick : bool
        Small networks, one round, and neither long runs nor many calls: shows that it works.
    """
    if quick:
        return [*_scales(quick), _everything(), *_components(quick)]
    return [*_scales(quick), *_options(), *_components(quick), *_steps(), *_calls(), *_known()]


def _scales(quick: bool) -> list[Case]:
    every = (_PLAIN, _NONE, _INPUTS, _HLO, _OLD)
    ways: dict[float, tuple[int, tuple[Variant, ...]]] = {
        0.1: (5, (_PLAIN, _NONE)),
        0.25: (8, (_PLAIN, _NONE, _INPUTS)),
        0.5: (5, (_PLAIN, _NONE)),
        1.0: (10, every),
        2.0: (5, (_PLAIN, _NONE)),
    }
    if quick:
        ways = {0.05: (1, (_PLAIN, _NONE, _OLD))}
    steps = 200 if quick else 10_000
    return [
        Case(f"einet-{x:g}", variants, rounds, group="scale", size=x, steps=steps, runs=2)
        for x, (rounds, variants) in ways.items()
    ]


def _everything() -> Case:
    """Ask for all at once."""
    options = {
        "data": "full", "dialect": ["stablehlo", "mhlo", "hlo"],
        "xla_dump": True, "portable": True, "profile": True,
    }  # fmt: skip
    variants = (_PLAIN, Variant("everything", options=options))
    return Case("options", variants, 1, size=0.02, steps=200, runs=1)


def _options() -> list[Case]:
    three = {"data": "none", "dialect": ["stablehlo", "mhlo", "hlo"]}
    mhlo = Variant("mhlo", options={"data": "none", "dialect": "mhlo"})
    variants = [
        _PLAIN,
        _NONE,
        _INPUTS,
        mhlo,
        _HLO,
        Variant("three dialects", options=three),
        Variant("full", options={"data": "full"}),
        Variant("portable", options={"data": "none", "portable": True}),
        Variant("xla_dump", options={"data": "none", "xla_dump": True}),
        Variant("JAX_DUMP_IR_TO", "jax-dump"),
        Variant("XLA_FLAGS", "xla-flags"),
        Variant("profile", options={"data": "none", "profile": True}),
    ]
    return [Case("options", tuple(variants), 3, size=0.1, steps=10_000, runs=2)]


def _components(quick: bool) -> list[Case]:
    return [
        Case(
            f"components-{number}",
            (_PLAIN, _NONE),
            1 if quick else 2,
            network="components",
            group="components",
            size=number,
            steps=100,
            runs=1,
        )
        for number in ((2, 8) if quick else (25, 50, 100, 200))
    ]


def _steps() -> list[Case]:
    return [
        Case(
            f"steps-{steps}",
            (_PLAIN, _NONE, _INPUTS),
            3,
            group="steps",
            size=0.02,
            steps=steps,
            runs=2,
        )
        for steps in (1_000, 10_000, 100_000)
    ]


def _calls() -> list[Case]:
    return [
        Case(
            f"calls-{calls}",
            (_PLAIN, _NONE, _INPUTS),
            1,
            group="calls",
            size=0.02,
            steps=10,
            runs=calls,
        )
        for calls in (1_000,)
    ]


def _known() -> list[Case]:
    """Return calls of a program that is recorded already, in modes in which they were dear."""
    eager = Variant("none", options={"data": "none", "trace_eager": True})
    return [
        Case(f"known-{network}", (_PLAIN, ours), 1, network, "", size, steps, runs=12)
        for network, size, steps, ours in (
            ("batch-first", 1_000, 1_000, _NONE),
            ("memory-efficient", 0.02, 10, _NONE),
            ("no-jit", 0.02, 2, eager),
            ("numpy-weights", 1_000_000, 10, _NONE),
            ("made-in-update", 0.02, 10, _NONE),
            ("loose-components", 100, 10, _NONE),
        )
    ]
