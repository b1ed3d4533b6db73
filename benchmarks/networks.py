"""The networks that the benchmarks run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["runner_of"]

EXAMPLES = Path(__file__).parent.parent / "examples"


def runner_of(network: str, size: float) -> Any:
    """Return a network's runner, without BrainPy's progress bar."""
    import brainpy as bp

    bp.math.random.seed(1)
    if network in _KNOWN:
        return _KNOWN[network](size)
    net, inputs, monitors = {"einet": _einet, "components": _components}[network](size)
    return bp.DSRunner(net, inputs=inputs, monitors=monitors, progress_bar=False)


def _einet(scale: float) -> tuple[Any, list[Any], list[str]]:
    return _einet_class()(scale), [("E.input", 20.0), ("I.input", 20.0)], ["E.spike"]


def _components(number: float) -> tuple[Any, list[Any], list[str]]:
    """Build a ring: half of the components are populations of ten neurons, half are synapses."""
    import brainpy as bp

    net: Any = bp.DynSysGroup()
    size = int(number) // 2
    cells = [bp.neurons.LIF(10, tau=10.0 + n, V_th=-50.0, V_rest=-60.0) for n in range(size)]
    for n, cell in enumerate(cells):
        setattr(net, f"cell{n}", cell)
    for n, cell in enumerate(cells):
        post = cells[(n + 1) % size]
        synapse = bp.synapses.Exponential(
            cell, post, bp.conn.One2One(), output=bp.synouts.COBA(E=0.0), tau=5.0 + n, g_max=0.1
        )
        setattr(net, f"synapse{n}", synapse)
    return net, [("cell0.input", 20.0)], ["cell0.spike"]


def _einet_runner(size: float, **options: Any) -> Any:
    import brainpy as bp

    net, inputs, monitors = _einet(size)
    return bp.DSRunner(net, inputs=inputs, monitors=monitors, progress_bar=False, **options)


def _batch_first(size: float) -> Any:
    """Build a runner with a monitor whose first axis is the batch: the runner swaps its axes."""
    import brainpy as bp
    import brainpy.math as bm

    class Batched(bp.DynamicalSystem):
        def __init__(self) -> None:
            super().__init__(mode=bm.BatchingMode(16))
            self.x = bm.Variable(bm.zeros((16, int(size))), batch_axis=0)

        def update(self) -> None:
            self.x.value = self.x * 0.9 + 1.0

    return bp.DSRunner(Batched(), monitors=["x"], data_first_axis="B", progress_bar=False)


def _numpy_weights(size: float) -> Any:
    """Build a model with twenty NumPy arrays of this size, which JAX copies at each trace."""
    import brainpy as bp
    import brainpy.math as bm
    import numpy as np

    class Weights(bp.DynamicalSystem):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [np.full(int(size), n, np.float32) for n in range(20)]
            self.x = bm.Variable(bm.zeros(int(size)))

        def update(self) -> None:
            for weight in self.weights:
                self.x.value = self.x * 0.5 + weight

    return bp.DSRunner(Weights(), monitors={"x": _zero}, progress_bar=False)


def _zero(*_: Any) -> Any:
    return 0.0


def _made_in_update(size: float) -> Any:
    """Build EINet with an array that ``update()`` creates and that therefore has no name."""
    import brainpy as bp
    import numpy as np

    class Noisy(_einet_class()):  # type: ignore[misc]
        def update(self, *args: Any) -> Any:
            self.E.input += np.arange(self.E.num, dtype=np.float32) * 1e-6
            return super().update(*args)

    inputs = [("E.input", 20.0), ("I.input", 20.0)]
    return bp.DSRunner(Noisy(size), inputs=inputs, monitors=["E.spike"], progress_bar=False)


def _einet_class() -> Any:
    sys.path.insert(0, str(EXAMPLES))
    from einet import EINet  # type: ignore[import-not-found]

    return EINet


def _loose_components(number: float) -> Any:
    """Build a model whose components are not its attributes but in a closure."""
    import brainpy as bp

    cells = [bp.neurons.LIF(10) for _ in range(int(number))]

    class Loose(bp.DynamicalSystem):
        def __init__(self) -> None:
            super().__init__()
            self.lif = bp.neurons.LIF(10)

        def update(self) -> None:
            self.lif.update()
            for cell in cells:
                cell.update()

    return bp.DSRunner(Loose(), monitors=["lif.V"], progress_bar=False)


# Networks for the overhead of known calls, whose program was captured before.
_KNOWN: dict[str, Callable[[float], Any]] = {
    "batch-first": _batch_first,
    "memory-efficient": lambda size: _einet_runner(size, memory_efficient=True),
    "no-jit": lambda size: _einet_runner(size, jit=False),
    "numpy-weights": _numpy_weights,
    "made-in-update": _made_in_update,
    "loose-components": _loose_components,
}
