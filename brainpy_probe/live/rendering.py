"""Lowers a closed program, renders it and writes its files; knows no call and no session."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import jax
from msgspec.structs import replace

from brainpy_probe.errors import CannotCapture, CannotMeasure, first_line
from brainpy_probe.live import seams, tensors
from brainpy_probe.live.dialects import Lowered, Rendering
from brainpy_probe.live.kernels import kernel_calls
from brainpy_probe.live.pure import ClosedProgram, Named
from brainpy_probe.measuring import measure
from brainpy_probe.records import (
    GROUPS,
    DialectCheck,
    Fidelity,
    KernelCall,
    PortableForm,
    ProgramRecord,
    TensorSpec,
    WrittenFile,
    label,
)
from brainpy_probe.settings import Settings
from brainpy_probe.store import RunFolder, safe_name
from brainpy_probe.xla import execution, mlir

__all__ = ["known_values", "write_program"]

_FILES = {
    "stablehlo": "program.stablehlo.mlir",
    "mhlo": "program.mhlo.mlir",
    "hlo": "program.hlo.txt",
    "vhlo": "program.vhlo.mlirbc",
}
# Bytes above which a constant in the text is worth a remark.
_LARGE = 1024


def write_program(
    index: int,
    closed: ClosedProgram,
    settings: Settings,
    folder: RunFolder,
    arrays: tensors.ArrayFiles,
) -> tuple[ProgramRecord, Exception | None]:
    """Render a program in the dialects asked for, write it, and record what was written.

    Parameters
    ----------
    index : int
        The program's number in the capture.
    closed : ClosedProgram
        The program.
    settings : Settings
        Which dialects, which arrays.
    folder : RunFolder
        Where the files go.
    arrays : ArrayFiles
        The arrays that the capture has written so far.

    Returns
    -------
    ProgramRecord
        The program; its fidelity tells of the texts that can't be made.
    Exception or None
        Why the first of these can't be made.

    Raises
    ------
    CannotCapture
        If none can be made.
    """
    place = f"programs/{index:03d}-{safe_name(closed.name)}"
    native = _form(closed, settings)
    if not native.renderings:
        raise CannotCapture("No text can be made of the program.", f"{_said(native.problems)}.")
    texts = _write_texts(place, native, folder)
    portable, problem = (
        _portable(place, closed, native, settings, folder) if settings.portable else (None, None)
    )
    arguments = _store(f"{place}/data.safetensors", "data", closed.arguments, settings, arrays)
    results = _store(f"{place}/results.safetensors", "results", closed.results, settings, arrays)
    record = ProgramRecord(
        index=index,
        name=closed.name,
        kind=closed.kind,
        fingerprint=closed.fingerprint,
        arguments=_specs(native.lowered.tokens, closed.arguments, arguments),
        results=_specs(native.lowered.tokens, closed.results, results),
        fidelity=_fidelity(native, closed),
        files=(*texts, *_files_of(place, arguments), *_files_of(place, results)),
        portable=portable,
        kernels=native.kernels,
        compiled_in=closed.compiled_in,
        components=closed.components if native.lowered.owners & closed.components.keys() else {},
    )
    if settings.profile:
        record, unmeasured = _measured(record, native, closed)
        problem = problem or unmeasured
    return record, next(iter(native.problems.values()), problem)


def _measured(
    record: ProgramRecord, native: _Form, closed: ClosedProgram
) -> tuple[ProgramRecord, Exception | None]:
    """Measure how long each component runs, or note why not: that it can't be is no failure."""
    texts = native.renderings
    try:
        form = next((texts[kind] for kind in ("vhlo", "stablehlo") if kind in texts), None)
        if form is None:
            raise CannotMeasure(
                "The program was captured neither as VHLO nor as StableHLO.",
                "Capture with dialect='stablehlo'.",
            )
        values = {f"{GROUPS[one.role]}/{one.name}": one.value for one in closed.arguments}
        given = {name: tensors.to_numpy(value) for name, value in values.items()}
        return replace(record, measured=measure(record, form.content, given).measured), None
    except CannotMeasure as error:
        return replace(record, unmeasured=first_line(error)), None
    except Exception as error:
        return replace(record, unmeasured=first_line(error)), error


@dataclass(frozen=True)
class _Form:
    """A program lowered in one way, and its texts."""

    lowered: Lowered
    cost: dict[str, float]
    renderings: dict[str, Rendering]
    problems: dict[str, Exception]
    kernels: tuple[KernelCall, ...]


def _form(closed: ClosedProgram, settings: Settings, *, plain: bool = False) -> _Form:
    def function(*groups: Any) -> Any:  # JAX keeps what it has lowered, by function
        return closed.function(*groups)

    with seams.plain_kernels() if plain else contextlib.nullcontext():
        jitted = jax.jit(function, keep_unused=True)
        lowering, jaxpr = seams.lowered_with_jaxpr(jitted, closed.grouped())
    lowered = Lowered(
        lowering.compiler_ir("stablehlo"),
        closed.name,
        [label(one.role, one.name) for one in closed.arguments],
        [label(one.role, one.name) for one in closed.results],
    )
    if plain:
        lowered.expand_chlo()
        lowered.for_other_compilers()
    renderings: dict[str, Rendering] = {}
    problems: dict[str, Exception] = {}
    for dialect in settings.dialects:
        try:
            renderings[dialect] = lowered.render(dialect)
        except Exception as error:
            problems[dialect] = error
    bytecode = lowered.bytecode() if renderings else None
    if bytecode is not None:
        renderings["vhlo"] = bytecode
    cost = _estimated(lowered) if settings.portable else {}
    kernels = () if plain or jaxpr is None else kernel_calls(jaxpr.eqns)
    return _Form(lowered, cost, renderings, problems, kernels)


