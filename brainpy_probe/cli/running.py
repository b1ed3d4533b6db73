"""The commands that start something: a script to be captured, a trial of this environment."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from loguru import logger

from brainpy_probe.characters import visible
from brainpy_probe.cli.shell import FAILED, app, print_json, told
from brainpy_probe.settings import ARGUMENTS
from brainpy_probe.startup import launch

__all__ = ["doctor", "run"]


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
    with told():
        launch.launch(
            target, arguments or (), launch.environment(words, os.environ), is_module=module
        )


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Tell what the probe finds here, what it takes and why, and whether it can capture.

    It captures a network of one neuron in every dialect to see. Exit code 1 if it can't.
    """
    from brainpy_probe.startup.doctor import as_lines, diagnose

    logger.disable("brainpy_probe")  # the trial's own line is no news
    with told():
        found = diagnose()
    if json:
        print_json(found)
    else:
        sys.stdout.write(visible("\n".join(as_lines(found))) + "\n")
    if found.problem:
        raise typer.Exit(FAILED)
