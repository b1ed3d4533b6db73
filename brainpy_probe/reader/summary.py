"""A capture as a table of 80 columns, or as HTML."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Group, JustifyMethod
from rich.table import Column, Table
from rich.text import Text

from brainpy_probe.analysis.finding import Finding
from brainpy_probe.analysis.findings import find
from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import InsideTransformation
from brainpy_probe.format.common_records import Timing
from brainpy_probe.format.program_records import PortableProgram, ProgramRecord, TensorSpec
from brainpy_probe.format.records import CallRecord, LostModule, Manifest, ModuleRecord
from brainpy_probe.output import Output, plain_table

__all__ = ["as_html", "as_text"]

WIDTH = 80
_ROLES = ("token", "constant", "state", "input", "output", "monitor")


def as_text(path: Path, manifest: Manifest) -> str:
    """Return the summary as plain text, at most 80 columns wide."""
    console = Output(file=io.StringIO(), width=WIDTH, color_system=None, force_jupyter=False)
    console.print(_summary(path, manifest))
    return _lines(console.file.getvalue())  # type: ignore[attr-defined]


def as_html(path: Path, manifest: Manifest) -> str:
    """Return the summary as HTML for a notebook's cell."""
    console = Output(file=io.StringIO(), width=WIDTH, record=True, force_jupyter=False)
    console.print(_summary(path, manifest))
    frame = '<pre style="font-family:monospace;line-height:1.2">{code}</pre>'
    return console.export_html(inline_styles=True, code_format=frame)


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip()


def _summary(path: Path, manifest: Manifest) -> Group:
    parts: list[Any] = [Text(f"brainpy-probe: {path.name}", style="bold")]
    where = str(path.parent)
    parts.append(Text(f"in {where}", overflow="fold"))
    environment = manifest.environment
    versions = [
        f"{n} {environment.versions[n]}" for n in ("brainpy", "jax") if n in environment.versions
    ]
    parts.append(
        Text(f"{', '.join(versions)} on {environment.backend}, Python {environment.python}")
    )
    if not manifest.complete:
        incomplete = (
            f"The capture did not end: process {environment.pid} was killed, or is still running. "
            "It has the calls that had ended."
        )
        parts.append(Text(incomplete, style="yellow"))
    if environment.untested:
        parts.append(Text(environment.untested, style="yellow"))
    if manifest.calls:
        parts += ["", _calls(manifest)]
    else:
        ended = manifest.complete
        parts.append(Text("No runner's predict was called." if ended else "It has no call yet."))
    for program in manifest.programs:
        parts += ["", _program(program)]
    if manifest.modules:
        parts += ["", _modules(manifest)]
    for call in manifest.calls:
        parts += _problems(call)
    parts += [_lost(module) for module in manifest.lost_modules]
    findings = find(manifest)
    if findings:
        parts += ["", Text("findings", style="bold")]
        parts += [_finding(finding) for finding in findings]
    return Group(*parts)


def _modules(manifest: Manifest) -> Group:
    shown = [module for module in manifest.modules if module.call is not None]
    table = _table(
        ("module", "right"),
        ("name", "left"),
        ("call", "right"),
        ("from", "left"),
        ("seconds", "right"),
        ("why", "left"),
    )
    for module in shown:
        seconds = _second(module.seconds.wall)
        origin = "XLA" if module.origin == "compiled" else "cache"
        table.add_row(
            str(module.index), module.name, str(module.call), origin, seconds, _why(module)
        )
    dumped = sum(file.kind == "xla" for module in manifest.modules for file in module.files)
    more = len(manifest.modules) - len(shown)
    were = "module was" if more == 1 else "modules were"
    rest = f"{more} more {were} compiled outside of the calls"
    return Group(
        *([table] if shown else []),
        Text(f"{rest}; XLA dumped {dumped} files" if dumped else rest),
    )


def _why(module: ModuleRecord) -> str:
    brief = {
        "first": "first time",
        "same": "the same program again",
        "values": "other baked-in values",
    }
    return brief.get(module.reason, module.why)


def _finding(finding: Finding) -> Text:
    return Text.assemble(
        (f"{finding.slug}: ", "bold"), f"{finding.sentence} -> {finding.remedy}", overflow="fold"
    )


def _table(*columns: tuple[str, JustifyMethod]) -> Table:
    # A cell is folded only if its column is too narrow.
    return plain_table(
        *(
            Column(name, justify=justify, overflow="fold", min_width=min(len(name), 8))
            for name, justify in columns
        )
    )


def _calls(manifest: Manifest) -> Table:
    # In most runs numba compiles nothing.
    compiled = any(call.native.numba != 0.0 for call in manifest.calls)
    phases = [name for name in Timing.__struct_fields__ if name != "numba" or compiled]
    seconds: list[tuple[str, JustifyMethod]] = [(name, "right") for name in phases]
    table = _table(
        ("call", "right"), ("model", "left"), ("steps", "right"), ("program", "right"),
        *seconds, ("probe", "right"),
    )  # fmt: skip
    for call in manifest.calls:
        table.add_row(
            str(call.index),
            call.model,
            "-" if call.steps is None else f"{call.steps}",
            "-" if call.program is None else f"{call.program}",
            *(_second(getattr(call.native, name)) for name in phases),
            _second(call.probe.wall),
        )
    table.caption = "seconds of the run itself, - if unknown; probe: time that the probe added"
    table.caption_justify = "left"
    return table


