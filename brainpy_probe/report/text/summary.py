"""A capture in a few lines, for ``print(cap)``, ``show`` and notebooks.

Runs of the same program share a line, and so do findings with the same cause. :mod:`.details` shows
everything.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from brainpy_probe.analysis.finding import Finding
from brainpy_probe.analysis.findings import find
from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import InsideTransformation
from brainpy_probe.format.manifest.common_records import Timing
from brainpy_probe.format.manifest.program_records import KIND_NAMES, ProgramRecord, TensorSpec
from brainpy_probe.format.manifest.records import CallRecord, Manifest, ModuleRecord, Uncaptured
from brainpy_probe.output import Output, plain_table
from brainpy_probe.quantities import duration, ranges, seconds, shortened, size

__all__ = [
    "WIDTH",
    "as_plain_text",
    "head",
    "phases_of",
    "problems_of",
    "summary",
    "terminal_width",
    "what_ran",
    "why",
]

WIDTH = 80
_MAX_WIDTH = 120
# Maximum number of lines of calls, programs, problems and findings.
_CALLS, _PROGRAMS, _PROBLEMS, _FINDINGS = 6, 4, 4, 6
_MAX_MESSAGE = 150
_MORE = "show --all: everything, with remedies; show --compiles: by line of your code"
# The width above which each phase has a column.
_WIDE_TERMINAL = 76
# With this many columns or more, the name of the model has only one line.
_MIN_NAME_WIDTH = 24


def terminal_width() -> int:
    """Return the number of columns of the terminal on stdout; 80 without a terminal."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(40, min(shutil.get_terminal_size().columns, _MAX_WIDTH))


def as_plain_text(content: RenderableType, width: int = WIDTH) -> str:
    """Return the output of rich, without colours and trailing spaces."""
    console = Output(file=io.StringIO(), width=width, color_system=None, force_jupyter=False)
    console.print(content)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()


def summary(path: Path, manifest: Manifest, width: int = WIDTH) -> Group:
    """Return the summary of a capture.

    Parameters
    ----------
    path : Path
        The capture folder.
    manifest : Manifest
        Its records.
    width : int
        The width of the text.
    """
    parts: list[RenderableType] = [*head(path, manifest, width)]
    if manifest.calls:
        parts += ["", _calls(manifest, width)]
    if manifest.programs:
        parts += ["", _programs(manifest, width)]
    modules = _modules(manifest)
    if modules:
        parts += ["", *modules]
    parts += _problems(manifest, width)
    findings = find(manifest)
    if findings:
        parts += ["", *_findings(findings)]
    if manifest.calls or manifest.modules:
        parts += ["", Text(_MORE, style="dim")]
    return Group(*parts)


def head(path: Path, manifest: Manifest, width: int | None = None) -> Iterator[Text]:
    """Yield the name of a capture, its folder, its versions, and whether it is complete.

    A folder's path of more than four lines of ``width`` is shortened in the middle.
    """
    yield Text(f"brainpy-probe: {path.name}", style="bold")
    where = f"in {path.parent}"
    yield Text(where if width is None else shortened(where, 4 * width), overflow="fold")
    environment = manifest.environment
    versions = [
        f"{name} {environment.versions[name]}"
        for name in ("brainpy", "jax")
        if name in environment.versions
    ]
    yield Text(f"{', '.join(versions)} on {manifest.devices}, Python {environment.python}")
    rank = environment.rank
    if rank is not None:
        yield Text(f"rank {rank.index} of {rank.count}")
    if not manifest.complete:
        yield Text(
            f"The capture did not end: process {environment.pid} was killed, or is still running. "
            "It contains only the calls that ended before.",
            style="yellow",
        )
    if environment.untested:
        yield Text(environment.untested, style="yellow")
    if not manifest.calls:
        ended = manifest.complete
        yield Text("No model was run." if ended else "It has no call yet.")


# --- Calls ----------------------------------------------------------------------------------------


def phases_of(calls: Iterable[CallRecord]) -> list[str]:
    """Return the phases to show; numba's only if it compiled anything, which is rare."""
    compiled = any(call.native.numba for call in calls)
    return [name for name in Timing.__struct_fields__ if name != "numba" or compiled]


def what_ran(call: CallRecord) -> str:
    """Return the model of a call, and how it ran without a runner: ``Net, jit step, 20 runs``.

    The number of runs is included if a jitted function ran more than once.
    """
    runs = [] if call.repeats is None else [f"{call.repeats.count:,} runs"]
    return ", ".join([_ran(call), *runs])


