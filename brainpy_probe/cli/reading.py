"""The commands that show the content of a capture."""

from __future__ import annotations

import enum
import sys
from typing import Annotated

import msgspec
import typer
from rich.progress import track

from brainpy_probe.cli.shell import (
    Memory,
    Run,
    app,
    console,
    error_console,
    exit_on_error,
    limits,
    open_run,
    print_json,
)
from brainpy_probe.errors import ProbeError
from brainpy_probe.output import Output

__all__ = ["graph", "show"]


@app.command()
def show(
    run: Run = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show each call, program, module and remedy.")
    ] = False,
    compiles: Annotated[
        bool,
        typer.Option("--compiles", help="Show which lines of your code led to which compilations."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show a capture: its calls, programs, modules and findings."""
    from brainpy_probe.analysis.compile_causes import causes
    from brainpy_probe.report.compiles import compiles_table
    from brainpy_probe.report.details import details
    from brainpy_probe.report.summary import as_plain_text, summary, terminal_width

    with exit_on_error():
        capture = open_run(run)
        if json and compiles:
            print_json({"path": str(capture.path), "causes": causes(capture.manifest)})
            return
        if json:
            found = msgspec.to_builtins({"path": str(capture.path), "manifest": capture.manifest})
            found["findings"] = msgspec.to_builtins(capture.findings)
            print_json(found)
            return
        width = terminal_width()
        if compiles:
            content = compiles_table(capture.manifest)
        elif everything:
            content = details(capture.path, capture.manifest)
        else:
            content = summary(capture.path, capture.manifest, width)
        if console.is_terminal:
            console.print(content, width=width, soft_wrap=False)
        else:
            sys.stdout.write(as_plain_text(content) + "\n")


class Format(enum.StrEnum):
    """The formats of a picture."""

    SVG = "svg"
    PNG = "png"


@app.command()
def graph(
    run: Run = None,
    largest: Annotated[
        int | None,
        typer.Option(
            "--largest", min=1, help="Only the N largest files.", metavar="N", show_default=False
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option("--module", help="Only files of this module (name or number).", metavar="M"),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="The format.")] = Format.SVG,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Time limit for one file.", metavar="S")
    ] = 60.0,
    memory: Memory = None,
) -> None:
    """Draw XLA's dot files, the largest first, each picture next to its dot file.

    The capture has dot files if it was made with xla_dump="dot". Drawing needs no network and no
    system package, only: pip install 'brainpy-probe[graph]'
    """
    from brainpy_probe.report.pictures import dot_files, draw

    with exit_on_error():
        sources = dot_files(open_run(run), module)[:largest]
        drawn = 0
        progress = Output(stderr=True)
        drawings = draw(sources, form.value, limits(seconds, memory))
        for drawing in track(drawings, "Drawing", total=len(sources), console=progress):
            if drawing.picture is None:
                error_console.print(f"{drawing.source}: {drawing.problem}")
            else:
                drawn += 1
                console.print(str(drawing.picture))
        if not drawn:
            raise ProbeError("No file could be drawn.")
