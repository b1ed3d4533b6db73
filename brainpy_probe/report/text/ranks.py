"""The captures of the processes of one distributed run, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Column
from rich.text import Text

from brainpy_probe.analysis.ranks import ModuleOnSome, ProgramOfRanks, Ranks
from brainpy_probe.output import plain_table
from brainpy_probe.quantities import duration, ranges, seconds

__all__ = ["HEAD", "facts_of", "ranks_table", "rows_of"]

HEAD = ("rank", "calls", "compile", "run", "wall", "capture")
_MAX_MODULES = 6


def ranks_table(folder: Path, ranks: Ranks) -> Group:
    """Return the runs of each rank, and the differences between the ranks.

    Parameters
    ----------
    folder : Path
        The folder of the captures.
    ranks : Ranks
        Their comparison.
    """
    table = plain_table(
        *(Column(name, justify="right", no_wrap=True) for name in HEAD[:-1]),
        Column(HEAD[-1], overflow="fold"),
    )
    for row in rows_of(ranks):
        table.add_row(*row)
    found = f"{len(ranks.times)} of {ranks.count} ranks of one run"
    return Group(
        Text(f"brainpy-probe: {found}", style="bold"),
        Text(f"in {folder}", overflow="fold"),
        "",
        table,
        Text("in seconds, of all calls", style="dim"),
        "",
        *(Text(fact, overflow="fold") for fact in facts_of(ranks)),
        "",
        Text("show FOLDER/CAPTURE shows the capture of one rank", style="dim"),
    )


def rows_of(ranks: Ranks) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table for each rank."""
    for times in ranks.times:
        yield (
            f"{times.rank}",
            f"{times.calls}",
            *(seconds(value) for value in (times.compile, times.run, times.wall)),
            times.name,
        )


def facts_of(ranks: Ranks) -> Iterator[str]:
    """Yield sentences: missing ranks, the slowest one, which programs and modules differ."""
    if ranks.missing:
        yield f"{_ranks(ranks.missing)} of {ranks.count} ranks: no capture is here."
    slowest = ranks.slowest
    if slowest is not None and len(ranks.times) > 1:
        yield f"The slowest is rank {slowest.rank}, {duration(slowest.wall)}."
    for program in ranks.programs:
        yield _program(program, ranks)
    names: dict[str, list[ModuleOnSome]] = {}
    for module in ranks.modules:
        names.setdefault(module.name, []).append(module)
    for name, modules in list(names.items())[:_MAX_MODULES]:
        yield f"{name}: {_modules(modules)}."
    if len(names) > _MAX_MODULES:
        yield f"{len(names) - _MAX_MODULES} more modules were not compiled by all ranks."


def _program(program: ProgramOfRanks, ranks: Ranks) -> str:
    if not program.identity:
        return f"{program.name}: {_ranks(program.ranks)} has a program without an identity."
    if len(program.ranks) == len(ranks.times):
        return f"{program.name}: the same program on {len(program.ranks)} of {ranks.count} ranks."
    return f"{program.name}: a program of {_ranks(program.ranks)} only."


def _modules(modules: Sequence[ModuleOnSome]) -> str:
    """Return which ranks compiled the modules of one name, each with different code."""
    if len(modules) > 1:
        return f"other code on {'; '.join(_ranks(module.ranks) for module in modules)}"
    (module,) = modules
    return f"compiled by {_ranks(module.ranks)} only, in {duration(module.seconds)}"


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' * (len(numbers) > 1)} {ranges(numbers)}"
