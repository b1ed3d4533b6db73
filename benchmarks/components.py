"""Compares EINet's profiled time by component with a separate timing of each synapse group.

    python benchmarks/components.py --scale 1 --duration 300

For each group, it prints the share of the time of all four groups: from the profile, and when each
group runs alone on the spikes of the same run. For three groups, of which the last has four times
the synapses in a second run, it prints the ratio of the times of both runs. It also prints the
ratio of the times of a dense comm and an event-driven one.

The exit code is 1 if the shares differ by more than 5 percentage points, if components have less
than 95 % of the loop's time, if another component takes longer than a group, if the group with more
synapses does not take longer, or if the event-driven comm is not faster.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax

import brainpy_probe as probe

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))

from einet import EINet

GROUPS = {"E2E": "E", "E2I": "E", "I2E": "I", "I2I": "I"}


def profiled(scale: float, duration: float) -> tuple[Any, dict[str, Any]]:
    """Capture a run; return the measured times, and the spikes of each population."""
    bm.random.seed(1)
    runner = bp.DSRunner(
        EINet(scale),
        inputs=[("E.input", 20.0), ("I.input", 20.0)],
        monitors=["E.spike", "I.spike"],
        progress_bar=False,
    )
    with tempfile.TemporaryDirectory() as out, probe.capture(out, profile=True, data="none") as cap:
        runner.run(duration)
        measured = cap.programs[0].measured
    spikes = {name: runner.mon[f"{name}.spike"] for name in ("E", "I")}
    return measured, spikes


def time_separately(scale: float, spikes: dict[str, Any], repeat: int = 3) -> dict[str, float]:
    """Return the seconds of each group in its own compiled loop, the fastest of several runs.

    The groups take turns, so that other load on the machine affects all of them.
    """
    net = EINet(scale)
    loops = {}
    for name, pre in GROUPS.items():
        group = getattr(net, name)
        loop = bm.jit(
            lambda pre_spikes, group=group: bm.for_loop(group.update, pre_spikes, jit=True)
        )
        loops[name] = loop, jax.numpy.asarray(spikes[pre])
        jax.block_until_ready(loop(loops[name][1]))
    seconds = dict.fromkeys(GROUPS, float("inf"))
    for _ in range(repeat):
        for name, (loop, pre_spikes) in loops.items():
            begin = time.perf_counter()
            jax.block_until_ready(loop(pre_spikes))
            jax.block_until_ready(getattr(net, name).syn.g.value)
            seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return seconds


class Groups(bp.DynamicalSystem):
    """Several comms with the same input: in each step, another quarter of the neurons spikes."""

    def __init__(self, size: int, comms: dict[str, tuple[str, float]]) -> None:
        super().__init__()
        self.size, self.names = size, tuple(comms)
        for name, (kind, probability) in comms.items():
            conn = bp.conn.FixedProb(probability, seed=1, allow_multi_conn=True)(size, size)
            setattr(self, name, getattr(bp.dnn, kind)(conn, 0.1))

    def update(self) -> Any:
        """Sum the outputs of the comms for the spikes of a step."""
        spikes = (bm.arange(self.size) + bp.share["i"]) % 4 == 0
        return sum(getattr(self, name)(spikes).sum() for name in self.names)


def time_comms(comms: dict[str, tuple[str, float]], size: int = 4000) -> dict[str, float]:
    """Return the seconds of each comm; `comms` has the class and the probability of each."""
    runner = bp.DSRunner(Groups(size, comms), progress_bar=False, monitors={})
    with tempfile.TemporaryDirectory() as out, probe.capture(out, profile=True, data="none") as cap:
        runner.run(50.0)
        rows = cap.programs[0].measured.components
    return {name: sum(r.seconds for r in rows if r.component == name) for name in comms}


def rows_and_synapses() -> bool:
    """Print how times grow with four times the synapses in C; return whether only C grows."""
    kind = "EventCSRLinear"
    before = time_comms({"A": (kind, 0.05), "B": (kind, 0.05), "C": (kind, 0.05)})
    after = time_comms({"A": (kind, 0.05), "B": (kind, 0.05), "C": (kind, 0.2)})
    grown = {name: after[name] / before[name] for name in before}
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in grown.items())
    print(f"time with four times the synapses in C over the time before: {ratios}")
    return grown["C"] > 1.5 * max(grown["A"], grown["B"])


def dense_and_events() -> bool:
    """Compare a dense comm with an event-driven one; return whether the latter is faster."""
    found = time_comms({"dense": ("MaskedLinear", 0.05), "events": ("EventCSRLinear", 0.05)}, 2000)
    print(f"MaskedLinear takes {found['dense'] / found['events']:.1f} times EventCSRLinear's time")
    return found["events"] < found["dense"]


def main() -> None:
    """Measure and print; exit with 1 if a condition is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 20,000 neurons")
    parser.add_argument("--duration", type=float, default=300.0, help="ms of model time")
    options = parser.parse_args()

    measured, spikes = profiled(options.scale, options.duration)
    alone = time_separately(options.scale, spikes)
    profiled_seconds: dict[str, float] = {}
    for component in measured.components:
        top = component.component.partition(".")[0]
        profiled_seconds[top] = profiled_seconds.get(top, 0.0) + component.seconds
    profiled_total = sum(profiled_seconds[name] for name in GROUPS)
    separate_total = sum(alone.values())
    print(f"{100 * measured.mapped:.1f} % of the loop's {measured.loop:.3f} s has a component")
    difference = 0.0
    for name in GROUPS:
        shares = 100 * profiled_seconds[name] / profiled_total, 100 * alone[name] / separate_total
        difference = max(difference, abs(shares[0] - shares[1]))
        print(f"{name}  {shares[0]:5.1f} %  alone {shares[1]:5.1f} %  ({alone[name]:.3f} s)")
    others = {name: s for name, s in profiled_seconds.items() if name not in GROUPS}
    print("others:", ", ".join(f"{name} {seconds:.4f} s" for name, seconds in others.items()))
    groups_dominate = min(profiled_seconds[name] for name in GROUPS) > max(others.values())
    grows, pays = rows_and_synapses(), dense_and_events()
    if difference > 5 or measured.mapped < 0.95 or not (groups_dominate and grows and pays):
        sys.exit("a condition in the description of this script is not met")


if __name__ == "__main__":
    main()