def _ran(call: CallRecord) -> str:
    parts = [call.model] if call.model else []
    if call.kind != "predict":
        parts.append(f"{call.kind} {call.name or call.runner}".strip())
    return ", ".join(parts)


def _calls(manifest: Manifest, width: int) -> Group:
    rows = list(_folded(manifest.calls))
    shown = [(_counts(calls[0]), calls) for calls in rows[:_CALLS]]
    phases = phases_of(manifest.calls) if width >= _WIDE_TERMINAL else ["compile", "wall"]
    # A column without values is left out.
    counts = [name for name in ("steps", "runs") if any(found[name] for found, _ in shown)]
    heads = [*counts, "program", *phases, "probe"]
    cells = [
        [
            *(found[name] or "-" for name in counts),
            "-" if calls[0].program is None else f"{calls[0].program}",
            *(seconds(_total(getattr(call.native, name) for call in calls)) for name in phases),
            seconds(_total(call.probe.wall for call in calls)),
        ]
        for found, calls in shown
    ]
    taken = sum(max(map(len, column)) + 2 for column in zip(heads, *cells, strict=True))
    room = width - taken
    room = room if room >= _MIN_NAME_WIDTH else 2 * max(room, 18)  # two lines
    table = plain_table(
        Column("calls", overflow="fold"),
        *(Column(name, justify="right", no_wrap=True) for name in heads),
    )
    for row, (_, calls) in zip(cells, shown, strict=True):
        numbers = ranges(call.index for call in calls)
        table.add_row(f"{numbers} {shortened(_ran(calls[0]), room - len(numbers) - 1)}", *row)
    notes = ["in seconds"]
    if any(len(calls) > 1 for calls in rows):
        notes.append("added up for calls of the same program")
    if len(rows) > _CALLS:
        left = sum(map(len, rows[_CALLS:]))
        notes.append(f"{left} more calls not shown")
    return Group(table, Text("; ".join(notes), style="dim"))


def _counts(call: CallRecord) -> dict[str, str]:
    """Return the steps and the runs of a call; empty if it has none."""
    runs = "" if call.repeats is None else f"{call.repeats.count:,}"
    return {"steps": "" if call.steps is None else f"{call.steps:,}", "runs": runs}


def _folded(calls: Iterable[CallRecord]) -> Iterator[list[CallRecord]]:
    """Yield successive calls of the same program together; a call with a problem alone."""
    group: list[CallRecord] = []
    for call in calls:
        if group and _is_like(group[-1], call):
            group.append(call)
            continue
        if group:
            yield group
        group = [call]
    if group:
        yield group


def _is_like(before: CallRecord, call: CallRecord) -> bool:
    return (
        call.program is not None
        and call.error is before.error is call.failure is before.failure is None
        and (before.program, before.steps, what_ran(before))
        == (call.program, call.steps, what_ran(call))
        # The first run of a program also compiles, so it is a different kind of run.
        and before.index != 0
    )


