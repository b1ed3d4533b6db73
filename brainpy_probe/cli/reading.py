"""The command that shows the content of a capture."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from brainpy_probe.cli.shell import (
    Run,
    app,
    console,
    exit_on_error,
    open_run,
    print_json,
)
from brainpy_probe.format.reading import is_run

__all__ = ["show"]


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
    """Show a capture: its calls, programs, modules and findings.

    Given the parent folder of a distributed run (jax.distributed), it compares the captures of all
    ranks.
    """
    from brainpy_probe.analysis.compile_causes import causes
    from brainpy_probe.report.text.compiles import compiles_table
    from brainpy_probe.report.text.details import details
    from brainpy_probe.report.text.ranks import ranks_table
    from brainpy_probe.report.text.summary import as_plain_text, summary, terminal_width

    with exit_on_error():
        capture = open_run(run)
        ranks = capture.ranks if run is None or not is_run(run) else None
        if json and compiles:
            print_json({"path": str(capture.path), "causes": causes(capture.manifest)})
            return
        if json and ranks is not None:
            print_json({"path": str(capture.path.parent), "ranks": ranks})
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
        elif ranks is not None:
            content = ranks_table(capture.path.parent, ranks)
        else:
            content = summary(capture.path, capture.manifest, width)
        if console.is_terminal:
            console.print(content, width=width, soft_wrap=False)
        else:
            sys.stdout.write(as_plain_text(content) + "\n")
