"""The public functions of the report package: pictures, and the report of a capture."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from brainpy_probe.errors import BadSetting
from brainpy_probe.format.atomic import write_atomically
from brainpy_probe.progress import progress
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Limits
from brainpy_probe.report.model_explorer import model_explorer_json
from brainpy_probe.report.page.page import report_page
from brainpy_probe.report.pictures.colours import Colours
from brainpy_probe.report.pictures.model import groups_of, model
from brainpy_probe.report.pictures.svg import draw_model, model_dot
from brainpy_probe.report.pictures.xla import draw_dot

__all__ = ["COMPILE_SECONDS", "all_groups", "model_explorer_file", "picture", "report"]

COMPILE_SECONDS = 60.0


def picture(program: Program, form: Literal["svg", "png"] = "svg") -> bytes:
    """Draw a program's components, and the values that flow between them in one step.

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
    colours = Colours(groups_of(record.components))
    if form == "svg":
        return draw_model(drawn, colours).encode()
    return draw_dot(model_dot(drawn, colours), form, program.limits or Limits())


def report(
    capture: Capture,
    path: str | os.PathLike[str] | None = None,
    *,
    opens: bool = False,
    programs: Sequence[int] | None = None,
    limits: Limits | None = None,
    compile_seconds: float = COMPILE_SECONDS,
) -> Path:
    """Write a capture's report: one HTML file, which loads nothing else.

    Parameters
    ----------
    capture : Capture
        The capture.
    path : str or path, optional
        The file. By default ``NAME.html`` in the current folder, with the capture's name.
    opens : bool
        Whether to open it in a browser.
    programs : sequence of int, optional
        The numbers of the programs to describe. By default, the programs whose calls took the most
        time, up to 20 programs and 2 MB.
    limits : Limits, optional
        The limits of time and memory for reading a program.
    compile_seconds : float
        How long a program may be compiled for its optimised HLO. A program that takes longer is
        shown without it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    BadSetting
        If the path is a folder, or the capture has no such program.
    """
    _check_numbers(programs or (), len(capture.programs))
    target = Path(f"{capture.path.name}.html" if path is None else path)
    if target.is_dir():
        raise BadSetting(f"{target} is a folder.", "Give the name of a file, such as report.html.")
    with progress("Reading the capture", total=max(len(capture.programs), 1)) as steps:
        page = report_page(
            capture,
            limits=limits or Limits(),
            compile_seconds=compile_seconds,
            programs=programs,
            step=lambda what, done, total: steps.step(what, done=done, total=total),
        )
    write_atomically(target, page.encode())
    if opens:
        webbrowser.open(target.absolute().as_uri())
    return target


def _check_numbers(numbers: Sequence[int], count: int) -> None:
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number < count:
            has = f"It has {count}, numbered from 0." if count else "It has no program."
            raise BadSetting(f"The capture has no program {number!r}.", has)


def model_explorer_file(
    capture: Capture, path: Path, limits: Limits, programs: Sequence[int] | None = None
) -> Path:
    """Write a capture's programs, or some of them, as Model Explorer's JSON; return the file.

    Raises
    ------
    BadSetting
        If the path is a folder, or the capture has no such program.
    ProbeError
        If a program can't be read.
    """
    if path.is_dir():
        raise BadSetting(f"{path} is a folder.", "Give the name of a file, such as model.json.")
    _check_numbers(programs or (), len(capture.programs))
    chosen = [
        program
        for number, program in enumerate(capture.programs)
        if programs is None or number in programs
    ]
    with progress("Reading the ops", total=max(len(chosen), 1)) as steps:
        graphs = []
        for number, program in enumerate(chosen):
            steps.step(program.name, done=number)
            graphs.append(program.within(limits).op_graph())
    write_atomically(path, model_explorer_json(graphs).encode())
    return path


def all_groups(capture: Capture) -> dict[str, str]:
    """Return the group of each component of a capture's models."""
    groups: dict[str, str] = {}
    for program in capture.programs:
        groups = groups_of(program.record.components) | groups
    return groups
