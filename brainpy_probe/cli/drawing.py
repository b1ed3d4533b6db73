"""The commands that draw pictures."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from brainpy_probe.cli.shell import (
    Memory,
    Run,
    Timeout,
    app,
    console,
    error_console,
    exit_on_error,
    limits,
    open_run,
    select_program,
)
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.format.atomic import write_atomically
from brainpy_probe.progress import progress
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.worker import Limits

if TYPE_CHECKING:
    from brainpy_probe.report.pictures.xla import DotFile

__all__ = ["graph", "report"]


class Format(enum.StrEnum):
    """The formats of a picture."""

    SVG = "svg"
    PNG = "png"
    HTML = "html"


@app.command()
def graph(
    run: Run = None,
    program: Annotated[
        int, typer.Option("--program", min=0, help="The program's number.", metavar="N")
    ] = 0,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="svg or png; with --xla also html, one page of all pictures. Default: svg; with "
            "--xla, html.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The file; with --xla and svg or png, a folder. Default: in the current folder; "
            "with --xla and svg or png, next to each dot file.",
            show_default=False,
        ),
    ] = None,
    xla: Annotated[
        bool, typer.Option("--xla", help="Draw XLA's dot files instead, the largest first.")
    ] = False,
    largest: Annotated[
        int | None,
        typer.Option(
            "--largest",
            min=1,
            help="With --xla: only the N largest files.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            help="With --xla: only files of this module: its name, its number, or XLA's number "
            "in the names of the files.",
            metavar="M",
        ),
    ] = None,
    expands: Annotated[
        bool, typer.Option("--expand", help="With --xla: show the ops within fusions.")
    ] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Time limit for one picture.", metavar="S")
    ] = 60.0,
    memory: Memory = None,
) -> None:
    """Draw a model: its components, and the values that flow between them in one step.

    With --xla, draw the files that XLA dumped, if the capture was made with xla_dump="dot". PNG and
    --xla need no network and no system package, only: pip install 'brainpy-probe[graph]'
    """
    from brainpy_probe.report.pictures.xla import dot_files

    with exit_on_error():
        capture = open_run(run)
        bounds = limits(seconds, memory)
        if xla:
            sources = dot_files(capture, module)[:largest]
            _draw_dot_files(capture, sources, form or Format.HTML, bounds, out, not expands)
            return
        if module is not None or largest is not None or form is Format.HTML or expands:
            raise BadSetting(
                "--module, --largest, --expand and --format html are for XLA's files.", "Add --xla."
            )
        _draw_program(capture, program, form or Format.SVG, bounds, out)


@app.command()
def report(
    run: Run = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The file. Default: NAME.html in the current folder.", show_default=False
        ),
    ] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    programs: Annotated[
        list[int] | None,
        typer.Option(
            "--program",
            min=0,
            help="The number of a program to describe; may be repeated. Default: those whose "
            "calls took the most time, up to 20 programs and 2 MB.",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    compile_seconds: Annotated[
        float,
        typer.Option(
            "--compile-seconds",
            min=1,
            help="Time limit for compiling a program for its optimised HLO.",
            metavar="S",
        ),
    ] = 60.0,
    model_explorer: Annotated[
        Path | None,
        typer.Option(
            "--model-explorer",
            help="Write the programs for Model Explorer instead, as JSON.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
) -> None:
    """Write a capture's report for a browser: one HTML file, which loads nothing else.

    It has the findings, calls, compilations and costs, a picture of the model, and its equations
    next to its StableHLO and its optimised HLO.
    """
    from brainpy_probe.report.api import model_explorer_file
    from brainpy_probe.report.api import report as write_report

    with exit_on_error():
        if model_explorer is not None:
            bounds = limits(timeout, memory)
            written = model_explorer_file(open_run(run), model_explorer, bounds, programs or None)
            console.print(str(written))
            return
        written = write_report(
            open_run(run),
            out,
            opens=opens,
            programs=programs or None,
            limits=limits(timeout, memory),
            compile_seconds=compile_seconds,
        )
    console.print(str(written))


def _draw_program(
    capture: Capture, number: int, form: Format, bounds: Limits, out: Path | None
) -> None:
    from brainpy_probe.report.api import picture

    chosen = select_program(capture, number, portable=False).within(bounds)
    target = out or Path(f"{capture.path.name}-program{number}.{form.value}")
    if target.is_dir():
        raise BadSetting(f"{target} is a folder.", "Give the name of a file, such as model.svg.")
    with progress(f"Drawing {chosen.name}"):
        content = picture(chosen, "png" if form is Format.PNG else "svg")
    write_atomically(target, content)
    console.print(str(target))


def _draw_dot_files(
    capture: Capture,
    sources: Sequence[DotFile],
    form: Format,
    bounds: Limits,
    out: Path | None,
    collapses: bool,
) -> None:
    """Draw XLA's dot files, as one page or as one picture each."""
    from brainpy_probe.report.api import all_groups
    from brainpy_probe.report.page.gallery import gallery
    from brainpy_probe.report.pictures.xla import draw, write_next_to

    page = out or Path(f"{capture.path.name}-xla.html")
    if form is Format.HTML and page.is_dir():
        raise BadSetting(f"{page} is a folder.", "Give the name of a file, such as xla.html.")
    if form is not Format.HTML and out is not None:
        out.mkdir(parents=True, exist_ok=True)
    drawn = []
    with progress("Drawing", total=len(sources)) as steps:
        kind: Literal["svg", "png"] = "png" if form is Format.PNG else "svg"
        made = draw(sources, kind, bounds, groups=all_groups(capture), collapses=collapses)
        for number, (source, drawing) in enumerate(zip(sources, made, strict=True), 1):
            steps.step(drawing.source.name, done=number)
            drawn.append(drawing)
            if drawing.problem:
                error_console.print(f"{drawing.source}: {drawing.problem}")
            if not drawing.content or form is Format.HTML:
                continue
            if out is None:
                target = write_next_to(drawing, source)
            else:
                target = out / drawing.source.with_suffix(f".{drawing.form}").name
                write_atomically(target, drawing.content)
            console.print(str(target))
    if not any(drawing.content for drawing in drawn):
        raise ProbeError("No file could be drawn.")
    if form is Format.HTML:
        write_atomically(page, gallery(capture.path.name, drawn).encode())
        console.print(str(page))
