"""The whole content of a capture's manifest, for ``show --all``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, JustifyMethod
from rich.table import Column, Table
from rich.text import Text

from brainpy_probe.analysis.finding import Finding
from brainpy_probe.analysis.findings import find
from brainpy_probe.characters import in_one_line
from brainpy_probe.format.manifest.part_records import Part
from brainpy_probe.format.manifest.program_records import (
    KIND_NAMES,
    PortableProgram,
    ProgramRecord,
    StepProgram,
    TensorSpec,
)
from brainpy_probe.format.manifest.records import CallRecord, LostModule, Manifest
from brainpy_probe.output import FittingTable, plain_table
from brainpy_probe.quantities import seconds, size
from brainpy_probe.report.text.summary import head, phases_of, problems_of, what_ran, why

__all__ = ["details", "program_details"]

_ROLES = ("token", "constant", "state", "input", "output", "monitor")


def details(path: Path, manifest: Manifest) -> Group:
    """Return the whole content of a manifest.

    Parameters
    ----------
    path : Path
        The capture folder.
    manifest : Manifest
        Its records.
    """
    parts: list[Any] = [*head(path, manifest)]
    if manifest.calls:
        parts += ["", _calls(manifest)]
    for program in manifest.programs:
        parts += ["", program_details(program)]
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
    table = _table(
        ("module", "right"),
        ("name", "left"),
        ("call", "right"),
        ("from", "left"),
        ("seconds", "right"),
        ("why", "left"),
    )
    for module in manifest.modules:
        table.add_row(
            str(module.index),
            module.name,
            "-" if module.call is None else str(module.call),
            "XLA" if module.origin == "compiled" else "cache",
            seconds(module.seconds.wall),
            why(module),
        )
    parts: list[Any] = [table]
    for module in manifest.modules:
        places = sorted({file.path.rpartition("/")[0] for file in module.files})
        if places and places[0].startswith(f"modules/{module.index:04d}"):
            parts.append(Text(f"module {module.index}: {places[0]}", overflow="fold"))
    dumped = sum(file.kind == "xla" for module in manifest.modules for file in module.files)
    if dumped:
        parts.append(Text(f"XLA dumped {dumped} files"))
    return Group(*parts)


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


def _calls(manifest: Manifest) -> Group:
    phases = phases_of(manifest.calls)
    table = FittingTable(
        "call", "model", "steps", "program", *phases, "probe",
        names=2, spare=("trace", "lower", "numba", "execute"), longest=12,
    )  # fmt: skip
    for call in manifest.calls:
        table.add_row(
            str(call.index),
            what_ran(call),
            "-" if call.steps is None else f"{call.steps}",
            "-" if call.program is None else f"{call.program}",
            *(seconds(getattr(call.native, name)) for name in phases),
            seconds(call.probe.wall),
        )
    caption = "seconds of the run itself, - if unknown; probe: time that the probe added"
    return Group(table, Text(caption, style="dim"))


def program_details(program: ProgramRecord) -> Group:
    """Return the arguments, results, files, proofs and remarks of a program."""
    what = KIND_NAMES[program.kind]
    place = program.files[0].path.rpartition("/")[0] if program.files else "no files"
    devices = program.fidelity.placement
    on = f", on {devices}" if devices.devices > 1 else ""
    head = Text(f"program {program.index}: {program.name}, {what}{on}, in {place}", style="bold")
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
    if program.step is not None and program.step.files:
        parts.append(_step_files(program.step))
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
        bytecode = next((size(file.size) for file in files if file.kind == "vhlo"), "none")
        calls = len(fidelity.custom_calls) + len(fidelity.host_callbacks)
        kinds = ("flops", "bytes accessed")
        counts = [f"{cost[kind]:,.0f}" if kind in cost else "?" for kind in kinds]
        table.add_row(name, bytecode, f"{calls}", *counts)
    caption = "per step, XLA's counts before optimisation, without the code of custom calls"
    return Group(table, Text(caption))


def _step_files(step: StepProgram) -> Text:
    """Return a line on the files of the program of one step."""
    files = [*step.files, *(() if step.portable is None else step.portable.files)]
    place = step.files[0].path.rpartition("/")[0]
    proved = "proved" if step.fidelity.proved else "NOT proved"
    return Text(f"one step of it in {place}: {len(files)} files, {proved}")


def _count(specs: list[TensorSpec]) -> tuple[str, str]:
    return (str(len(specs)), size(sum(spec.nbytes for spec in specs))) if specs else ("", "")


def _files(program: ProgramRecord) -> Table:
    table = _table(("file", "left"), ("bytes", "right"), ("proved", "left"))
    for file in program.files:
        check = program.fidelity.checks.get(file.kind)
        table.add_row(file.path.rpartition("/")[2], size(file.size), _proof(check))
    return table


def _proof(check: Any) -> str:
    if check is None:
        return ""
    results = ["parsed back" if check.parsed else "NOT parsed back"]
    if check.returns is not None:
        results.append("leads back to StableHLO" if check.returns else "does NOT lead back")
    return ", ".join(results)


def _remarks(program: ProgramRecord) -> list[str]:
    """Return the limitations of a program and the differences that its checks found."""
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
    parts = [_part(spec.name, part) for spec in program.arguments for part in spec.parts]
    if parts:
        remarks.append(f"Of arrays that span processes, this one has {', '.join(parts)}.")
    remarks += fidelity.notes
    if program.unmeasured:
        remarks.append(f"Not measured: {program.unmeasured}")
    for name, form in (("portable", program.portable), ("one step", program.step)):
        if form is not None:
            own = [note for note in form.fidelity.notes if note not in fidelity.notes]
            remarks += [f"{name}: {note}" for note in own]
    return remarks


def _part(name: str, part: Part) -> str:
    """Return the part of an array, as in ``E.V[0:50]``."""
    spans = zip(part.start, part.shape, strict=True)
    return f"{name}[{', '.join(f'{first}:{first + size}' for first, size in spans)}]"


def _problems(call: CallRecord) -> list[Any]:
    lines = []
    for problem, style in problems_of(call):
        separator = " " if problem.startswith("raised") else ": "
        line = in_one_line(f"! call {call.index}{separator}{problem}")
        lines.append(Text(line, style=style, overflow="fold"))
    return lines


def _lost(module: LostModule) -> Text:
    failure = module.failure
    of = "outside of the calls" if module.call is None else f"in call {module.call}"
    return Text(
        f"! {module.name} was compiled {of} and could not be recorded: "
        f"{failure.kind}: {failure.message}",
        style="red",
        overflow="fold",
    )
