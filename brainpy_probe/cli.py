"""The shell command: turns words into calls and results into lines; does nothing else."""

from __future__ import annotations

import enum
import inspect
import os
import sys
from collections import Counter
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
from brainpy_probe.errors import BadSetting, ProbeError, first_line
from brainpy_probe.live import launch
from brainpy_probe.offline.checks import Outcome
from brainpy_probe.parts import Program
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
    return load(_found(run))


def _found(run: Path | None) -> Path:
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


class Compiler(enum.StrEnum):
    """The compilers that a program can be handed to."""

    IREE = "iree"


_COLOURS: dict[Outcome, str] = {
    "passed": "green",
    "failed": "red",
    "noted": "cyan",
    "undecided": "yellow",
}


@app.command()
def verify(
    run: Run = None,
    compiler: Annotated[
        Compiler | None,
        typer.Option(
            "--with", help="Run each program by this compiler too; extra iree.", show_default=False
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Prove a capture from its files: digests, texts, signatures, arrays, and what they give.

    One line a check. Exit code 1 if one fails. Needs jaxlib, neither BrainPy nor JAX.
    """
    from brainpy_probe.offline.verify import verify as proved

    with _told():
        found = proved(_found(run), with_iree=compiler is Compiler.IREE)
    if json:
        _print_json(found)
    else:
        for check in found.checks:
            colour = _COLOURS[check.outcome]
            head = f"[{colour}]{check.outcome:9}[/]  {check.subject:19}  {check.name:19}"
            console.print(f"{head}  {escape(check.reason)}", highlight=False)
        counts = Counter(check.outcome for check in found.checks)
        told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _COLOURS if counts[outcome])
        console.print(f"{found.path}: {told}", highlight=False, markup=False)
    if not found.passed:
        raise typer.Exit(FAILED)


@app.command()
def replay(
    run: Run = None,
    program: Annotated[
        int, typer.Option("--program", min=0, help="The program's number.", metavar="N")
    ] = 0,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, help="Run it this many times.", metavar="K")
    ] = 1,
    portable: Annotated[
        bool, typer.Option("--portable", help="Take the form without BrainPy's own kernels.")
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override",
            help="Take this array for an argument, as in state/E.V=file.npy; may come several "
            "times. The results are compared with nothing then.",
            metavar="NAME=FILE",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Run a captured program again, without BrainPy and JAX, and compare what it gives.

    Needs the constants, state and inputs that capture(data=...) writes. Exit code 1 if a result
    differs from the simulation's, or the program can't be run.
    """
    from brainpy_probe.offline.replayed import as_table

    with _told():
        capture = _open(run)
        chosen = _chosen(capture, program, portable=portable)
        done = chosen.replay(repeat=repeat, overrides=_arrays(override or []))
    if json:
        seconds = {"compile": done.compile_seconds, "run": done.run_seconds}
        _print_json(
            {"path": str(capture.path), "equal": done.equal, "seconds": seconds,
             "results": done.compared}
        )  # fmt: skip
    else:
        console.print(f"{capture.path}: program {program}, {chosen.name}", highlight=False)
        console.print(as_table(done), highlight=False)
    if done.equal is False:
        raise typer.Exit(FAILED)


def _chosen(capture: Capture, number: int, *, portable: bool) -> Program:
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


def _arrays(overrides: list[str]) -> dict[str, Any]:
    import numpy as np

    arrays = {}
    for word in overrides:
        name, separator, file = word.partition("=")
        if not separator or not file:
            raise BadSetting(f"--override {word!r} names no file.", "Write state/E.V=file.npy.")
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadSetting(f"{file} can't be read: {first_line(error)}.") from None
        if not isinstance(array, np.ndarray):
            raise BadSetting(f"{file} holds several arrays.", "Give a file .npy with one.")
        arrays[name] = array
    return arrays


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
