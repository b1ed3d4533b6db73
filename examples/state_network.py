"""A spiking network of brainpy.state, run by a loop of brainstate, and its captured program.

There is no runner: the outermost loop is the call. The environment variable does the same without a
change to a script: ``BRAINPY_PROBE=out python script.py``.
"""

from __future__ import annotations

import argparse

import brainpy
import brainstate
import braintools
import brainunit as u

import brainpy_probe as probe


class EINet(brainstate.nn.Module):
    """Excitatory and inhibitory neurons with exponential synapses."""

    def __init__(self, excitatory: int, inhibitory: int) -> None:
        super().__init__()
        self.excitatory, number = excitatory, excitatory + inhibitory
        self.neurons = brainpy.state.LIFRef(
            number,
            V_rest=-49.0 * u.mV,
            V_th=-50.0 * u.mV,
            V_reset=-60.0 * u.mV,
            tau=20.0 * u.ms,
            tau_ref=5.0 * u.ms,
            V_initializer=braintools.init.Normal(-55.0 * u.mV, 2.0 * u.mV),
        )
        self.exciting = self._projection(excitatory, 1.62 * u.mS, 5.0 * u.ms)
        self.inhibiting = self._projection(inhibitory, -9.0 * u.mS, 10.0 * u.ms)

    def _projection(self, number: int, weight: u.Quantity, tau: u.Quantity) -> brainstate.nn.Module:
        size = self.neurons.in_size
        return brainpy.state.AlignPostProj(
            comm=brainstate.nn.EventFixedProb(number, size, 0.05, weight),
            syn=brainpy.state.Expon.desc(size, tau=tau),
            out=brainpy.state.CUBA.desc(scale=u.volt),
            post=self.neurons,
        )

    def update(self, current: u.Quantity) -> object:
        """Advance by one step, and return the spikes."""
        spikes = self.neurons.get_spike() != 0.0
        self.exciting(spikes[: self.excitatory])
        self.inhibiting(spikes[self.excitatory :])
        self.neurons(current)
        return self.neurons.get_spike()


def main() -> None:
    """Simulate, and print what was captured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="brainpy-probe")
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()

    brainstate.random.seed(1)
    net = EINet(320, 80)
    brainstate.nn.init_all_states(net)
    with (
        brainstate.environ.context(dt=0.1 * u.ms),
        probe.capture(options.out, dialect="stablehlo") as cap,
    ):
        times = u.math.arange(options.steps) * brainstate.environ.get_dt()

        def step(t: u.Quantity) -> object:
            with brainstate.environ.context(t=t):
                return net.update(20.0 * u.mA)

        spikes = brainstate.transform.for_loop(step, times)
    print(f"{int(spikes.sum())} spikes")
    print(cap)


if __name__ == "__main__":
    main()
