"""The commands that verify a capture and replay its programs."""

from __future__ import annotations

import enum
from collections import Counter
from typing import Annotated, Any

import typer
from rich.text import Text

from brainpy_probe.characters import in_one_line
from brainpy_probe.cli.shell import (
    FAILED,
    Memory,
    Run,
    Timeout,
    app,
    console,
    exit_on_error,
    find_run,
    limits,
    open_run,
    print_json,
    select_program,
)
from brainpy_probe.errors import BadSetting, first_line
from brainpy_probe.reader.worker import Limits
from brainpy_probe.verify.checks import Outcome

__all__ = ["replay", "verify"]


class Compiler(enum.StrEnum):
    """The other compilers that can run a program."""

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
            "--with",
            help="Also run each program with this compiler. Needs the extra iree.",
            show_default=False,
        ),
    ] = None,
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
    json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Verify a capture from its files: digests, texts, signatures, arrays and results.

    Prints one line for each check. Exit code 1 if one fails. Needs jaxlib, but neither BrainPy nor
    JAX.
    """
    from brainpy_probe.verify.api import verify as verify_capture

    with exit_on_error():
        verified = verify_capture(
            find_run(run),
            with_iree=compiler is Compiler.IREE,
            limits=limits(timeout, memory),
        )
    if json:
        print_json(verified)
    else:
        for check in verified.checks:
            line = f"  {check.subject:19}  {check.name:19}  {in_one_line(check.reason)}"
            console.print(Text.assemble((f"{check.outcome:9}", _COLOURS[check.outcome]), line))
        counts = Counter(check.outcome for check in verified.checks)
        summary = ", ".join(
            f"{counts[outcome]} {outcome}" for outcome in _COLOURS if counts[outcome]
        )
        console.print(f"{verified.path}: {summary}")
    if not verified.passed:
        raise typer.Exit(FAILED)


@app.command()
def replay(
    run: Run = None,
    program: Annotated[
        int, typer.Option("--program", min=0, help="The program's number.", metavar="N")
    ] = 0,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, help="Run the program this many times.", metavar="K")
    ] = 1,
    portable: Annotated[
        bool, typer.Option("--portable", help="Use the program without BrainPy's own kernels.")
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override",
            help="Use this array for an argument, as in state/E.V=file.npy. May be repeated. "
            "The results are then not compared.",
            metavar="NAME=FILE",
        ),
    ] = None,
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a captured program again, without BrainPy and JAX, and compare its results.

    Needs the constants, state and inputs that capture(data=...) writes. Exit code 1 if
    the program is not the simulation's, or can't be run.
    """
    from brainpy_probe.cli.tables import replay_table

    with exit_on_error():
        capture = open_run(run)
        chosen = select_program(capture, program, portable=portable)
        chosen = chosen.within(limits(timeout, memory))
        replayed = chosen.replay(repeat=repeat, overrides=_arrays(override or []))
    if json:
        seconds = {"compile": replayed.compile_seconds, "run": replayed.run_seconds}
        print_json(
            {
                "path": str(capture.path),
                "equal": replayed.equal,
                "verdict": replayed.verdict,
                "stepwise": replayed.stepwise,
                "seconds": seconds,
                "direct": replayed.direct,
                "results": replayed.compared,
            }
        )
    else:
        console.print(f"{capture.path}: program {program}, {chosen.name}")
        console.print(replay_table(replayed))
    if replayed.verdict.outcome == "failed":
        raise typer.Exit(FAILED)


def _arrays(overrides: list[str]) -> dict[str, Any]:
    import numpy as np

    arrays = {}
    for word in overrides:
        name, separator, file = word.partition("=")
        if not separator or not file:
            raise BadSetting(
                f"--override {word!r} names no file.", "Give NAME=FILE, as in state/E.V=file.npy."
            )
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadSetting(
                f"{file} can't be read: {first_line(error)}.", "Give a file that numpy.save wrote."
            ) from None
        if not isinstance(array, np.ndarray):
            raise BadSetting(f"{file} holds several arrays.", "Give a .npy file, with one array.")
        arrays[name] = array
    return arrays
