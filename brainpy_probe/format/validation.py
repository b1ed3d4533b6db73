"""Checks a manifest for consistency, once when it is read."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format import component_names
from brainpy_probe.format.index import named_files
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import ProgramRecord, StepProgram, TensorSpec
from brainpy_probe.format.manifest.records import Manifest

__all__ = ["check_keys", "check_manifest"]

# Kinds of which a program may have several files; it has at most one file of any other kind.
_SEVERAL = {"xla", "shared"}
_MODULE_KINDS = {"stablehlo", "mlirbc", "hlo", "xla"}
_ARRAY_KINDS = {"data", "results", "shared"}
_MAX_PATH = 1024


def check_keys(source: Path, content: bytes) -> None:
    """Check that no JSON object has the same key twice: parsers differ in which value they take.

    Raises
    ------
    DamagedCapture
        If an object has a key twice, or the text is not JSON.
    """
    try:
        _KEYS.decode(content.decode())
    except _DuplicateKey as error:
        raise DamagedCapture(
            f"{source} has the key {error} twice in one object.", "Capture again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DamagedCapture(f"{source} can't be read: {error}.", "Capture again.") from error


class _DuplicateKey(Exception):
    """A JSON object has the same key twice."""


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _DuplicateKey(repr(_duplicate(key for key, _ in pairs)))


_KEYS = json.JSONDecoder(object_pairs_hook=_refuse_duplicates)


def check_manifest(source: Path, manifest: Manifest) -> None:
    """Check that records are consistent, and refer only to existing records and files.

    Raises
    ------
    DamagedCapture
        At the first fault.
    """
    for fault in _faults(source, manifest):
        raise DamagedCapture(fault, "Capture again.")


def _faults(source: Path, manifest: Manifest) -> Iterator[str]:
    yield from _references(source, manifest)
    yield from _files(source, manifest)
    for program in manifest.programs:
        name = f"{source}: program {program.index}"
        yield from (f"{name} {fault}." for fault in _program(program))
    for module in manifest.modules:
        name = f"{source}: module {module.index}"
        yield from (f"{name} {fault}." for fault in _kinds(module.files, _MODULE_KINDS))


def _references(source: Path, manifest: Manifest) -> Iterator[str]:
    """Check that records are numbered without gaps, and refer to existing records."""
    programs, calls = range(len(manifest.programs)), range(len(manifest.calls))
    for kind, records in (
        ("calls", manifest.calls),
        ("programs", manifest.programs),
        ("modules", manifest.modules),
        ("lost modules", manifest.lost_modules),
    ):
        numbers = [record.index for record in records]
        if numbers != list(range(len(numbers))):
            yield f"{source}: {kind} are missing: their numbers are {numbers}."
    wrong = [c.index for c in manifest.calls if c.program is not None and c.program not in programs]
    if wrong:
        yield f"{source}: calls refer to missing programs: {wrong}."
    wrong = [m.index for m in manifest.modules if m.after is not None and m.after >= m.index]
    if wrong:
        yield f"{source}: modules are compared with later modules: {wrong}."
    of_calls = [(m.index, m.call) for m in manifest.modules]
    of_calls += [(m.index, m.call) for m in manifest.lost_modules]
    wrong = [number for number, call in of_calls if call is not None and call not in calls]
    if wrong:
        yield f"{source}: modules refer to missing calls: {wrong}."


def _files(source: Path, manifest: Manifest) -> Iterator[str]:
    """Check that all paths are within the folder, and that a path has one size and digest."""
    seen: dict[str, WrittenFile] = {}
    for file in named_files(manifest):
        if not _is_within_folder(file.path):
            yield f"{source} names a file outside its folder: {file.path[:_MAX_PATH]!r}."
        if not file.digest:
            yield f"{source} has no digest for {file.path}."
        other = seen.setdefault(file.path, file)
        if (other.size, other.digest) != (file.size, file.digest):
            yield f"{source} names {file.path} twice with different sizes or digests."


def _is_within_folder(name: str) -> bool:
    return (
        len(name) <= _MAX_PATH
        and not {"", ".", ".."} & set(name.split("/"))
        and not set(name) & {"\\", "\0"}
    )


def _program(program: ProgramRecord) -> Iterator[str]:
    """Check that a program's record is consistent."""
    listed = {file.path for file in program.files}
    yield from _signature(program, listed)
    if program.step is not None:
        faults = [*_signature(program.step, listed), *_step(program, program.step)]
        yield from (f"{fault}, in its program of one step" for fault in faults)
    states = {spec.name for spec in program.arguments if spec.role == "state"}
    for spec in program.results:
        yield from (f"has {spec.path!r} with {fault}" for fault in _steps(spec, states))
    root = next(iter(program.components), "")
    if component_names.enclosing_component(root, program.components) != root:
        yield f"has its model {root!r} as a part of itself: its components form a cycle"
    if program.measured is not None:
        seconds = sum(time.seconds for time in program.measured.components)
        if seconds > 0 and not program.measured.loop > 0:
            yield "has run times of components, but a loop of 0 s"


