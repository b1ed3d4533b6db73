"""A recurrent network that BrainPy's trainer trains: the fit step is one program.

Its costs tell forward pass, backward pass and optimizer apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import brainpy as bp
import brainpy.math as bm
import numpy as np

import brainpy_probe as probe


class Integrator(bp.DynamicalSystem):
    """A recurrent network that learns to integrate its input."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn = bp.dyn.RNNCell(1, hidden, train_state=True)
        self.out = bp.dnn.Dense(hidden, 1)

    def update(self, x: bm.Array) -> bm.Array:
        """Advance by one step, and return the output."""
        return self.out(self.rnn(x))


def batches(number: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield inputs and their running sums."""
    random = np.random.default_rng(1)
    for _ in range(number):
        inputs = random.normal(0.025, 0.05, (16, steps, 1)).astype("float32")
        yield inputs, inputs.cumsum(axis=1)


def main() -> None:
    """Train, and print what was captured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="brainpy-probe")
    parser.add_argument("--batches", type=int, default=50)
    options = parser.parse_args()

    bm.random.seed(1)
    with bm.training_environment():
        net = Integrator(20)
    optimizer = bp.optim.Adam(lr=5e-3)
    trainer = bp.BPTT(net, loss_fun=bp.losses.mean_squared_error, optimizer=optimizer)
    with probe.capture(options.out) as cap:
        trainer.fit(lambda: batches(options.batches, 25), num_epoch=2)
    print(cap)
    print(cap.programs[0].costs)


if __name__ == "__main__":
    main()
