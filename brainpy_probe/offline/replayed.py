"""A replay as a table for the shell; knows no folder."""

from __future__ import annotations

import statistics

from rich.console import Group
from rich.table import Table
from rich.text import Text

from brainpy_probe.replay import Compared, Replay

__all__ = ["as_table"]


def as_table(replay: Replay) -> Group:
    """Return a replay as rich prints it: a line for each result, a verdict, the seconds."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("result", "shape", "type", "beside the simulation's"):
        table.add_column(title, overflow="fold")
    for one in replay.compared:
        array = replay.results[one.name]
        shape = "x".join(map(str, array.shape)) or "scalar"
        table.add_row(one.name, shape, str(array.dtype), _beside(one))
    return Group(table, _verdict(replay), Text(_seconds(replay)))


def _beside(one: Compared) -> Text:
    if one.equal:
        return Text("equal")
    if one.equal is None:
        return Text("not compared", style="dim")
    apart = one.difference
    if apart is None:
        return Text("differs: another digest", style="red")
    elements = "1 element" if apart.elements == 1 else f"{apart.elements} elements"
    said = f"differs in {elements}, by at most {apart.largest:.3g}"
    if apart.ulps is not None:
        said += f" ({apart.ulps} ulp)" if apart.ulps == 1 else f" ({apart.ulps} ulps)"
    if apart.nans:
        said += f", {apart.nans} times NaN in one alone"
    return Text(said, style="red")


def _verdict(replay: Replay) -> Text:
    compared, verdict = replay.compared, replay.verdict
    equal, unlike = (sum(one.equal is known for one in compared) for known in (True, False))
    said = f"{equal} of {len(compared)} results are the simulation's, bit for bit"
    if unlike:
        said = f"{said}; {unlike} differ. {verdict.outcome.capitalize()}: {verdict.reason}"
    elif equal < len(compared):
        said = f"{said}; for {len(compared) - equal} there is nothing to compare"
    return Text(f"{said}.", style=_STYLES[verdict.outcome])


_STYLES = {"bit for bit": "bold green", "undecided": "yellow", "failed": "bold red"}


def _seconds(replay: Replay) -> str:
    runs = replay.run_seconds
    said = f"seconds: {replay.compile_seconds:.3f} to compile, {runs[0]:.4f} to run"
    if len(runs) > 1:
        again = runs[1:]
        said += f", then {statistics.median(again):.4f} (median of {len(again)})"
    if replay.direct:
        said += "; BrainPy's kernels called without Python, which the simulation's were not"
    return said
