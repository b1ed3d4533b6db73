"""The sections of the report made from the manifest alone: head, calls, compilations, files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from brainpy_probe.analysis.compile_causes import causes
from brainpy_probe.analysis.finding import Finding, count_phrase
from brainpy_probe.analysis.findings import find
from brainpy_probe.analysis.ranks import Ranks
from brainpy_probe.format.manifest.records import CallRecord, Manifest, ModuleRecord
from brainpy_probe.quantities import duration, ranges, seconds, shortened, size
from brainpy_probe.report.page.html import Html, join, table, tag
from brainpy_probe.report.text.compiles import REASONS, notes_on
from brainpy_probe.report.text.ranks import HEAD, facts_of, rows_of
from brainpy_probe.report.text.summary import problems_of, what_ran

__all__ = [
    "calls",
    "compilations",
    "environment",
    "files",
    "finding_list",
    "head",
    "module_table",
    "ranks",
]

_PHASES = ("trace", "lower", "compile", "numba", "execute")
_BAR, _ROW = 720, 24
# The room for the name of a call, and the width of a character.
_LABEL, _WIDEST_LABEL, _CHARACTER = 230.0, 400.0, 6.6
# Seconds of the probe above which they are written next to a call's bar.
_SHOWN_PROBE = 0.1
_MAX_CALLS = 80
_MAX_MODULES = 400


def section(name: str, title: str, *content: Html | str) -> Html:
    """Return a section with a heading to which a link can lead."""
    return tag("section", tag("h2", title), *content, id=name)


def head(name: str, manifest: Manifest) -> Html:
    """Return the head: the runs, the environment, the proofs, the problems and the findings."""
    where = manifest.environment
    ran = list(dict.fromkeys(call.model or call.name for call in manifest.calls)) or ["no network"]
    versions = [
        f"{package} {where.versions[package]}"
        for package in ("brainpy", "jax", "jaxlib")
        if package in where.versions
    ]
    facts = [
        ("capture", name),
        ("made", f"{_when(manifest.created)} on {where.host}, process {where.pid}"),
        ("with", f"{', '.join(versions)}, Python {where.python}, {manifest.devices}"),
        (
            "content",
            ", ".join(
                count_phrase(len(counted), kind, f"{kind}s")
                for counted, kind in (
                    (manifest.calls, "call"),
                    (manifest.programs, "program"),
                    (manifest.modules, "compiled module"),
                )
            ),
        ),
        ("proofs", _proofs(manifest)),
    ]
    return join(
        [
            tag("h1", ", ".join(ran)),
            _listed(facts),
            *(tag("p", line, class_=style) for line, style in _problems(manifest)),
            _findings(manifest),
        ]
    )


def _when(created: str) -> str:
    """Return a time as ``2026-05-01 12:30:07 UTC``; any other text is returned unchanged."""
    found = re.fullmatch(r"([\d-]{10})T([\d:]{8})(?:\.\d+)?\+00:00", created)
    return f"{found[1]} {found[2]} UTC" if found else created


def _proofs(manifest: Manifest) -> str:
    good = [program for program in manifest.programs if program.fidelity.proved]
    if not manifest.programs:
        return "there is no program"
    of = f"{len(good)} of {count_phrase(len(manifest.programs), 'program', 'programs')}"
    steps = [program.step for program in manifest.programs if program.step is not None]
    if steps:
        proved = [step for step in steps if step.files and step.fidelity.proved]
        of += f" and of {len(proved)} of {count_phrase(len(steps), 'step', 'steps')}"
    return f"every text of {of} was parsed back; brainpy-probe verify replays them"


def _problems(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if not manifest.complete:
        yield "The capture did not end. It contains only the calls that ended before.", "warn"
    if manifest.environment.untested:
        yield manifest.environment.untested, "warn"
    found: dict[tuple[str, str], list[int]] = {}
    for call in manifest.calls:
        for problem in problems_of(call):
            found.setdefault(problem, []).append(call.index)
    for (message, colour), numbers in found.items():
        yield f"call {ranges(numbers)}: {message}", "bad" if colour == "red" else "warn"
    for lost in manifest.lost_modules:
        yield f"{lost.name} could not be recorded: {lost.failure.message}", "bad"


def _findings(manifest: Manifest) -> Html:
    return finding_list(find(manifest))


def finding_list(found: Sequence[Finding]) -> Html:
    """Return findings with their remedies."""
    if not found:
        return tag("p", "There are no findings.")
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("b", finding.slug),
                f" {finding.sentence} ",
                tag("span", finding.remedy, class_="remedy"),
            )
            for finding in found
        ),
        class_="findings",
    )


# --- Calls ----------------------------------------------------------------------------------------


def calls(manifest: Manifest) -> Html:
    """Return the calls on a time line, and the modules that were compiled again."""
    if not manifest.calls:
        return section("calls", "Calls", tag("p", "No call was recorded."))
    shown = manifest.calls[:_MAX_CALLS]
    longest = max(_length(call) for call in shown) or 1.0
    names = [_call_name(call) for call in shown]
    left = max(_LABEL, min(_CHARACTER * max(map(len, names)), _WIDEST_LABEL))
    rows = [_bar(number, call, longest, left) for number, call in enumerate(shown, 1)]
    height = _ROW * (len(shown) + 1)
    picture = tag(
        "svg",
        _legend(left),
        *rows,
        viewBox=f"0 0 {left + _BAR + 150:.0f} {height}",
        role="img",
        aria_label="seconds of each call by phase",
        class_="timeline",
    )
    others = len(manifest.calls) - len(shown)
    more = [tag("p", f"{others} more calls are not drawn.")] if others else []
    again = [m for m in manifest.modules if m.call is not None and m.reason != "first"]
    parts: list[Html] = [picture, *more]
    if again:
        parts += [tag("h3", "Compiled again"), module_table(again)]
    return section("calls", "Calls", *parts)


def _call_name(call: CallRecord) -> str:
    steps = "" if call.steps is None else f", {call.steps:,} steps"
    return f"{call.index} {what_ran(call)}{steps}"


def _legend(left: float) -> Html:
    parts = []
    for number, phase in enumerate((*_PHASES, "probe")):
        x = left + 90 * number
        parts.append(tag("rect", x=x, y=5, width=11, height=11, class_=phase))
        parts.append(tag("text", phase, x=x + 16, y=15))
    return tag("g", *parts)


def _length(call: CallRecord) -> float:
    return (call.native.wall or 0.0) + (call.probe.wall or 0.0)


def _bar(number: int, call: CallRecord, longest: float, left: float) -> Html:
    """Return a call's bar on the time line."""
    y = number * _ROW
    x = left
    name = _call_name(call)
    parts = [
        tag(
            "g",
            tag("title", name),
            tag("text", shortened(name, int(left / _CHARACTER)), x=0, y=y + 16),
        )
    ]
    spans = [(phase, getattr(call.native, phase)) for phase in _PHASES]
    for phase, spent in (*spans, ("probe", call.probe.wall)):
        width = _BAR * (spent or 0.0) / longest
        if width > 0:
            parts.append(
                tag(
                    "rect",
                    tag("title", f"{phase} {duration(spent)}"),
                    x=f"{x:.1f}",
                    y=y + 3,
                    width=f"{width:.2f}",
                    height=_ROW - 7,
                    class_=phase,
                )
            )
        x += width
    added = call.probe.wall or 0.0
    probe = f", probe {duration(added)}" if added >= _SHOWN_PROBE else ""
    took = f"{duration(call.native.wall)}{probe}"
    parts.append(tag("text", took, x=f"{x + 5:.1f}", y=y + 16))
    return tag("g", *parts)


