"""The commands that run and capture a script, or check this environment."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from loguru import logger

from brainpy_probe.characters import visible
from brainpy_probe.cli.shell import FAILED, app, error_console, exit_on_error, print_json
from brainpy_probe.progress import progress
from brainpy_probe.settings import ARGUMENTS, DATA, DIALECTS, DUMPS
from brainpy_probe.startup import launch

__all__ = ["doctor", "run"]


_WORDS: dict[str, Sequence[str]] = {
    "dialect": DIALECTS,
    "xla_dump": DUMPS,
    "data": DATA,
}


def _completion(name: str) -> Callable[[str], list[str]] | None:
    """Return the function that completes the value of an option, or None."""
    words = _WORDS.get(name)
    if words is None:
        return None
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def _hint_at_options(target: str, arguments: Sequence[str]) -> None:
    """Print a hint about options of ``run`` that follow the script and are passed to it."""
    own = {f"--{name.replace('_', '-')}" for name in ARGUMENTS}
    late = [word for word in arguments if word.partition("=")[0] in own]
    if late:
        error_console.print(
            f"hint: {', '.join(late)} after {target} is passed to the script. "
            f"For brainpy-probe: brainpy-probe run {' '.join(late)} ... {target}"
        )


def _takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each argument of ``capture()`` to a command's signature."""
    options = []
    for name, argument in ARGUMENTS.items():
        kind = {"word": str | None, "words": list[str] | None, "switch": bool}[argument.form]
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=argument.help,
            metavar=None,
            show_default=False,
            autocompletion=_completion(name),
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
        str, typer.Argument(metavar="SCRIPT", help="A Python script; with -m, a module.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="Arguments and options of the script."),
    ] = None,
    *,
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is the name of a module, as with python -m.")
    ] = False,
    **options: Any,
) -> None:
    """Run an unchanged Python script and capture it.

    brainpy-probe run --dialect mhlo script.py --its-own-option

    Options of run come before the script, options of the script after it.
    This command does the same as: BRAINPY_PROBE=1 python script.py
    """
    words = {
        name: "1" if word is True else word if isinstance(word, str) else ",".join(word)
        for name, word in options.items()
        if word not in (None, False, [])
    }
    _hint_at_options(target, arguments or ())
    with exit_on_error():
        launch.launch(
            target, arguments or (), launch.environment(words, os.environ), is_module=module
        )


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check whether the probe can capture in this environment, and show the versions it found.

    It captures a network of one neuron in every dialect. Exit code 1 if that fails.
    """
    from brainpy_probe.startup.doctor import as_lines, diagnose

    logger.disable("brainpy_probe")  # the trial capture would log a line
    with exit_on_error(), progress("Capturing a network of one neuron"):
        found = diagnose()
    if json:
        print_json(found)
    else:
        sys.stdout.write(visible("\n".join(as_lines(found))) + "\n")
    if found.problem:
        raise typer.Exit(FAILED)
