"""What the shell's commands share: the app, where they print, which run is meant, exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from loguru import logger
from rich.text import Text

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.format.reading import newest_run
from brainpy_probe.output import Output, visible_json
from brainpy_probe.reader.capture import Capture, load
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Limits
from brainpy_probe.settings import DEFAULT_OUT

__all__ = [
    "FAILED",
    "USAGE",
    "Memory",
    "Run",
    "Timeout",
    "app",
    "chosen_program",
    "chosen_run",
    "console",
    "errors",
    "limits",
    "opened",
    "print_json",
    "told",
]

FAILED, USAGE = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Shows what XLA makes of a BrainPy network, and leaves the network alone.",
)
console = Output(soft_wrap=True)
errors = Output(stderr=True, soft_wrap=True)

Run = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        help=f"A capture folder run-..., or the folder that it lies in. Left out: the newest one "
        f"below ./{DEFAULT_OUT}.",
        show_default=False,
    ),
]

Timeout = Annotated[
    float,
    typer.Option("--timeout", help="How long a program may take, in seconds.", metavar="SECONDS"),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        help="How much memory a program may have, in GB. Default: half of the machine's.",
        metavar="GB",
        show_default=False,
    ),
]


def limits(timeout: float, memory: float | None) -> Limits:
    """Return the limits that two options ask for."""
    return Limits(timeout) if memory is None else Limits(timeout, int(memory * 1e9))


@app.callback()
def _prepare() -> None:
    logger.enable("brainpy_probe")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may have what it can't encode


@contextmanager
def told() -> Iterator[None]:
    """Turn the probe's errors into one line and an exit code."""
    try:
        yield
    except BadSetting as error:
        _say(error)
        raise typer.Exit(USAGE) from None
    except (ProbeError, OSError) as error:
        _say(error)
        raise typer.Exit(FAILED) from None


def _say(error: Exception) -> None:
    errors.print(Text.assemble(("error:", "red"), f" {in_one_line(str(error))}"))


def opened(run: Path | None) -> Capture:
    """Open a run that was named, by itself or by its parent, or else the newest one."""
    return load(chosen_run(run))


def chosen_run(run: Path | None) -> Path:
    """Return the folder of a run that was named, or else of the newest one."""
    place = Path(DEFAULT_OUT) if run is None else run
    if (place / "manifest.json").exists() or place.name == "manifest.json":
        return place
    found = newest_run(place) if place.is_dir() else None
    if found is None:
        raise FileNotFoundError(
            f"There is no capture in {place}. Give a folder run-..., or the folder that it is in."
        )
    return found


def chosen_program(capture: Capture, number: int, *, portable: bool) -> Program:
    """Return a program of a capture by its number.

    Raises
    ------
    BadSetting
        If there is none, or it has no portable form.
    """
    programs = capture.programs
    if number >= len(programs):
        raise BadSetting(
            f"{capture.path} has no program {number}.", f"It has {len(programs)}, from 0 on."
        )
    if not portable:
        return programs[number]
    form = programs[number].portable
    if form is None or not form.record.files:
        raise BadSetting(
            f"Program {number} has no portable form.", "capture(portable=True) makes one."
        )
    return form


def print_json(found: object) -> None:
    """Print a record as JSON."""
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    sys.stdout.write(visible_json(text) + "\n")