def module_table(modules: Sequence[ModuleRecord]) -> Html:
    """Return a table of modules: their origin, the reason for compiling them, their seconds."""
    rows = [
        (
            module.index,
            module.name,
            "" if module.call is None else module.call,
            module.place,
            "cache" if module.origin == "cache" else "XLA",
            module.why,
            seconds(module.seconds.trace),
            seconds(module.seconds.lower),
            seconds(module.seconds.compile),
        )
        for module in modules[:_MAX_MODULES]
    ]
    titles = ("module", "name", "call", "line", "from", "why", "trace s", "lower s", "compile s")
    return table(titles, rows, figures=3)


# --- Compilations ---------------------------------------------------------------------------------


def compilations(manifest: Manifest) -> Html:
    """Return the compilations by the user's line and by reason, and all modules."""
    if not manifest.modules:
        return section("compiles", "Compilations", tag("p", "Nothing was compiled."))
    found = causes(manifest)
    rows = [
        (
            f"{cause.place or 'unknown'} {cause.function}",
            REASONS[cause.reason],
            _named(cause.names),
            ranges(cause.calls) if cause.calls else "outside",
            len(cause.modules),
            cause.cached or "",
            cause.quick or "",
            *(seconds(getattr(cause.seconds, name)) for name in ("trace", "lower", "compile")),
            seconds(cause.saves) if cause.saves != 0.0 else "",
        )
        for cause in found
    ]
    titles = (
        "line", "why", "names", "calls", "modules", "cached", "too quick", "trace s", "lower s",
        "compile s", "wasted s",
    )  # fmt: skip
    every = tag(
        "details",
        tag("summary", f"all: {count_phrase(len(manifest.modules), 'module', 'modules')}"),
        module_table(manifest.modules),
    )
    notes = join(tag("p", note, class_="note") for note in notes_on(found))
    return section(
        "compiles", "Compilations by cause", table(titles, rows, figures=7), notes, every
    )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


