"""The commands that show what a capture holds."""

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
    errors,
    limits,
    opened,
    print_json,
    told,
)
from brainpy_probe.errors import ProbeError
from brainpy_probe.output import Output

__all__ = ["graph", "show"]


@app.command()
def show(
    run: Run = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what was captured: calls, programs, modules, why they compiled, what to do about it."""
    with told():
        capture = opened(run)
        if json:
            found = msgspec.to_builtins({"path": str(capture.path), "manifest": capture.manifest})
            found["findings"] = msgspec.to_builtins(capture.findings)
            print_json(found)
        else:
            sys.stdout.write(f"{capture}\n")


class Form(enum.StrEnum):
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
        typer.Option("--module", help="Only this module's: its name or number.", metavar="M"),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="The pictures' format.")] = Form.SVG,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long one file may take.", metavar="S")
    ] = 60.0,
    memory: Memory = None,
) -> None:
    """Draw XLA's dot files, the largest first, each picture next to its dot file.

    They are there if the capture was made with xla_dump="dot". Drawing needs no network and no
    system package, only: pip install 'brainpy-probe[graph]'
    """
    from brainpy_probe.report.pictures import dot_files, draw

    with told():
        sources = dot_files(opened(run), module)[:largest]
        drawn = 0
        progress = Output(stderr=True)
        drawings = draw(sources, form.value, limits(seconds, memory))
        for drawing in track(drawings, "Drawing", total=len(sources), console=progress):
            if drawing.picture is None:
                errors.print(f"{drawing.source}: {drawing.problem}")
            else:
                drawn += 1
                console.print(str(drawing.picture))
        if not drawn:
            raise ProbeError("No file could be drawn.")
