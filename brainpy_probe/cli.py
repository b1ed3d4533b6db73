"""The shell command: turns words into calls and results into lines; does nothing else."""

from __future__ import annotations

import enum
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from loguru import logger
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from brainpy_probe.captured import Capture, load
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.live import launch
from brainpy_probe.settings import ARGUMENTS, DEFAULT_OUT
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


def _print_json(found: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")


def _takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each argument of ``capture()``, as typer reads signatures."""
    options = []
    for name, argument in ARGUMENTS.items():
        kind = {"word": str | None, "words": list[str] | None, "switch": bool}[argument.form]
        option = typer.Option(
            f"--{name.replace('_', '-')}", help=argument.help, metavar=None, show_default=False
        )
        default = False if argument.form == "switch" else None
        annotation: Any = Annotated[kind, option]
        options.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )
    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    return command


@app.command(context_settings={"allow_interspersed_args": False})
@_takes_settings
def run(
    target: Annotated[
        str, typer.Argument(metavar="SCRIPT", help="A Python script, or after -m a module.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="The script's own arguments and options."),
    ] = None,
    *,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is a module's name, as with python -m.")
    ] = False,
    **given: Any,
) -> None:
    """Run a script unchanged, as python does, and capture it.

    brainpy-probe run --dialect mhlo script.py --its-own-option

    Options of run stand before the script; what comes after it is the script's own.
    The same without this command: BRAINPY_PROBE=1 python script.py
    """
    words = {
        name: "1" if word is True else word if isinstance(word, str) else ",".join(word)
        for name, word in given.items()
        if word not in (None, False, [])
    }
    with _told():
        launch.launch(
            target, arguments or (), launch.environment(words, os.environ), is_module=module
        )


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
            _print_json(found)
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


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Tell what the probe finds here, what it takes and why, and whether it can capture.

    It captures a network of one neuron in every dialect to see. Exit code 1 if it can't.
    """
    from brainpy_probe.live.doctor import as_lines, diagnose

    logger.disable("brainpy_probe")  # the trial's own line is no news
    with _told():
        found = diagnose()
    if json:
        _print_json(found)
    else:
        sys.stdout.write("\n".join(as_lines(found)) + "\n")
    if found.problem:
        raise typer.Exit(FAILED)
