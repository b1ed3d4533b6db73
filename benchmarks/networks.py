"""The networks that are run; knows no probe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["runner_of"]

EXAMPLES = Path(__file__).parent.parent / "examples"


def runner_of(network: str, size: float) -> Any:
    """Return a network's runner, without BrainPy's progress bar."""
    import brainpy as bp

    bp.math.random.seed(1)
    net, inputs, monitors = {"einet": _einet, "components": _components}[network](size)
    return bp.DSRunner(net, inputs=inputs, monitors=monitors, progress_bar=False)


def _einet(scale: float) -> tuple[Any, list[Any], list[str]]:
    sys.path.insert(0, str(EXAMPLES))
    from einet import EINet  # type: ignore[import-not-found]

    return EINet(scale), [("E.input", 20.0), ("I.input", 20.0)], ["E.spike"]


def _components(number: float) -> tuple[Any, list[Any], list[str]]:
    """Half of them populations of ten neurons, in a ring; half of them the synapses between."""
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
