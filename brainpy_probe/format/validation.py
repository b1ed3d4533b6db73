"""Whether what a manifest says fits together, checked once, when it is read; knows no file."""

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
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.index import named_files
from brainpy_probe.format.program_records import ProgramRecord, TensorSpec
from brainpy_probe.format.records import Manifest

__all__ = ["check_keys", "check_manifest"]

# Of these a program may have many; of every other kind it has one.
_SEVERAL = {"xla", "shared"}
_OF_A_MODULE = {"stablehlo", "mlirbc", "hlo", "xla"}
_ARRAYS = {"data", "results", "shared"}
_LONGEST_PATH = 1024


def check_keys(source: Path, content: bytes) -> None:
    """Check that no object of a JSON text has a key twice: readers would differ in what it says.

    Raises
    ------
    DamagedCapture
        If one has, or it is no JSON.
    """
    try:
        _KEYS.decode(content.decode())
    except _Twice as error:
        raise DamagedCapture(f"{source} has the key {error} twice in one place.") from None
    except (ValueError, RecursionError) as error:
        raise DamagedCapture(f"{source} can't be read: {error}.", "Capture again.") from error


class _Twice(Exception):
    """A key stands twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Twice(repr(_twice(key for key, _ in pairs)))


_KEYS = json.JSONDecoder(object_pairs_hook=_unique)


def check_manifest(source: Path, manifest: Manifest) -> None:
    """Check that records name what is there, and that what they say does not contradict itself.

    Raises
    ------
    DamagedCapture
        At the first fault.
    """
    for fault in _faults(source, manifest):
        raise DamagedCapture(fault)


def _faults(source: Path, manifest: Manifest) -> Iterator[str]:
    yield from _references(source, manifest)
    yield from _files(source, manifest)
    for program in manifest.programs:
        name = f"{source}: program {program.index}"
        yield from (f"{name} {fault}." for fault in _program(program))
    for module in manifest.modules:
        name = f"{source}: module {module.index}"
        yield from (f"{name} {fault}." for fault in _kinds(module.files, _OF_A_MODULE))


def _references(source: Path, manifest: Manifest) -> Iterator[str]:
    programs, calls = range(len(manifest.programs)), range(len(manifest.calls))
    for kind, records in (
        ("calls", manifest.calls),
        ("programs", manifest.programs),
        ("modules", manifest.modules),
        ("lost modules", manifest.lost_modules),
    ):
        numbers = [record.index for record in records]
        if numbers != list(range(len(numbers))):
            yield f"{source} has {kind} missing: it numbers them {numbers}."
    wrong = [c.index for c in manifest.calls if c.program is not None and c.program not in programs]
    if wrong:
        yield f"{source} has calls of programs that are not in it: {wrong}."
    wrong = [m.index for m in manifest.modules if m.after is not None and m.after >= m.index]
    if wrong:
        yield f"{source} has modules that are compared with later ones: {wrong}."
    of_calls = [(m.index, m.call) for m in manifest.modules]
    of_calls += [(m.index, m.call) for m in manifest.lost_modules]
    wrong = [number for number, call in of_calls if call is not None and call not in calls]
    if wrong:
        yield f"{source} has modules of calls that are not in it: {wrong}."


def _files(source: Path, manifest: Manifest) -> Iterator[str]:
    """Check that paths lead below the folder, and that one path is one file."""
    seen: dict[str, WrittenFile] = {}
    for file in named_files(manifest):
        if not _is_below(file.path):
            yield f"{source} names a file outside its folder: {file.path[:_LONGEST_PATH]!r}."
        if not file.digest:
            yield f"{source} has no digest of {file.path}."
        other = seen.setdefault(file.path, file)
        if (other.size, other.digest) != (file.size, file.digest):
            yield f"{source} names {file.path} twice, with another size or digest."


def _is_below(name: str) -> bool:
    return (
        len(name) <= _LONGEST_PATH
        and not {"", ".", ".."} & set(name.split("/"))
        and not set(name) & {"\\", "\0"}
    )


def _program(program: ProgramRecord) -> Iterator[str]:
    yield from _kinds(program.files, None)
    if program.portable is not None:
        yield from _kinds(program.portable.files, None)
        arrays = sorted(_ARRAYS & {file.kind for file in program.portable.files})
        if arrays:
            yield f"has arrays among the files of its portable form ({', '.join(arrays)})"
    for specs in (program.arguments, program.results):
        twice = _twice(spec.path for spec in specs)
        if twice:
            yield f"has {twice!r} twice"
    listed = {file.path for file in program.files}
    for spec in (*program.arguments, *program.results):
        yield from (f"has {spec.path!r} with {fault}" for fault in _tensor(spec, listed))
    root = next(iter(program.components), "")
    if component_names.belongs(root, program.components) != root:
        yield f"has its model {root!r} as a part of itself: its components go in a circle"
    if program.measured is not None:
        seconds = sum(part.seconds for part in program.measured.components)
        if seconds > 0 and not program.measured.loop > 0:
            yield "has components that ran, in a loop that took no time"


def _kinds(files: Iterable[WrittenFile], allowed: set[str] | None) -> Iterator[str]:
    kinds = [file.kind for file in files]
    twice = _twice(kind for kind in kinds if kind not in _SEVERAL)
    if twice:
        yield f"has two files of the kind {twice!r}"
    strange = [kind for kind in kinds if allowed is not None and kind not in allowed]
    if strange:
        yield f"has a file of the kind {strange[0]!r}, which is none of a module"


def _tensor(spec: TensorSpec, listed: set[str]) -> Iterator[str]:
    found = re.search(r"[0-9]+", spec.dtype)
    bits = 8 if spec.dtype == "bool" else int(found.group()) if found else 0
    if bits >= 8 and spec.nbytes != math.prod(spec.shape) * (bits // 8):
        yield f"{spec.nbytes} bytes, which {spec.dtype} of shape {spec.shape} has not"
    if bool(spec.file) != bool(spec.entry):
        yield "a file and no entry in it, or an entry and no file"
    if spec.file and spec.file not in listed:
        yield f"a file that the program does not list: {spec.file!r}"
    if spec.file and not spec.digest:
        yield "a file and no digest"


def _twice(values: Iterable[str]) -> str:
    return next((value for value, count in Counter(values).items() if count > 1), "")
