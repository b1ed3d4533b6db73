"""The commands that explain a program, and compare two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from brainpy_probe.characters import visible
from brainpy_probe.cli.shell import (
    FAILED,
    Memory,
    Run,
    Timeout,
    app,
    exit_on_error,
    limits,
    open_run,
    print_json,
    select_program,
)
from brainpy_probe.errors import BadSetting
from brainpy_probe.progress import progress
from brainpy_probe.reader.worker import Limits

__all__ = ["diff", "explain"]


@app.command()
def explain(
    run: Run = None,
    program: Annotated[
        int, typer.Option("--program", min=0, help="The program's number.", metavar="N")
    ] = 0,
    component: Annotated[
        str | None,
        typer.Option(
            "--component",
            help="Only this component, such as E2E.syn.",
            metavar="E",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
    json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the equations as LaTeX.")] = False,
) -> None:
    """Show how each state of the model is updated, as equations.

    The equations are read from the captured program. This needs jaxlib, but neither BrainPy nor
    JAX.
    """
    from brainpy_probe.analysis.explanation.printing.page import latex_page, page

    with exit_on_error():
        if json and latex:
            raise BadSetting("--json and --latex can't be combined.", "Give one of them.")
        capture = open_run(run)
        chosen = select_program(capture, program, portable=False)
        with progress(f"Explaining {chosen.name}"):
            explanation = chosen.within(limits(timeout, memory)).explain()
        if component is not None:
            explanation = explanation.of(component)
        if json:
            print_json({"path": str(capture.path), "explanation": explanation})
        elif latex:
            sys.stdout.write(visible(latex_page(explanation)) + "\n")
        else:
            sys.stdout.write(visible(page(explanation)) + "\n")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A capture folder, or its parent.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    program: Annotated[
        int, typer.Option("--program", min=0, help="The number of the program.", metavar="N")
    ] = 0,
    ignore: Annotated[
        str,
        typer.Option(
            "--ignore",
            help="What does not count as a difference: data, constants, shapes, costs.",
            metavar="WORDS",
            show_default=False,
        ),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the difference as JSON.")] = False,
) -> None:
    """Compare the programs of two captures: states' updates, data, components, costs.

    Exit code 0 if they are the same, 1 if not, 2 for wrong usage.
    """
    from brainpy_probe.reader.difference import diff as compare

    with exit_on_error():
        words = [word.strip() for word in ignore.split(",") if word.strip()]
        found = compare(old, new, program=program, ignore=words)
    if json:
        print_json(found)
    else:
        sys.stdout.write(visible(str(found)) + "\n")
    if not found.same:
        raise typer.Exit(FAILED)
