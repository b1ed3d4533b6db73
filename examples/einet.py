"""The EINet benchmark: two LIF populations, four conductance-based synapse groups, captured.

    python examples/einet.py --scale 0.1 --dialect mhlo

At scale 1 there are 10,000 excitatory and as many inhibitory neurons; each synapse group connects
with probability 0.02.
"""

from __future__ import annotations

import argparse
from typing import Any

import brainpy as bp

import brainpy_probe as probe


class EINet(bp.DynSysGroup):
    """An excitatory and an inhibitory population, each projecting to both.

    Parameters
    ----------
    scale : float
        Size of the network; the weights shrink as it grows.
    method : str
        The integrator.
    """

    def __init__(self, scale: float = 1.0, method: str = "exp_auto") -> None:
        super().__init__()
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
        self.E = bp.neurons.LIF(size, **neuron)
        self.I = bp.neurons.LIF(size, **neuron)

        excitatory = {"reversal": 0.0, "tau": 5.0, "g_max": 0.6 / scale}
        inhibitory = {"reversal": -80.0, "tau": 10.0, "g_max": 6.7 / scale}

        def synapses(
            pre: Any, post: Any, tau: float, g_max: float, reversal: float, seed: int
        ) -> Any:
            return bp.synapses.Exponential(
                pre,
                post,
                bp.conn.FixedProb(0.02, seed=seed),
                output=bp.synouts.COBA(E=reversal),
                tau=tau,
                g_max=g_max,
                method=method,
            )

        self.E2E = synapses(self.E, self.E, **excitatory, seed=1)
        self.E2I = synapses(self.E, self.I, **excitatory, seed=2)
        self.I2E = synapses(self.I, self.E, **inhibitory, seed=3)
        self.I2I = synapses(self.I, self.I, **inhibitory, seed=4)


def main() -> None:
    """Run the network and print what was captured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 20,000 neurons")
    parser.add_argument("--duration", type=float, default=1000.0, help="ms of model time")
    parser.add_argument("--dialect", nargs="+", default=["mhlo", "hlo"], help="what to write")
    parser.add_argument("--out", default="brainpy-probe", help="parent folder of the capture")
    options = parser.parse_args()

    bp.math.random.seed(1)
    runner = bp.DSRunner(
        EINet(options.scale),
        inputs=[("E.input", 20.0), ("I.input", 20.0)],
        monitors=["E.spike"],
    )
    with probe.capture(options.out, dialect=options.dialect) as cap:
        runner.run(options.duration)

    spikes = int(runner.mon["E.spike"].sum())
    rate = spikes / runner.mon["E.spike"].shape[1] / options.duration * 1000.0
    print(f"E fired {spikes} spikes, {rate:.1f} Hz a neuron.\n")
    print(cap)


if __name__ == "__main__":
    main()
