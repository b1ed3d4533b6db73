"""The command that shows the cost of each component of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brainpy_probe.analysis.program_findings import dominant
from brainpy_probe.cli.shell import (
    Memory,
    Run,
    Timeout,
    app,
    console,
    exit_on_error,
    limits,
    open_run,
    print_json,
    select_program,
)
from brainpy_probe.errors import BadSetting
from brainpy_probe.progress import progress
from brainpy_probe.reader.worker import Limits

__all__ = ["costs"]

_WIDTH = 80


@app.command()
def costs(
    run: Run = None,
    program: Annotated[
        int, typer.Option("--program", min=0, help="The program's number.", metavar="N")
    ] = 0,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Run the program on its arrays under XLA's profiler (jaxlib 0.10)."
        ),
    ] = False,
    portable: Annotated[
        bool, typer.Option("--portable", help="Use the program without BrainPy's own kernels.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            help="Measure, and write some steps as a Chrome trace for https://ui.perfetto.dev, "
            "with a track for each component.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
    json: Annotated[bool, typer.Option("--json", help="Print the costs as JSON.")] = False,
) -> None:
    """Show the cost of each component of the model: operations, bytes and time.

    XLA counts the operations of the captured program. This needs jaxlib, but neither BrainPy nor
    JAX. Times are shown if the capture was made with profile=True, or with --measure.
    """
    from brainpy_probe.report.text.tables import costs_table

    with exit_on_error():
        if trace is not None and trace.is_dir():
            raise BadSetting(
                f"{trace} is a folder.", "Give the name of a file, such as steps.json."
            )
        capture = open_run(run)
        chosen = select_program(capture, program, portable=portable)
        chosen = chosen.within(limits(timeout, memory))
        with progress(f"Counting the ops of {chosen.name}"):
            counted = chosen.costs
        measured = chosen.measured
        if measure or trace is not None:
            with progress(f"Measuring {chosen.name}: compile, run, profile"):
                measuring = chosen.measure()
            measured = measuring.measured
            if trace is not None:
                trace.write_text(measuring.chrome_trace())
    record, platform = chosen.record, chosen.fidelity.placement.platform
    finding = dominant(record.components, measured, counted, record.links, platform)
    if json:
        print_json(
            {
                "path": str(capture.path),
                "costs": counted,
                "measured": measured,
                "finding": finding,
            }
        )
        return
    console.print(f"{capture.path}: program {program}, {chosen.name}")
    width = console.width if console.is_terminal else _WIDTH
    if measured is None and chosen.record.unmeasured:
        console.print(f"not measured: {chosen.record.unmeasured}")
    table = costs_table(counted, measured, chosen.record.links)
    console.print(table, width=width, soft_wrap=False)
    if finding is not None:
        line = f"{finding.slug}: {finding.sentence} -> {finding.remedy}"
        console.print(line, width=width, soft_wrap=False)
    if trace is not None:
        console.print(f"{trace}: open this file in https://ui.perfetto.dev")