def _signature(program: ProgramRecord | StepProgram, listed: set[str]) -> Iterator[str]:
    """Check the files, the arguments and the results of a program or of one step of it."""
    yield from _kinds(program.files, None)
    if program.portable is not None:
        yield from _kinds(program.portable.files, None)
        arrays = sorted(_ARRAY_KINDS & {file.kind for file in program.portable.files})
        if arrays:
            yield f"has arrays among the files of its portable program ({', '.join(arrays)})"
    for specs in (program.arguments, program.results):
        duplicate = _duplicate(spec.path for spec in specs)
        if duplicate:
            yield f"has {duplicate!r} twice"
    for spec in (*program.arguments, *program.results):
        yield from (f"has {spec.path!r} with {fault}" for fault in _tensor(spec, listed))


def _step(program: ProgramRecord, step: StepProgram) -> Iterator[str]:
    """Check that the arguments and results of one step belong to those of the loop."""
    arrays = sorted(_ARRAY_KINDS & {file.kind for file in step.files})
    if arrays:
        yield f"has arrays among its files ({', '.join(arrays)})"
    if step.arguments or step.results:
        yield from _belonging(step.arguments, program.arguments, step.steps)
        yield from _belonging(step.results, program.results, step.steps)
    states = {spec.path: (spec.shape, spec.dtype) for spec in step.arguments}
    for spec in step.results:
        if spec.role == "state" and states.get(spec.path) != (spec.shape, spec.dtype):
            yield f"has {spec.path!r} as a result, but not as an argument of the next step"
        if (spec.role == "state") != (spec.loop_axis is None):
            yield f"has {spec.path!r} as a {spec.role} with the steps in axis {spec.loop_axis}"


def _belonging(own: Iterable[TensorSpec], loops: Iterable[TensorSpec], steps: int) -> Iterator[str]:
    """Check that each argument or result of one step belongs to one of the loop."""
    known = {spec.path: spec for spec in loops if spec.role != "token"}
    own = [spec for spec in own if spec.role != "token"]
    if sorted(spec.loop_path or spec.path for spec in own) != sorted(known):
        yield "has other arguments or results than the loop"
        return
    for spec in own:
        whole, shape = known[spec.loop_path or spec.path], list(spec.shape)
        if spec.loop_axis is not None:
            shape.insert(spec.loop_axis, steps)
        if spec.loop_axis not in (None, 0, 1) or tuple(shape) != whole.shape:
            yield f"has {spec.path!r} of shape {spec.shape}, in the loop {whole.shape}"
        if spec.dtype != whole.dtype:
            yield f"has {spec.path!r} of {spec.dtype}, in the loop {whole.dtype}"


def _kinds(files: Iterable[WrittenFile], allowed: set[str] | None) -> Iterator[str]:
    kinds = [file.kind for file in files]
    duplicate = _duplicate(kind for kind in kinds if kind not in _SEVERAL)
    if duplicate:
        yield f"has two files of the kind {duplicate!r}"
    refused = [kind for kind in kinds if allowed is not None and kind not in allowed]
    if refused:
        yield f"has a file of the kind {refused[0]!r}, which modules do not have"


def _tensor(spec: TensorSpec, listed: set[str]) -> Iterator[str]:
    """Check that the record of an argument or result is consistent."""
    digits = re.search(r"[0-9]+", spec.dtype)
    bits = 8 if spec.dtype == "bool" else int(digits.group()) if digits else 0
    size = math.prod(spec.shape) * (bits // 8)
    if bits >= 8 and spec.nbytes != size:
        yield f"{spec.nbytes} bytes; {spec.dtype} of shape {spec.shape} has {size}"
    if bool(spec.file) != bool(spec.entry):
        yield "a file without an entry in it, or an entry without a file"
    if spec.file and spec.file not in listed:
        yield f"a file that the program does not list: {spec.file!r}"
    if spec.file and not spec.digest:
        yield "a file without a digest"
    for part in spec.parts:
        ends = map(sum, zip(part.start, part.shape, strict=False))
        sizes = {len(part.start), len(part.shape), len(spec.shape)}
        if len(sizes) > 1 or any(e > s for e, s in zip(ends, spec.shape, strict=False)):
            yield f"a part from {part.start} of shape {part.shape}, in an array of {spec.shape}"
    if spec.parts and (spec.digest or spec.file):
        yield "both its value and parts of it"
    for part in spec.parts:
        yield from _tensor(part.spec(spec), listed)


def _steps(spec: TensorSpec, states: set[str]) -> Iterator[str]:
    """Check which axis of a result has the time steps, and which state it records."""
    if spec.axis is not None and spec.axis >= len(spec.shape):
        yield f"the time steps in axis {spec.axis}, which shape {spec.shape} does not have"
    if spec.records and spec.records not in states:
        yield f"the values of state {spec.records!r}, which is not in it"


def _duplicate(values: Iterable[str]) -> str:
    return next((value for value, count in Counter(values).items() if count > 1), "")
