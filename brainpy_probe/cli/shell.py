"""Shared parts of the commands: the app, the consoles, the choice of a run, exit codes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from loguru import logger
from rich.text import Text

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.format.reading import find_run
from brainpy_probe.output import Output, visible_json
from brainpy_probe.reader.capture import Capture, load
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.worker import Limits
from brainpy_probe.settings import DEFAULT_OUT

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "USAGE",
    "Memory",
    "Run",
    "Timeout",
    "app",
    "console",
    "error_console",
    "exit_on_error",
    "limits",
    "open_run",
    "print_json",
    "run_path",
    "select_program",
]

FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    no_args_is_help=True,
    # Rich's markup would drop [graph] from a help text.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Shows what XLA makes of a BrainPy network, without changing the network.",
)
console = Output(soft_wrap=True)
error_console = Output(stderr=True, soft_wrap=True)


def _complete_run(incomplete: str) -> list[str]:
    """Return the captures in the default folder, or those whose path begins as given."""
    parents = {Path(DEFAULT_OUT), Path(incomplete).parent, Path(incomplete)}
    found = {str(path) for parent in parents if parent.is_dir() for path in parent.glob("run-*")}
    return sorted((path for path in found if path.startswith(incomplete)), reverse=True)


Run = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=_complete_run,
        help=f"A capture folder run-..., or its parent folder. Default: the newest capture in "
        f"./{DEFAULT_OUT}.",
        show_default=False,
    ),
]

Timeout = Annotated[
    float,
    typer.Option("--timeout", help="Time limit for a program, in seconds.", metavar="SECONDS"),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        help="Memory limit for a program, in GB. Default: half of the machine's memory.",
        metavar="GB",
        show_default=False,
    ),
]


def limits(timeout: float, memory: float | None) -> Limits:
    """Return the limits that the options --timeout and --memory set."""
    return Limits(timeout) if memory is None else Limits(timeout, int(memory * 1e9))


def _print_version(requested: bool) -> None:
    if requested:
        sys.stdout.write(f"brainpy-probe {version('brainpy-probe')}\n")
        raise typer.Exit


@app.callback()
def _prepare(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    logger.enable("brainpy_probe")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may hold any character


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print the probe's errors as one line, and exit with a code."""
    try:
        yield
    except BadSetting as error:
        _print_error(error)
        raise typer.Exit(USAGE) from None
    except (ProbeError, OSError) as error:
        _print_error(error)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        error_console.print("stopped")
        raise typer.Exit(INTERRUPTED) from None


def _print_error(error: Exception) -> None:
    error_console.print(Text.assemble(("error:", "red"), f" {in_one_line(str(error))}"))


def open_run(run: Path | None) -> Capture:
    """Open a capture, given its folder or its parent folder; None for the newest capture."""
    return load(run_path(run))


def run_path(run: Path | None) -> Path:
    """Return the path of a capture, given it or its parent folder; None for the newest."""
    return find_run(Path(DEFAULT_OUT) if run is None else run)


def select_program(capture: Capture, number: int, *, portable: bool) -> Program:
    """Return a program of a capture by its number.

    Raises
    ------
    BadSetting
        If the number does not exist, or the program has no portable program.
    """
    programs = capture.programs
    if number >= len(programs):
        raise BadSetting(
            f"{capture.path} has no program {number}.",
            f"It has {len(programs)}, numbered from 0.",
        )
    if not portable:
        return programs[number]
    program = programs[number].portable
    if program is None or not program.record.files:
        raise BadSetting(
            f"Program {number} has no portable program.", "Capture with portable=True."
        )
    return program


def print_json(record: object) -> None:
    """Print a record as JSON."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode()
    sys.stdout.write(visible_json(text) + "\n")
