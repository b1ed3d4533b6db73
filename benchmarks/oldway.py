"""The old way: what editing ``runners.py`` in site-packages did, at the same place."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

__all__ = ["OldWay"]


class OldWay:
    """Has each ``_predict`` traced once more, whole, and its text written to one file.

    The trace leaks into the model's Variables: the next run dies of it, on today's BrainPy.

    Parameters
    ----------
    file : Path
        Where the text goes.
    dialect : str
        What JAX is asked for.
    """

    def __init__(self, file: Path, dialect: str) -> None:
        self.file, self.dialect = file, dialect
        self.added = 0.0

    def edit(self, runner: type[Any]) -> None:
        """Put the lines into a class of runners."""
        import jax

        native = runner._predict
        way = self

        def _predict(self: Any, *args: Any, **kwargs: Any) -> Any:
            # JAX hands its results out before they are there: waiting for them is the run's.
            result = native(self, *args, **kwargs)
            for leaf in jax.tree_util.tree_leaves(result):
                leaf.block_until_ready()
            begun = time.perf_counter()

            def again(*args: Any) -> Any:
                return native(self, *args, **kwargs)

            way.file.write_text(jax.jit(again).lower(*args).as_text(dialect=way.dialect))
            way.added += time.perf_counter() - begun
            return result

        runner._predict = _predict
