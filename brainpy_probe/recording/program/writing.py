"""Writes the files of a rendered program, and makes its record.

The texts and the arguments are written before the run has ended, the results afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
from msgspec.structs import replace

from brainpy_probe.analysis.explanation.hashing import identity
from brainpy_probe.analysis.explanation.reading import read_step
from brainpy_probe.analysis.measure import measure
from brainpy_probe.compat.types import Array, NamedArrays
from brainpy_probe.errors import CannotMeasure, CannotReplay, first_line
from brainpy_probe.format.folder import RunFolder, safe_name
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.definition_records import ModelDefinition
from brainpy_probe.format.manifest.program_records import (
    DialectCheck,
    Fidelity,
    PortableProgram,
    ProgramRecord,
    StepProgram,
)
from brainpy_probe.ir import mlir
from brainpy_probe.ir.dialects import Lowered
from brainpy_probe.progress import progress
from brainpy_probe.recording.model.definitions import read_definition
from brainpy_probe.recording.program import tensors
from brainpy_probe.recording.program.closed import ClosedProgram, NamedValue
from brainpy_probe.recording.program.lowering import LoweredProgram, RenderedProgram
from brainpy_probe.recording.program.specs import argument_specs, part_entry, result_specs
from brainpy_probe.settings import Settings

__all__ = ["WrittenProgram", "is_donated", "known_values", "write", "write_ahead"]

_FILES = {
    "stablehlo": "program.stablehlo.mlir",
    "mhlo": "program.mhlo.mlir",
    "hlo": "program.hlo.txt",
    "vhlo": "program.vhlo.mlirbc",
}


@dataclass(frozen=True)
class WrittenProgram:
    """The files of a program that are written before its run ends: texts and arguments.

    Attributes
    ----------
    place : str
        The folder of its files, relative to the capture folder.
    texts : list of WrittenFile
        The texts.
    portable : PortableProgram or None
        The version for other compilers, if it was requested.
    step : StepProgram or None
        One step of the program's loop, if it was requested.
    arguments : dict
        The place of each argument, by group and name.
    definition : ModelDefinition or None
        The definition of the model; None if its components are not known.
    identity : str
        The program's identity; empty if it could not be read.
    notes : tuple of str
        Why the program could not be read.
    """

    place: str
    texts: list[WrittenFile]
    portable: PortableProgram | None
    step: StepProgram | None
    arguments: dict[str, tensors.Stored]
    definition: ModelDefinition | None
    identity: str
    notes: tuple[str, ...]


def write_ahead(
    rendered: RenderedProgram,
    index: int,
    settings: Settings,
    folder: RunFolder,
    arrays: tensors.ArrayFiles,
) -> WrittenProgram:
    """Write the texts and the arguments of a program whose run has not ended.

    Parameters
    ----------
    rendered, index, settings, folder, arrays
        As for :func:`write`.
    """
    closed = rendered.closed
    components = closed.step.call.components
    definition = None if components is None else read_definition(components.names.components)
    known, notes = _identity(closed, rendered.native)
    with folder.rollback_on_error():
        place = folder.reserve("programs", index, safe_name(closed.name))
        texts = _write_texts(place, rendered.native, folder)
        portable = _portable(place, rendered, folder)
        data = f"{place}/data.safetensors"
        arguments = _store(data, "data", closed.arguments, settings, arrays)
        step = _step(place, rendered, arguments, settings, folder)
    return WrittenProgram(place, texts, portable, step, arguments, definition, known, notes)


def write(
    rendered: RenderedProgram,
    written: WrittenProgram,
    index: int,
    settings: Settings,
    folder: RunFolder,
    arrays: tensors.ArrayFiles,
) -> tuple[ProgramRecord, Exception | None]:
    """Write a program's results, measure the program if requested, and make its record.

    Parameters
    ----------
    rendered : RenderedProgram
        The program.
    written : WrittenProgram
        The result of :func:`write_ahead`.
    index : int
        Its number in the capture.
    settings : Settings
        The capture's settings; ``data`` decides which arrays are written.
    folder : RunFolder
        The capture folder.
    arrays : ArrayFiles
        The arrays that the capture has written so far.

    Returns
    -------
    ProgramRecord
        The program's record; its fidelity lists the texts that could not be made.
    Exception or None
        The first failure among the requested parts.
    """
    closed, native = rendered.closed, rendered.native
    place, arguments = written.place, written.arguments
    results_file = f"{place}/results.safetensors"
    results = _store(results_file, "results", closed.results, settings, arrays)
    has_names = bool(native.lowered.owners & closed.components.keys())
    record = ProgramRecord(
        index=index,
        name=closed.name,
        kind=closed.kind,
        fingerprint=closed.fingerprint,
        identity=written.identity,
        arguments=argument_specs(closed, native.lowered, arguments),
        results=result_specs(closed, native.lowered, results),
        fidelity=_fidelity(native, closed, *written.notes),
        files=(*written.texts, *_files_of(place, arguments), *_files_of(place, results)),
        portable=written.portable,
        step=written.step,
        kernels=native.kernels,
        compiled_in=closed.compiled_in,
        components=closed.components if has_names else {},
        links=closed.links if has_names else {},
        definition=written.definition,
    )
    problem = rendered.problem
    if settings.profile:
        record, unmeasured = _measured(record, native, closed)
        problem = problem or unmeasured
    return record, problem


def _identity(closed: ClosedProgram, native: LoweredProgram) -> tuple[str, tuple[str, ...]]:
    """Return the identity of a program, and a note if it has none."""
    record = ProgramRecord(
        index=0,
        name=closed.name,
        kind=closed.kind,
        fingerprint="",
        arguments=argument_specs(closed, native.lowered, {}),
        results=result_specs(closed, native.lowered, {}),
        fidelity=Fidelity(),
        files=(),
        kernels=native.kernels,
    )
    try:
        return identity(record, read_step(record, native.lowered.module)), ()
    except Exception as error:  # a later version may have unknown operations
        return "", (f"The program has no identity: {first_line(error)}",)


def _measured(
    record: ProgramRecord, native: LoweredProgram, closed: ClosedProgram
) -> tuple[ProgramRecord, Exception | None]:
    """Measure the run time of each component, or record why it cannot be measured.

    A program that cannot be measured is not a failure of the probe.
    """
    texts = native.renderings
    try:
        # Same order as Program._parsed: VHLO has decomposed CHLO operations.
        rendering = next((texts[kind] for kind in ("stablehlo", "vhlo") if kind in texts), None)
        if rendering is None:
            raise CannotMeasure(
                "The program was captured neither as StableHLO nor as VHLO.",
                "Capture with dialect='stablehlo'.",
            )
        values = {arg.path: arg.value for arg in closed.arguments}
        arrays = {name: tensors.to_numpy(value) for name, value in values.items()}
        with progress(f"Measuring {record.name}"):
            measuring = measure(record, rendering.content, arrays)
        return replace(record, measured=measuring.measured), None
    except (CannotMeasure, CannotReplay) as error:
        return replace(record, unmeasured=first_line(error)), None
    except Exception as error:
        return replace(record, unmeasured=first_line(error)), error


def _fidelity(program: LoweredProgram, closed: ClosedProgram, *notes: str) -> Fidelity:
    """Return how faithfully a program's texts represent the run."""
    lowered = program.lowered
    return Fidelity(
        checks={kind: rendering.check for kind, rendering in program.renderings.items()}
        | {
            kind: DialectCheck(parsed=False, detail=f"there is no text: {first_line(error)}")
            for kind, error in program.problems.items()
        },
        chlo={kind: text.chlo for kind, text in program.renderings.items() if text.chlo},
        custom_calls=_custom_calls(lowered, closed),
        host_callbacks=tuple(filter(mlir.is_callback, lowered.custom_calls)),
        inlined_constants=tuple(kind for kind, _ in mlir.large_constants(lowered.operations)),
        removed=closed.removed,
        reasons=closed.reasons,
        unused=program.unused,
        notes=(*closed.notes, *lowered.notes, *notes),
        placement=lowered.placement,
    )


