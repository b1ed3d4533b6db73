"""The EINet benchmark as it was written in 2022, for BrainPy 2.1 to 2.3; it knows of no probe.

    python examples/einet_2022.py --scale 0.1

At scale 1 there are 10,000 excitatory and as many inhibitory neurons; each synapse group connects
with probability 0.02.
"""

from __future__ import annotations

import argparse
from typing import Any

import brainpy as bp


class EINet(bp.dyn.Network):
    """An excitatory and an inhibitory population, each projecting to both.

    Parameters
    ----------
    scale : float
        Size of the network; the weights shrink as it grows.
    method : str
        The integrator.
    """

    def __init__(self, scale: float = 1.0, method: str = "exp_auto") -> None:
        size = int(10_000 * scale)
        neuron: dict[str, Any] = {
            "V_rest": -60.0,
            "V_th": -50.0,
            "V_reset": -60.0,
            "tau": 20.0,
            "tau_ref": 5.0,
            "method": method,
            "V_initializer": bp.init.Normal(-55.0, 2.0),
        }
        exc = bp.dyn.LIF(size, **neuron)
        inh = bp.dyn.LIF(size, **neuron)

        excitatory = {"E": 0.0, "tau": 5.0, "g_max": 0.6 / scale, "method": method}
        inhibitory = {"E": -80.0, "tau": 10.0, "g_max": 6.7 / scale, "method": method}
        prob = bp.conn.FixedProb
        super().__init__(
            bp.dyn.ExpCOBA(exc, exc, prob(0.02, seed=1), **excitatory),
            bp.dyn.ExpCOBA(exc, inh, prob(0.02, seed=2), **excitatory),
            bp.dyn.ExpCOBA(inh, exc, prob(0.02, seed=3), **inhibitory),
            bp.dyn.ExpCOBA(inh, inh, prob(0.02, seed=4), **inhibitory),
            E=exc,
            I=inh,
        )


def main() -> None:
    """Run the network and print how it fired."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 20,000 neurons")
    parser.add_argument("--duration", type=float, default=1000.0, help="ms of model time")
    options = parser.parse_args()

    bp.math.random.seed(1)
    runner = bp.dyn.DSRunner(
        EINet(options.scale),
        inputs=[("E.input", 20.0), ("I.input", 20.0)],
        monitors=["E.spike"],
        jit=True,
    )
    runner.run(options.duration)

    spikes = int(runner.mon["E.spike"].sum())
    rate = spikes / runner.mon["E.spike"].shape[1] / options.duration * 1000.0
    print(f"E fired {spikes} spikes, {rate:.1f} Hz a neuron.")


if __name__ == "__main__":
    main()