def _second(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _program(program: ProgramRecord) -> Group:
    what = "the whole run" if program.kind == "loop" else "one step"
    place = program.files[0].path.rpartition("/")[0] if program.files else "no files"
    head = Text(f"program {program.index}: {program.name}, {what}, in {place}", style="bold")
    table = _table(
        ("", "left"),
        ("arguments", "right"),
        ("bytes", "right"),
        ("results", "right"),
        ("bytes", "right"),
    )
    for role in _ROLES:
        arguments = [spec for spec in program.arguments if spec.role == role]
        results = [spec for spec in program.results if spec.role == role]
        if arguments or results:
            table.add_row(role, *_count(arguments), *_count(results))
    parts: list[Any] = [head, table, _files(program)]
    if program.portable is not None:
        parts.append(_portable_costs(program, program.portable))
    parts += [Text(f"! {line}", overflow="fold") for line in _remarks(program)]
    return Group(*parts)


def _portable_costs(program: ProgramRecord, portable: PortableProgram) -> Group:
    """Return a table that compares the costs of the portable program and the one that ran."""
    table = _table(
        ("program", "left"), ("bytecode", "right"), ("custom calls", "right"),
        ("flops", "right"), ("bytes moved", "right"),
    )  # fmt: skip
    for name, files, fidelity, cost in (
        ("as it ran", program.files, program.fidelity, portable.native_cost),
        ("portable", portable.files, portable.fidelity, portable.cost),
    ):
        size = next((f"{file.size:,}" for file in files if file.kind == "vhlo"), "none")
        calls = len(fidelity.custom_calls) + len(fidelity.host_callbacks)
        kinds = ("flops", "bytes accessed")
        counts = [f"{cost[kind]:,.0f}" if kind in cost else "?" for kind in kinds]
        table.add_row(name, size, f"{calls}", *counts)
    caption = "per step, XLA's counts before optimisation, without the code of custom calls"
    return Group(table, Text(caption))


def _count(specs: list[TensorSpec]) -> tuple[str, str]:
    return (str(len(specs)), f"{sum(spec.nbytes for spec in specs):,}") if specs else ("", "")


def _files(program: ProgramRecord) -> Table:
    table = _table(("file", "left"), ("bytes", "right"), ("proved", "left"))
    for file in program.files:
        check = program.fidelity.checks.get(file.kind)
        table.add_row(file.path.rpartition("/")[2], f"{file.size:,}", _proof(check))
    return table


def _proof(check: Any) -> str:
    if check is None:
        return ""
    results = ["parsed back" if check.parsed else "NOT parsed back"]
    if check.returns is not None:
        results.append("leads back to StableHLO" if check.returns else "does NOT lead back")
    return ", ".join(results)


def _remarks(program: ProgramRecord) -> list[str]:
    fidelity = program.fidelity
    remarks = [f"{kind}: {check.detail}" for kind, check in fidelity.checks.items() if check.detail]
    remarks += [f"{kind} keeps {', '.join(names)}." for kind, names in fidelity.chlo.items()]
    if fidelity.custom_calls:
        remarks.append(f"Opaque custom calls: {', '.join(fidelity.custom_calls)}.")
    if fidelity.host_callbacks:
        remarks.append(f"Calls back into Python: {', '.join(fidelity.host_callbacks)}.")
    if fidelity.inlined_constants:
        remarks.append(f"Constants in the text: {', '.join(fidelity.inlined_constants)}.")
    if fidelity.removed:
        remarks.append(
            f"Removed, because it calls Python: {', '.join(fidelity.removed)}. "
            "XLA may compile the rest to other bits."
        )
    if fidelity.unused:
        remarks.append(f"The program does not read {', '.join(fidelity.unused)}.")
    remarks += fidelity.notes
    if program.unmeasured:
        remarks.append(f"Not measured: {program.unmeasured}")
    if program.portable is not None:
        own = [note for note in program.portable.fidelity.notes if note not in fidelity.notes]
        remarks += [f"portable: {note}" for note in own]
    return remarks


def _problems(call: CallRecord) -> list[Any]:
    lines = []
    if call.error is not None:
        lines.append(f"call {call.index} raised {call.error.kind}: {call.error.message}")
    if call.failure is not None:
        nested = call.failure.kind == InsideTransformation.__name__
        problem = "no program" if nested else f"the probe failed: {call.failure.kind}"
        lines.append(f"call {call.index}: {problem}: {call.failure.message}")
    errors = [Text(f"! {in_one_line(line)}", style="red", overflow="fold") for line in lines]
    notes = [f"! call {call.index}: {note}" for note in call.notes]
    return [*errors, *(Text(note, style="yellow", overflow="fold") for note in notes)]


def _lost(module: LostModule) -> Text:
    failure = module.failure
    of = "outside of the calls" if module.call is None else f"in call {module.call}"
    return Text(
        f"! {module.name} was compiled {of} and could not be recorded: "
        f"{failure.kind}: {failure.message}",
        style="red",
        overflow="fold",
    )
