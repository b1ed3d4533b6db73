"""Measures a case round by round, each process a fresh one, the order turning; reckons nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace

from benchmarks.cases import Case, Variant
from benchmarks.processes import measure
from benchmarks.work import Measured

__all__ = ["Rounds", "measure_case", "warm_up"]

# What each variant took, by its name, in each round.
Rounds = list[dict[str, Measured]]


def warm_up(case: Case) -> None:
    """Have each way of a case run the network once, for the disk's caches."""
    once = replace(case, runs=1)
    for variant in case.variants:
        _measured(once, variant)


def in_turn(variants: tuple[Variant, ...], number: int) -> tuple[Variant, ...]:
    """Return the ways in the order of a round: each round begins with another one."""
    first = number % len(variants)
    return variants[first:] + variants[:first]


def measure_case(case: Case, begin: Callable[[str], object]) -> Rounds:
    """Measure a case.

    Parameters
    ----------
    case : Case
        The case.
    begin : callable
        Called with the name of each process before it starts.
    """
    rounds: Rounds = []
    for number in range(case.rounds):
        found = {}
        for variant in in_turn(case.variants, number):
            begin(f"{case.name}: {variant.name}, round {number + 1} of {case.rounds}")
            found[variant.name] = _measured(case, variant)
        rounds.append(found)
    return rounds


def _measured(case: Case, variant: Variant) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        return measure(case.work(variant, folder))