# --- Files and environment ------------------------------------------------------------------------


def files(manifest: Manifest) -> Html:
    """Return the files of the capture with their sizes."""
    written = {
        file.path: file
        for files in [
            *(program.files for program in manifest.programs),
            *(module.files for module in manifest.modules),
        ]
        for file in files
    }
    for program in manifest.programs:
        if program.portable is not None:
            written.update({file.path: file for file in program.portable.files})
    ordered = sorted(written.values(), key=lambda file: -file.size)
    total = sum(file.size for file in ordered)
    rows = [
        (file.path, file.kind, tag("td", size(file.size), class_="n", data_v=file.size))
        for file in ordered[:1000]
    ]
    return section(
        "files",
        "Files",
        tag(
            "details",
            tag("summary", f"{count_phrase(len(ordered), 'file', 'files')}, {size(total)}"),
            table(("file", "kind", "size"), rows, figures=1),
        ),
    )


def ranks(found: Ranks) -> Html:
    """Return the runs of each process of a distributed run, and how the processes differ."""
    heads, *rows = [(row[-1], *row[:-1]) for row in (HEAD, *rows_of(found))]
    facts = [tag("p", fact) for fact in facts_of(found)]
    return section("ranks", "Ranks", table(heads, rows, figures=len(HEAD) - 1), *facts)


def environment(manifest: Manifest) -> Html:
    """Return versions, machine and settings."""
    where, settings = manifest.environment, manifest.settings
    facts = [*where.versions.items(), ("python", where.python), ("host", where.host)]
    facts += [("backend", where.backend), ("processor", where.processor or "unknown")]
    facts += [("XLA_FLAGS", where.xla_flags)] if where.xla_flags else []
    facts += [
        (name, ", ".join(value) if isinstance(value, tuple) else str(value))
        for name in settings.__struct_fields__
        if name != "out" and (value := getattr(settings, name)) not in ((), False)
    ]
    return section(
        "environment", "Environment", tag("details", tag("summary", "all"), _listed(facts))
    )


def _listed(facts: Sequence[tuple[str, str]]) -> Html:
    return tag("dl", *(part for name, fact in facts for part in (tag("dt", name), tag("dd", fact))))
