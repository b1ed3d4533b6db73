"""The commands that verify a capture and replay its programs."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

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
    limits,
    open_run,
    print_json,
    run_path,
    select_program,
)
from brainpy_probe.errors import BadSetting, first_line
from brainpy_probe.progress import progress
from brainpy_probe.reader.worker import Limits
from brainpy_probe.verify.checks import Check, Outcome

if TYPE_CHECKING:
    from brainpy_probe.analysis.replaying.replay import Replay
    from brainpy_probe.reader.program import Program

__all__ = ["replay", "verify"]


class Compiler(enum.StrEnum):
    """The other compilers that can run a program."""

    IREE = "iree"


# In the order in which they are shown.
_COLOURS: dict[Outcome, str] = {
    "failed": "red",
    "undecided": "yellow",
    "noted": "cyan",
    "passed": "green",
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
    everything: Annotated[bool, typer.Option("--all", help="Show every check.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Verify a capture from its files: digests, texts, signatures, arrays and results.

    Prints the verdict, then each check that did not pass. Exit code 1 if one failed. Needs jaxlib,
    but neither BrainPy nor JAX.
    """
    from brainpy_probe.verify.api import verify as verify_capture

    made: list[Check] = []
    with exit_on_error():
        folder = run_path(run)
        try:
            with progress("Verifying") as steps:

                def show_step(check: Check) -> None:
                    made.append(check)
                    steps.step(f"{len(made)} checks; {check.subject}: {check.name}")

                verified = verify_capture(
                    folder,
                    with_iree=compiler is Compiler.IREE,
                    limits=limits(timeout, memory),
                    on_check=show_step,
                )
        except KeyboardInterrupt:
            _print_checks(f"stopped: {folder}", made, everything=everything)
            raise
    if json:
        print_json(verified)
    else:
        verdict = "verified" if verified.passed else "FAILED"
        _print_checks(f"{verdict}: {verified.path}", verified.checks, everything=everything)
    if not verified.passed:
        raise typer.Exit(FAILED)


def _print_checks(verdict: str, checks: Sequence[Check], *, everything: bool) -> None:
    """Print a verdict, the number of checks by outcome, and the checks that did not pass."""
    counts = Counter(check.outcome for check in checks)
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _COLOURS if counts[outcome])
    worst: Outcome = next((outcome for outcome in _COLOURS if counts[outcome]), "passed")
    console.print(Text(verdict, style=f"bold {_COLOURS[worst]}"))
    console.print(f"{len(checks)} checks: {summary}")
    if everything:
        for check in checks:
            _print_check(check, check.subject)
        return
    # Checks with the same result share a line, whatever they are about.
    subjects: dict[tuple[Outcome, str, str], list[Check]] = {}
    for check in checks:
        if check.outcome != "passed":
            subjects.setdefault((check.outcome, check.name, check.reason), []).append(check)
    order = list(_COLOURS)
    for group in sorted(subjects.values(), key=lambda group: order.index(group[0].outcome)):
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        _print_check(group[0], f"{group[0].subject}{more}")


def _print_check(check: Check, subject: str) -> None:
    line = f"  {subject:19}  {check.name:19}  {in_one_line(check.reason)}"
    console.print(Text.assemble((f"{check.outcome:9}", _COLOURS[check.outcome]), line))


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
    step: Annotated[
        bool, typer.Option("--step", help="Use the program of one step, and run it for each step.")
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
    from brainpy_probe.report.text.tables import replay_table

    with exit_on_error():
        capture = open_run(run)
        chosen = select_program(capture, program, portable=portable)
        chosen = chosen.within(limits(timeout, memory))
        with progress(f"Replaying {chosen.name}: compile and run"):
            if step:
                replayed = _drive(chosen, given=repeat != 1 or bool(override))
            else:
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


def _drive(program: Program, *, given: bool) -> Replay:
    """Drive one step of a program, for which ``--repeat`` and ``--override`` must not be given."""
    if given:
        raise BadSetting("--step allows neither --repeat nor --override.", "Leave them out.")
    if program.step is None:
        raise BadSetting("The program has no program of one step.", "Capture with step=True.")
    return program.step.drive()


def _arrays(overrides: list[str]) -> dict[str, Any]:
    """Read the arrays that ``--override`` names."""
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
