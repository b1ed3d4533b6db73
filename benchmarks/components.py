"""EINet's time by component, beside a timing by hand of each synapse group alone.

    python benchmarks/components.py --scale 1 --duration 300

Prints of each group its share of the four groups' time: as the profile has it, and as the group
takes by itself, given the spikes of the same run. Then of three groups, of which the last has four
times the synapses in a second run, the time in that run beside the time in the first; and what a
dense comm takes beside one for events. Exit code 1 if the shares differ by more than 5 points, if
less than 95 % of the loop's time is a component's, if another component takes longer, if the group
with more synapses does not, or if events don't pay.
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
    """Capture a run; return what was measured, and the spikes of each population."""
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


def by_hand(scale: float, spikes: dict[str, Any], repeat: int = 3) -> dict[str, float]:
    """Return the seconds of each group alone, compiled as a loop of its own, the fastest of some.

    The groups take turns, so that what else the machine does falls on all of them.
    """
    net = EINet(scale)
    loops = {}
    for name, pre in GROUPS.items():
        group = getattr(net, name)
        loop = bm.jit(lambda given, group=group: bm.for_loop(group.update, given, jit=True))
        loops[name] = loop, jax.numpy.asarray(spikes[pre])
        jax.block_until_ready(loop(loops[name][1]))
    seconds = dict.fromkeys(GROUPS, float("inf"))
    for _ in range(repeat):
        for name, (loop, given) in loops.items():
            begun = time.perf_counter()
            jax.block_until_ready(loop(given))
            jax.block_until_ready(getattr(net, name).syn.g.value)
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    return seconds


class Groups(bp.DynamicalSystem):
    """Some comms from the same spikes, another fourth of the neurons in each step."""

    def __init__(self, size: int, comms: dict[str, tuple[str, float]]) -> None:
        super().__init__()
        self.size, self.names = size, tuple(comms)
        for name, (kind, probability) in comms.items():
            conn = bp.conn.FixedProb(probability, seed=1, allow_multi_conn=True)(size, size)
            setattr(self, name, getattr(bp.dnn, kind)(conn, 0.1))

    def update(self) -> Any:
        """Sum what the comms make of a step's spikes."""
        spikes = (bm.arange(self.size) + bp.share["i"]) % 4 == 0
        return sum(getattr(self, name)(spikes).sum() for name in self.names)


def each_comm(comms: dict[str, tuple[str, float]], size: int = 4000) -> dict[str, float]:
    """Return the seconds that each of some comms takes, given its class and its probability."""
    runner = bp.DSRunner(Groups(size, comms), progress_bar=False, monitors={})
    with tempfile.TemporaryDirectory() as out, probe.capture(out, profile=True, data="none") as cap:
        runner.run(50.0)
        rows = cap.programs[0].measured.components
    return {name: sum(r.seconds for r in rows if r.component == name) for name in comms}


def rows_and_synapses() -> bool:
    """Print how each group's time grows when one has four times the synapses; return if it does."""
    kind = "EventCSRLinear"
    before = each_comm({"A": (kind, 0.05), "B": (kind, 0.05), "C": (kind, 0.05)})
    after = each_comm({"A": (kind, 0.05), "B": (kind, 0.05), "C": (kind, 0.2)})
    grown = {name: after[name] / before[name] for name in before}
    told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in grown.items())
    print(f"time when C has four times the synapses, beside before: {told}")
    return grown["C"] > 1.5 * max(grown["A"], grown["B"])


def dense_and_events() -> bool:
    """Print what a dense comm takes beside one for events; return if that takes less."""
    found = each_comm({"dense": ("MaskedLinear", 0.05), "events": ("EventCSRLinear", 0.05)}, 2000)
    print(f"MaskedLinear takes {found['dense'] / found['events']:.1f} times EventCSRLinear's time")
    return found["events"] < found["dense"]


def main() -> None:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 20,000 neurons")
    parser.add_argument("--duration", type=float, default=300.0, help="ms of model time")
    options = parser.parse_args()

    measured, spikes = profiled(options.scale, options.duration)
    alone = by_hand(options.scale, spikes)
    whole: dict[str, float] = {}
    for component in measured.components:
        top = component.component.partition(".")[0]
        whole[top] = whole.get(top, 0.0) + component.seconds
    in_profile = sum(whole[name] for name in GROUPS)
    in_hand = sum(alone.values())
    print(f"{100 * measured.mapped:.1f} % of the loop's {measured.loop:.3f} s is a component's")
    apart = 0.0
    for name in GROUPS:
        shares = 100 * whole[name] / in_profile, 100 * alone[name] / in_hand
        apart = max(apart, abs(shares[0] - shares[1]))
        print(f"{name}  {shares[0]:5.1f} %  by hand {shares[1]:5.1f} %  ({alone[name]:.3f} s)")
    others = {name: s for name, s in whole.items() if name not in GROUPS}
    print("others:", ", ".join(f"{name} {seconds:.4f} s" for name, seconds in others.items()))
    first = min(whole[name] for name in GROUPS) > max(others.values())
    grows, pays = rows_and_synapses(), dense_and_events()
    if apart > 5 or measured.mapped < 0.95 or not (first and grows and pays):
        sys.exit("not as it should be")


if __name__ == "__main__":
    main()
