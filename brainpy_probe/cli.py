"""The shell command: turns words into calls and results into lines; does nothing else."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from loguru import logger
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from brainpy_probe.captured import Capture, load
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.settings import DEFAULT_OUT
from brainpy_probe.store import newest_run

__all__ = ["app"]

FAILED, USAGE = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Shows what XLA makes of a BrainPy network, and leaves the network alone.",
)
console = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)

Run = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        help=f"A capture folder run-..., or the folder that it lies in. Left out: the newest one "
        f"below ./{DEFAULT_OUT}.",
        show_default=False,
    ),
]


@app.callback()
def _log() -> None:
    logger.enable("brainpy_probe")


@contextmanager
def _told() -> Iterator[None]:
    """Turn the probe's errors into one line and an exit code."""
    try:
        yield
    except BadSetting as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(USAGE) from None
    except (ProbeError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(FAILED) from None


def _open(run: Path | None) -> Capture:
    """Open a run that was named, by itself or by its parent, or else the newest one."""
    place = Path(DEFAULT_OUT) if run is None else run
    if (place / "manifest.json").exists() or place.name == "manifest.json":
        return load(place)
    found = newest_run(place) if place.is_dir() else None
    if found is None:
        raise FileNotFoundError(
            f"There is no capture in {place}. Give a folder run-..., or the folder that it is in."
        )
    return load(found)


@app.command()
def show(
    run: Run = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Show what was captured: calls, programs, modules, why they compiled, what to do about it."""
    with _told():
        capture = _open(run)
        if json:
            found = msgspec.to_builtins({"path": str(capture.path), "manifest": capture.manifest})
            found["findings"] = msgspec.to_builtins(capture.findings)
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
            sys.stdout.write("\n")
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
) -> None:
    """Draw XLA's dot files, the largest first, each beside its source.

    They are there if the capture was made with xla_dump="dot". Drawing needs no network and no
    system package, only: pip install 'brainpy-probe[graph]'
    """
    from brainpy_probe.offline.graph import dot_files, draw

    with _told():
        sources = dot_files(_open(run), module)[:largest]
        drawn = 0
        progress = Console(stderr=True)
        drawings = draw(sources, form.value, seconds)
        for drawing in track(drawings, "Drawing", total=len(sources), console=progress):
            if drawing.picture is None:
                errors.print(f"{drawing.source}: {drawing.problem}", highlight=False, markup=False)
            else:
                drawn += 1
                console.print(str(drawing.picture), highlight=False, markup=False)
        if not drawn:
            raise ProbeError("No file could be drawn.")