def _portable(place: str, rendered: RenderedProgram, folder: RunFolder) -> PortableProgram | None:
    """Write the portable version, if requested. Its notes list the parts that are not portable."""
    closed, portable = rendered.closed, rendered.portable
    if portable is None:
        return None
    if isinstance(portable, Exception):
        reason = f"The program can't be lowered to plain StableHLO: {first_line(portable)}"
        return PortableProgram(fidelity=Fidelity(notes=(reason,)))
    fidelity = _fidelity(portable, closed)
    if fidelity.custom_calls:
        note = f"Some kernels have no portable version here: {', '.join(fidelity.custom_calls)}."
        fidelity = _fidelity(portable, closed, note)
    return PortableProgram(
        fidelity=fidelity,
        cost=portable.cost,
        native_cost=rendered.native.cost,
        files=tuple(_write_texts(f"{place}/portable", portable, folder)),
    )


def _step(
    place: str,
    rendered: RenderedProgram,
    stored: dict[str, tensors.Stored],
    settings: Settings,
    folder: RunFolder,
) -> StepProgram | None:
    """Write one step of a program's loop, if requested."""
    step, loop = rendered.step, rendered.closed.loop
    if not settings.step or rendered.closed.kind != "loop":
        return None
    if isinstance(step, RenderedProgram) and loop is not None:
        closed, native = step.closed, step.native
        own = f"{place}/step"
        return StepProgram(
            fidelity=_fidelity(native, closed),
            fingerprint=closed.fingerprint,
            arguments=argument_specs(closed, native.lowered, stored),
            results=result_specs(closed, native.lowered, {}),
            steps=loop.length,
            reverse=loop.options["reverse"],
            files=tuple(_write_texts(own, native, folder)),
            portable=_portable(own, step, folder),
            kernels=native.kernels,
        )
    reason = "This BrainPy compiles the loop with the rest of the run: one step is not known."
    if isinstance(step, Exception):
        reason = f"One step of the program can't be lowered: {first_line(step)}"
    return StepProgram(fidelity=Fidelity(notes=(reason,)))