def _estimated(lowered: Lowered) -> dict[str, float]:
    """Return XLA's estimate for a form: flops and bytes, a loop's body counted once."""
    try:
        counted = execution.cost_analysis(lowered.hlo_module)
    except Exception:  # it is an estimate: without it nothing is wrong
        return {}
    return {name: counted[name] for name in ("flops", "bytes accessed") if name in counted}


def _fidelity(form: _Form, closed: ClosedProgram, *notes: str) -> Fidelity:
    lowered = form.lowered
    return Fidelity(
        checks={kind: rendering.check for kind, rendering in form.renderings.items()}
        | {
            kind: DialectCheck(parsed=False, detail=f"there is no text: {first_line(error)}")
            for kind, error in form.problems.items()
        },
        chlo={kind: one.chlo for kind, one in form.renderings.items() if one.chlo},
        custom_calls=_custom_calls(lowered, closed),
        host_callbacks=tuple(filter(mlir.is_callback, lowered.custom_calls)),
        inlined_constants=tuple(
            kind for kind, _ in mlir.large_constants(lowered.operations, _LARGE)
        ),
        notes=(*closed.notes, *lowered.notes, *notes),
    )


def _portable(
    place: str, closed: ClosedProgram, native: _Form, settings: Settings, folder: RunFolder
) -> tuple[PortableForm, Exception | None]:
    """Lower the program once more, from the same trace, without BrainPy's own kernels.

    Returns
    -------
    PortableForm
        The form; its notes tell of what can't be had.
    Exception or None
        Why there is none.
    """
    try:
        plain = _form(closed, settings, plain=True)
    except Exception as error:
        reason = f"The program can't be lowered to plain StableHLO: {first_line(error)}"
        return PortableForm(fidelity=Fidelity(notes=(reason,))), error
    fidelity = _fidelity(plain, closed)
    if fidelity.custom_calls:
        left = f"Kernels are left that have no plain form here: {', '.join(fidelity.custom_calls)}."
        fidelity = _fidelity(plain, closed, left)
    form = PortableForm(
        fidelity=fidelity,
        cost=plain.cost,
        native_cost=native.cost,
        files=tuple(_write_texts(f"{place}/portable", plain, folder)),
    )
    return form, next(iter(plain.problems.values()), None)


def _write_texts(place: str, form: _Form, folder: RunFolder) -> list[WrittenFile]:
    return [
        folder.write(f"{place}/{_FILES[kind]}", kind, rendering.content)
        for kind, rendering in form.renderings.items()
    ]


def _said(problems: dict[str, Exception]) -> str:
    return "; ".join(f"{kind}: {first_line(error)}" for kind, error in problems.items())


def _store(
    name: str, kind: str, group: list[Named], settings: Settings, arrays: tensors.ArrayFiles
) -> dict[str, tensors.Stored]:
    """Do what is asked for: nothing, take the values' digests, or write them."""
    values = known_values(group)
    if settings.data == "none":
        return {}
    if kind == "data" or settings.data == "full":
        return arrays.write(name, kind, values, share=kind == "data")
    return arrays.digested(values)


def _files_of(place: str, stored: dict[str, tensors.Stored]) -> list[WrittenFile]:
    """Return the files that hold values, those of another program as shared ones."""
    files = {one.file.path: one.file for one in stored.values() if one.file is not None}
    own = [file for path, file in files.items() if path.startswith(f"{place}/")]
    shared = [replace(file, kind="shared") for file in files.values() if file not in own]
    return [*own, *shared]


def known_values(group: list[Named]) -> dict[str, Any]:
    """Return the values that the run gives, by group and name, as ``state/E.V``."""
    return {
        f"{GROUPS[one.role]}/{one.name}": one.value
        for one in group
        if not isinstance(one.value, jax.ShapeDtypeStruct)
    }


def _custom_calls(lowered: Lowered, closed: ClosedProgram) -> dict[str, tuple[str, ...]]:
    """Return the opaque custom calls' targets, each with the constants that flow into it."""
    found: dict[str, tuple[str, ...]] = {}
    for target, calls in lowered.custom_calls.items():
        if mlir.is_callback(target):
            continue
        among = lowered.operations
        fed = {n for call in calls for n in mlir.feeding_arguments(lowered.module, among, call)}
        arguments = [closed.arguments[n - lowered.tokens] for n in sorted(fed)]
        found[target] = tuple(one.name for one in arguments if one.role == "constant")
    return found


def _specs(
    tokens: int, group: list[Named], stored: dict[str, tensors.Stored]
) -> tuple[TensorSpec, ...]:
    leading = [
        TensorSpec(name=f"token.{n}", role="token", shape=(), dtype="token", nbytes=0)
        for n in range(tokens)
    ]
    return (*leading, *(_spec(one, stored) for one in group))


def _spec(one: Named, stored: dict[str, tensors.Stored]) -> TensorSpec:
    shape, dtype, nbytes, key = tensors.lowered_form(one.value)
    spec = TensorSpec(
        name=one.name, role=one.role, shape=shape, dtype=dtype, nbytes=nbytes, key=key
    )
    place = stored.get(spec.path)
    if place is None:
        return spec
    file = "" if place.file is None else place.file.path
    return replace(spec, digest=place.digest, file=file, entry=place.entry)
