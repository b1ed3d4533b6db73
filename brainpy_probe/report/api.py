"""What the report package makes of a capture: pictures, and the report."""

from __future__ import annotations

from typing import Literal

from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Limits
from brainpy_probe.report.colours import Colours
from brainpy_probe.report.model import Model, model
from brainpy_probe.report.pictures import draw_dot
from brainpy_probe.report.svg import draw_model, model_dot

__all__ = ["picture"]


def picture(program: Program, form: Literal["svg", "png"] = "svg") -> bytes:
    """Draw a program's components and what flows between them in one step.

    Parameters
    ----------
    program : Program
        The program.
    form : str
        ``svg`` or ``png``. PNG needs pygraphviz.

    Raises
    ------
    ProbeError
        If the program can't be read, or the picture can't be drawn.
    """
    record = program.record
    drawn = model(record, program.dataflow, program.costs, record.measured)
    colours = colours_of(drawn)
    if form == "svg":
        return draw_model(drawn, colours).encode()
    return draw_dot(model_dot(drawn, colours), form, program.limits or Limits())


def colours_of(drawn: Model) -> Colours:
    """Return the colours of a model's nodes; what the runner does has none."""
    return Colours([node.name for node in drawn.nodes if not node.is_runner])
