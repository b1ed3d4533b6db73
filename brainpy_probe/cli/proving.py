"""The commands that prove a capture, and run its programs again."""

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
    chosen_program,
    chosen_run,
    console,
    limits,
    opened,
    print_json,
    told,
)
from brainpy_probe.errors import BadSetting, first_line
from brainpy_probe.reader.worker import Limits
from brainpy_probe.verify.checks import Outcome

__all__ = ["replay", "verify"]


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
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
    json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Prove a capture from its files: digests, texts, signatures, arrays, and what they give.

    One line a check. Exit code 1 if one fails. Needs jaxlib, neither BrainPy nor JAX.
    """
    from brainpy_probe.verify.api import verify as proved

    with told():
        verified = proved(
            chosen_run(run),
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
    timeout: Timeout = Limits.seconds,
    memory: Memory = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Run a captured program again, without BrainPy and JAX, and compare what it gives.

    Needs the constants, state and inputs that capture(data=...) writes. Exit code 1 if a result
    differs from the simulation's for no known reason, or the program can't be run.
    """
    from brainpy_probe.cli.tables import replay_table

    with told():
        capture = opened(run)
        chosen = chosen_program(capture, program, portable=portable)
        chosen = chosen.within(limits(timeout, memory))
        done = chosen.replay(repeat=repeat, overrides=_arrays(override or []))
    if json:
        seconds = {"compile": done.compile_seconds, "run": done.run_seconds}
        print_json(
            {"path": str(capture.path), "equal": done.equal, "verdict": done.verdict,
             "seconds": seconds, "direct": done.direct, "results": done.compared}
        )  # fmt: skip
    else:
        console.print(f"{capture.path}: program {program}, {chosen.name}")
        console.print(replay_table(done))
    if done.verdict.outcome == "failed":
        raise typer.Exit(FAILED)


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
