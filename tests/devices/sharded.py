"""Captures a network on four devices, with each way of distributing arrays in JAX.

:func:`main` runs in its own process, because the number of devices is set before JAX starts.
"""

from __future__ import annotations

from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

try:
    from jax import shard_map
except ImportError:  # up to JAX 0.4.30
    from jax.experimental.shard_map import shard_map

import brainpy_probe as probe
from tests import eras
from tests.replaying import DIALECTS

KINDS = (
    "state", "weights", "inputs", "constraint", "replicated", "second-device", "shard-map", "pmap",
    # On JAX 0.4.30 XLA ends the process on an all_gather in a shard_map over some axes of a mesh.
    *(["two-axes"] if eras.SINCE_2_7 else []),
)  # fmt: skip
DEVICES, NEURONS, STEPS = 4, 8, 5


class Distributed(eras.DynamicalSystem):
    """A recurrent network with some of its arrays on four devices."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.mesh = Mesh(np.array(jax.devices()), ("n",))
        weights: Any = jax.random.normal(jax.random.PRNGKey(0), (NEURONS, NEURONS)) * 0.3
        start: Any = jnp.linspace(-1.0, 1.0, NEURONS)
        if kind in ("weights", "replicated"):
            weights = jax.device_put(weights, self.over("n" if kind == "weights" else None))
        if kind in ("state", "replicated"):
            start = jax.device_put(start, self.over("n" if kind == "state" else None))
        if kind == "second-device":
            weights, start = jax.device_put((weights, start), jax.devices()[1])
        self.weights, self.x = weights, bm.Variable(start)

    def over(self, *axes: str | None) -> NamedSharding:
        """Return the sharding over the mesh, by the axes of an array."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def recurrent(self, x: Any) -> Any:
        """Return the recurrent input."""
        if self.kind == "shard-map":
            n = PartitionSpec("n")
            return shard_map(
                lambda w, part: (
                    w @ jax.lax.all_gather(part, "n", tiled=True)
                    + 0.1 * jax.lax.psum(part.sum(), "n")
                ),
                mesh=self.mesh,
                in_specs=(n, n),
                out_specs=n,
            )(self.weights, x)
        if self.kind == "two-axes":
            return self.over_two_axes(x)
        if self.kind == "pmap":
            rows = self.weights.reshape(DEVICES, -1, NEURONS)
            return jax.pmap(lambda w, x: w @ x, in_axes=(0, None))(rows, x).reshape(NEURONS)
        found = self.weights @ x
        if self.kind == "constraint":
            found = jax.lax.with_sharding_constraint(found, self.over("n"))
        return found

    def over_two_axes(self, x: Any) -> Any:
        """Return the recurrent input from shards along one axis of a mesh and along both."""
        mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
        some, both = PartitionSpec("a"), PartitionSpec(("a", "b"))

        def halves(w: Any, part: Any) -> Any:
            part = jax.lax.fori_loop(0, 2, lambda _, p: p + 0.1 * jax.lax.psum(p.sum(), "a"), part)
            w = jax.lax.with_sharding_constraint(w, PartitionSpec(None, "b"))
            return w @ jax.lax.all_gather(part, "a", tiled=True)

        def quarters(part: Any) -> Any:
            axes = ("a", "b")
            whole = jax.lax.all_gather(part, axes, tiled=True)
            mixed = jax.lax.all_to_all(whole.reshape(2, 4), axes, 1, 0, tiled=True).reshape(4, 2)
            mixed += jax.lax.axis_index("b") + jax.lax.psum_scatter(whole, axes, tiled=True)
            return 0.1 * mixed.sum(0) + jax.lax.ppermute(part, axes, [(0, 2), (3, 1)])

        options: Any = {"mesh": mesh, "axis_names": {"a"}}
        found = shard_map(halves, in_specs=(some, some), out_specs=some, **options)(self.weights, x)
        return found + shard_map(quarters, mesh=mesh, in_specs=both, out_specs=both)(x)

    def update(self, *arguments: Any) -> Any:
        x = bm.as_jax(self.x)
        self.x.value = jnp.tanh(self.recurrent(x) + 0.9 * x + bm.as_jax(arguments[-1]))


def run(kind: str) -> list[Any]:
    """Run the network; return its monitor and its state."""
    net = Distributed(kind)
    inputs: Any = jnp.sin(jnp.arange(STEPS * NEURONS, dtype=jnp.float32)).reshape(STEPS, NEURONS)
    if kind == "inputs":
        inputs = jax.device_put(inputs, net.over(None, "n"))
    runner = bp.DSRunner(net, monitors=["x"], progress_bar=False)
    runner.predict(inputs=inputs)
    return [np.asarray(runner.mon["x"]), np.asarray(bm.as_jax(net.x))]


def main(folder: str) -> tuple[list[str], list[bool]]:
    """Run each kind without and with a capture, and one kind with the program of a step.

    Returns
    -------
    list of str
        The paths of both captures.
    list of bool
        Whether the runs of each kind are equal.
    """
    plain = list(map(run, KINDS))
    with probe.capture(folder, data="full", dialect=DIALECTS, portable=True, strict=True) as cap:
        probed = list(map(run, KINDS))
    with probe.capture(folder, data="full", portable=True, step=True, strict=True) as stepwise:
        run("shard-map")
    equal = [all(map(np.array_equal, *runs)) for runs in zip(plain, probed, strict=True)]
    return [str(cap.path), str(stepwise.path)], equal
