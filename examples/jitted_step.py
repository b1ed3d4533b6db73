"""A jitted step of brainstate in a Python loop: one program, and one call with a count."""

from __future__ import annotations

import argparse

import brainstate
import jax
import jax.numpy as jnp

import brainpy_probe as probe


class Oscillators(brainstate.nn.Module):
    """FitzHugh-Nagumo oscillators with noise, coupled by their mean."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.v = brainstate.HiddenState(jnp.linspace(-1.0, 1.0, number))
        self.w = brainstate.HiddenState(jnp.zeros(number))
        self.rng = brainstate.random.RandomState(1)

    def update(self, current: jax.Array) -> jax.Array:
        """Advance by one step, and return the mean."""
        v, w = self.v.value, self.w.value
        noise = self.rng.normal(size=v.shape)
        self.v.value = v + 0.1 * (v - v**3 / 3 - w + current + v.mean()) + 0.01 * noise
        self.w.value = w + 0.1 * 0.08 * (v + 0.7 - 0.8 * w)
        return self.v.value.mean()


def main() -> None:
    """Run the loop, and print what was captured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="brainpy-probe")
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()

    model = Oscillators(100)
    step = brainstate.transform.jit(lambda current: model.update(current))
    with probe.capture(options.out) as cap:
        for number in range(options.steps):
            mean = step(0.5 if number % 100 < 50 else 0.0)
    print(f"mean after {options.steps} steps: {float(mean):.3f}")
    print(cap)


if __name__ == "__main__":
    main()