def _write_texts(place: str, program: LoweredProgram, folder: RunFolder) -> list[WrittenFile]:
    return [
        folder.write(f"{place}/{_FILES[kind]}", kind, rendering.content)
        for kind, rendering in program.renderings.items()
    ]


def _store(
    name: str, kind: str, group: list[NamedValue], settings: Settings, arrays: tensors.ArrayFiles
) -> dict[str, tensors.Stored]:
    """Write values, or only compute their digests, or neither, as the settings request."""
    values = {**known_values(group), **_parts(group)}
    if settings.data == "none":
        return {}
    if kind == "data" or settings.data == "full":
        return arrays.write(name, kind, values, share=kind == "data")
    return arrays.digested(values)


def _files_of(place: str, stored: dict[str, tensors.Stored]) -> list[WrittenFile]:
    """Return the files with the values. Files of another program have the kind ``shared``."""
    files = {item.file.path: item.file for item in stored.values() if item.file is not None}
    own = [file for path, file in files.items() if path.startswith(f"{place}/")]
    shared = [replace(file, kind="shared") for file in files.values() if file not in own]
    return [*own, *shared]


def known_values(group: list[NamedValue]) -> NamedArrays:
    """Return the values that are known, by group and name, such as ``state/E.V``."""
    return {
        item.path: item.value
        for item in group
        if not isinstance(item.value, jax.ShapeDtypeStruct)
        and not is_donated(item.value)
        and not tensors.spans_processes(item.value)
    }


def _parts(group: list[NamedValue]) -> NamedArrays:
    """Return this process's parts of arrays that span processes, by their entries."""
    return {
        part_entry(item, start): part
        for item in group
        for start, part in tensors.own_parts(item.value).items()
    }


def is_donated(value: Array) -> bool:
    """Return whether the run took over the memory of an array, so that its value is gone."""
    return isinstance(value, jax.Array) and value.is_deleted()


def _custom_calls(lowered: Lowered, closed: ClosedProgram) -> dict[str, tuple[str, ...]]:
    """Return the targets of opaque custom calls, each with the constants that it depends on."""
    constants: dict[str, tuple[str, ...]] = {}
    for target, calls in lowered.custom_calls.items():
        if mlir.is_callback(target):
            continue
        ops = lowered.operations
        numbers = {n for call in calls for n in mlir.feeding_arguments(lowered.module, ops, call)}
        arguments = [closed.arguments[n - lowered.tokens] for n in sorted(numbers)]
        constants[target] = tuple(arg.name for arg in arguments if arg.role == "constant")
    return constants