def _total(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


# --- Programs and modules -------------------------------------------------------------------------


def _programs(manifest: Manifest, width: int) -> Group:
    table = plain_table(
        *(Column(name, overflow="fold") for name in ("programs", "arguments", "results", "texts"))
    )
    for program in manifest.programs[:_PROGRAMS]:
        kind = KIND_NAMES[program.kind].removeprefix("the ").removeprefix("a ")
        table.add_row(
            f"{program.index} {shortened(program.name, width // 4)}, {kind}",
            _content(program.arguments),
            _content(program.results),
            _texts(program),
        )
    left = len(manifest.programs) - _PROGRAMS
    more = [Text(f"{left} more programs not shown", style="dim")] if left > 0 else []
    return Group(table, *more)


def _content(specs: Sequence[TensorSpec]) -> str:
    return f"{len(specs)}, {size(sum(spec.nbytes for spec in specs))}"


def _texts(program: ProgramRecord) -> str:
    texts = [file for file in program.files if file.kind in ("stablehlo", "mhlo", "hlo")]
    shown = [f"{file.kind} {size(file.size)}" for file in texts]
    if program.portable is not None and program.portable.files:
        shown.append("portable")
    if program.step is not None and program.step.files:
        shown.append("one step")
    if not shown:
        return "none"
    return f"{', '.join(shown)}; {'proved' if program.fidelity.proved else 'NOT proved'}"


def why(module: ModuleRecord) -> str:
    """Return in a few words why a module was compiled."""
    brief = {
        "first": "first time",
        "same": "the same program again",
        "values": "other baked-in values",
    }
    return brief.get(module.reason, module.why)


_REASONS = {
    "first": "for the first time",
    "same": "the same program again",
    "backend": "for another backend",
    "shape": "for another shape",
    "dtype": "for another dtype",
    "values": "with other values in the program",
    "code": "other code",
}


def _modules(manifest: Manifest) -> list[Text]:
    lines = []
    within = [module for module in manifest.modules if module.call is not None]
    outside = [module for module in manifest.modules if module.call is None]
    if within:
        reasons = Counter(module.reason for module in within)
        listed = ", ".join(f"{count} {_REASONS[reason]}" for reason, count in reasons.items())
        lines.append(f"{_modules_phrase(within)} of the calls: {listed}")
    if outside:
        lines.append(f"{_modules_phrase(outside)} outside of the calls")
    for found in manifest.uncaptured:
        lines.append(f"not captured: {_uncaptured(found)}")
    return [Text(line) for line in lines]


# Maximum number and length of the function names in a line.
_NAMES, _NAME = 3, 40


def _uncaptured(found: Uncaptured) -> str:
    """Return the runs that are not calls: ``2 jitted functions ... were compiled: f, g``."""
    if not found.functions:
        return found.idiom + (f", {found.count:,} times" if found.count > 1 else "")
    head, _, rest = found.idiom.partition(" without ")
    several = found.count > 1
    names = [shortened(in_one_line(name), _NAME) for name in found.functions[:_NAMES]]
    more = found.count - len(names)
    listed = ", ".join(names) + (f" and {more:,} more" if more else "")
    verb = "were" if several else "was"
    return f"{found.count:,} {head}{'s' * several} without {rest} {verb} compiled: {listed}"


def _modules_phrase(modules: Sequence[ModuleRecord]) -> str:
    phases = [
        getattr(module.seconds, name)
        for module in modules
        for name in ("trace", "lower", "compile", "numba")
    ]
    known = duration(sum(spent for spent in phases if spent is not None))
    spent = f"at least {known}" if None in phases else known
    return f"{len(modules)} module{'s' * (len(modules) > 1)}, {spent},"


# --- Problems and findings ------------------------------------------------------------------------


def problems_of(call: CallRecord) -> Iterator[tuple[str, str]]:
    """Yield each problem of a call as a sentence, with its colour."""
    if call.error is not None:
        yield f"raised {call.error.kind}: {call.error.message}", "red"
    if call.failure is not None:
        nested = call.failure.kind == InsideTransformation.__name__
        problem = "no program" if nested else f"the probe failed: {call.failure.kind}"
        yield f"{problem}: {call.failure.message}", "red"
    for note in call.notes:
        yield note, "yellow"


def _problems(manifest: Manifest, width: int) -> list[Text]:
    """Return the problems of the calls, each once, with the numbers of its calls."""
    calls: dict[tuple[str, str], list[int]] = {}
    for call in manifest.calls:
        for problem in problems_of(call):
            calls.setdefault(problem, []).append(call.index)
    lines = []
    for (message, style), numbers in calls.items():
        of = f"call{'s' * (len(numbers) > 1)} {ranges(numbers)}"
        separator = " " if message.startswith("raised") else ": "
        text = shortened(in_one_line(f"{of}{separator}{message}"), max(_MAX_MESSAGE, width))
        lines.append(Text(f"! {text}", style=style, overflow="fold"))
    for module in manifest.lost_modules:
        lines.append(Text(f"! {module.name} was compiled and could not be recorded", style="red"))
    left = len(lines) - _PROBLEMS
    more = [Text(f"! {left} more problems", style="red")] if left > 0 else []
    return [*lines[:_PROBLEMS], *more]


def _findings(findings: Sequence[Finding]) -> list[Text]:
    """Return a line for each kind of finding: the first sentence of its first finding."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.slug, []).append(finding)
    lines = []
    for slug, found in kinds.items():
        more = f" And {len(found) - 1} more." if len(found) > 1 else ""
        lines.append(
            Text.assemble((f"{slug}: ", "bold"), f"{_first_sentence(found[0].sentence)}{more}")
        )
    left = len(lines) - _FINDINGS
    rest = [Text(f"{left} more kinds of findings", style="dim")] if left > 0 else []
    return [*lines[:_FINDINGS], *rest]


def _first_sentence(text: str) -> str:
    end = text.find(". ")
    return shortened(text if end < 0 else text[: end + 1], 2 * WIDTH)
