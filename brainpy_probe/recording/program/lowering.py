"""Lowers a closed program, renders it, then writes its files; knows no call and no session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from msgspec.structs import replace

from brainpy_probe.analysis.measure import measure
from brainpy_probe.compat import brainevent_kernels, jax_compiler, jax_tracing
from brainpy_probe.errors import CannotCapture, CannotMeasure, CannotReplay, first_line
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.folder import RunFolder, safe_name
from brainpy_probe.format.program_records import (
    GROUPS,
    DialectCheck,
    Fidelity,
    KernelCall,
    PortableProgram,
    ProgramRecord,
    TensorSpec,
    label,
)
from brainpy_probe.ir import execution, mlir
from brainpy_probe.ir.dialects import Lowered, Rendering
from brainpy_probe.recording.program import jaxprs, tensors
from brainpy_probe.recording.program.closure import ClosedProgram, Named
from brainpy_probe.recording.program.kernel_calls import kernel_calls
from brainpy_probe.settings import Settings

__all__ = ["Rendered", "Written", "known_values", "render", "write", "write_ahead"]

_FILES = {
    "stablehlo": "program.stablehlo.mlir",
    "mhlo": "program.mhlo.mlir",
    "hlo": "program.hlo.txt",
    "vhlo": "program.vhlo.mlirbc",
}


@dataclass(frozen=True)
class _Form:
    """A program lowered in one way, and its texts.

    Attributes
    ----------
    jaxpr : ClosedJaxpr or None
        What was lowered, where JAX gives that.
    unused : tuple of str
        The arguments that it does not read, by group and name.
    """

    lowered: Lowered
    jaxpr: Any
    cost: dict[str, float]
    renderings: dict[str, Rendering]
    problems: dict[str, Exception]
    kernels: tuple[KernelCall, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class Rendered:
    """A program in all its forms; nothing of it is written yet.

    Attributes
    ----------
    closed : ClosedProgram
        The program.
    native : _Form
        The form that ran.
    portable : _Form, Exception or None
        The form for other compilers, or why there is none; None where nobody asked for it.
    """

    closed: ClosedProgram
    native: _Form
    portable: _Form | Exception | None

    @property
    def problem(self) -> Exception | None:
        """Why the first of the texts that were asked for can't be made."""
        portable = self.portable
        if isinstance(portable, _Form):
            portable = next(iter(portable.problems.values()), None)
        return next(iter(self.native.problems.values()), portable)


def render(closed: ClosedProgram, settings: Settings) -> Rendered:
    """Lower a program and render it in the dialects asked for; the disk is left alone.

    Raises
    ------
    CannotCapture
        If no text can be made of it.
    """
    program = _without_dead_code(closed)
    native = _form(closed, settings, program)
    if not native.renderings:
        raise CannotCapture("No text can be made of the program.", f"{_said(native.problems)}.")
    portable: _Form | Exception | None = None
    if settings.portable:
        try:
            portable = _form(closed, settings, _plain(program, native.jaxpr), plain=True)
        except Exception as error:
            portable = error
    return Rendered(closed, native, portable)


@dataclass(frozen=True)
class Written:
    """What is on disk of a program before its run has ended: the texts, and the arguments.

    Attributes
    ----------
    place : str
        The folder of its files, below that of the capture.
    texts : list of WrittenFile
        The texts.
    portable : PortableProgram or None
        The form for other compilers, where it was asked for.
    arguments : dict
        Where the arguments are stored.
    """

    place: str
    texts: list[WrittenFile]
    portable: PortableProgram | None
    arguments: dict[str, tensors.Stored]


def write_ahead(
    rendered: Rendered,
    index: int,
    settings: Settings,
    folder: RunFolder,
    arrays: tensors.ArrayFiles,
) -> Written:
    """Write what is known of a program before its run has ended.

    Parameters
    ----------
    rendered, index, settings, folder, arrays
        As of :func:`write`.
    """
    closed = rendered.closed
    with folder.rollback_on_error():
        place = folder.reserve("programs", index, safe_name(closed.name))
        texts = _write_texts(place, rendered.native, folder)
        portable = _portable(place, rendered, folder)
        data = f"{place}/data.safetensors"
        arguments = _store(data, "data", closed.arguments, settings, arrays)
    return Written(place, texts, portable, arguments)


def write(
    rendered: Rendered,
    written: Written,
    index: int,
    settings: Settings,
    folder: RunFolder,
    arrays: tensors.ArrayFiles,
) -> tuple[ProgramRecord, Exception | None]:
    """Write a program's results, measure it if that is asked for, and make its record.

    Parameters
    ----------
    rendered : Rendered
        The program.
    written : Written
        What :func:`write_ahead` wrote of it.
    index : int
        Its number in the capture.
    settings : Settings
        Which arrays.
    folder : RunFolder
        Where the files go.
    arrays : ArrayFiles
        The arrays that the capture has written so far.

    Returns
    -------
    ProgramRecord
        The program; its fidelity tells of the texts that can't be made.
    Exception or None
        What else of what was asked for can't be had.
    """
    closed, native = rendered.closed, rendered.native
    place, arguments = written.place, written.arguments
    made = f"{place}/results.safetensors"
    results = _store(made, "results", closed.results, settings, arrays)
    named = bool(native.lowered.owners & closed.components.keys())
    record = ProgramRecord(
        index=index,
        name=closed.name,
        kind=closed.kind,
        fingerprint=closed.fingerprint,
        arguments=_specs(native.lowered.token_types, closed.arguments, arguments),
        results=_result_specs(closed, native.lowered.token_types, results),
        fidelity=_fidelity(native, closed),
        files=(*written.texts, *_files_of(place, arguments), *_files_of(place, results)),
        portable=written.portable,
        kernels=native.kernels,
        compiled_in=closed.compiled_in,
        components=closed.components if named else {},
        links=closed.links if named else {},
    )
    problem = rendered.problem
    if settings.profile:
        record, unmeasured = _measured(record, native, closed)
        problem = problem or unmeasured
    return record, problem


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
    except (CannotMeasure, CannotReplay) as error:
        return replace(record, unmeasured=first_line(error)), None
    except Exception as error:
        return replace(record, unmeasured=first_line(error)), error


def _form(
    closed: ClosedProgram, settings: Settings, program: _Program, *, plain: bool = False
) -> _Form:
    def own(*groups: Any) -> Any:  # JAX keeps what it has lowered, by function
        return program.function(*groups)

    lowering, jaxpr = jax_compiler.lowered_with_jaxpr(
        jax.jit(own, keep_unused=True), closed.grouped()
    )
    lowered = Lowered(
        lowering.compiler_ir("stablehlo"),
        closed.name,
        [label(one.role, one.name) for one in closed.arguments],
        [label(one.role, one.name) for one in closed.results],
    )
    if plain:
        lowered.expand_chlo()
        lowered.make_portable()
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
    return _Form(lowered, jaxpr, cost, renderings, problems, kernels, program.unused)


@dataclass(frozen=True)
class _Program:
    """What is lowered of a closed program.

    Attributes
    ----------
    function : callable
        It takes the arguments of the closed program, and gives its results, maybe in a list.
    unused : tuple of str
        The arguments that it does not read, by group and name.
    """

    function: Callable[..., Any]
    unused: tuple[str, ...]


def _without_dead_code(closed: ClosedProgram) -> _Program:
    """Remove dead code, also what a loop carries or reads to no purpose.

    JAX does so before it lowers a jit, unless the jit is to keep its unused arguments, as ours is.
    XLA hoists and fuses otherwise what is left in a loop with more operands.
    """

    def given(*groups: Any) -> Any:  # JAX keeps what it has traced, by function
        return closed.function(*groups)

    traced, results = jax.make_jaxpr(given, return_shape=True)(*closed.grouped())
    live, used = jax_tracing.without_dead_code(traced)
    structure: Any = jax.tree_util.tree_structure(results)

    def program(*groups: Any) -> Any:
        leaves = jax.tree_util.tree_leaves(groups)
        read = [leaf for leaf, is_used in zip(leaves, used, strict=True) if is_used]
        values = zip([*live.constvars, *live.invars], [*traced.consts, *read], strict=True)
        value_of = jaxprs.evaluate(live.eqns, values, {})
        return structure.unflatten([value_of(variable) for variable in live.outvars])

    unused = [
        f"{GROUPS[argument.role]}/{argument.name}"
        for argument, is_used in zip(closed.arguments, used, strict=True)
        if not is_used
    ]
    return _Program(program, tuple(unused))


def _plain(program: _Program, jaxpr: Any) -> _Program:
    """Return a program with the kernels that other compilers have, its results in a list."""
    if jaxpr is None:  # as old a JAX has a BrainPy whose kernels are chosen before
        return program
    eqns = jaxprs.changed(jaxpr.eqns, brainevent_kernels.plain_kernels())

    def plain(*groups: Any) -> list[Any]:
        constants = zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True)
        given = zip(jaxpr.jaxpr.invars, jax.tree_util.tree_leaves(groups), strict=True)
        return list(map(jaxprs.evaluate(eqns, [*constants, *given], {}), jaxpr.jaxpr.outvars))

    return _Program(plain, program.unused)


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
        inlined_constants=tuple(kind for kind, _ in mlir.large_constants(lowered.operations)),
        removed=closed.removed,
        reasons=closed.reasons,
        unused=form.unused,
        notes=(*closed.notes, *lowered.notes, *notes),
    )


def _portable(place: str, rendered: Rendered, folder: RunFolder) -> PortableProgram | None:
    """Write the form for other compilers, if it was asked for; its notes tell what it lacks."""
    closed, plain = rendered.closed, rendered.portable
    if plain is None:
        return None
    if isinstance(plain, Exception):
        reason = f"The program can't be lowered to plain StableHLO: {first_line(plain)}"
        return PortableProgram(fidelity=Fidelity(notes=(reason,)))
    fidelity = _fidelity(plain, closed)
    if fidelity.custom_calls:
        left = f"Kernels are left that have no plain form here: {', '.join(fidelity.custom_calls)}."
        fidelity = _fidelity(plain, closed, left)
    return PortableProgram(
        fidelity=fidelity,
        cost=plain.cost,
        native_cost=rendered.native.cost,
        files=tuple(_write_texts(f"{place}/portable", plain, folder)),
    )


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
    tokens: Sequence[tuple[tuple[int, ...], str]],
    group: list[Named],
    stored: dict[str, tensors.Stored],
) -> tuple[TensorSpec, ...]:
    leading = [
        TensorSpec(name=f"token.{n}", role="token", shape=shape, dtype=dtype, nbytes=0)
        for n, (shape, dtype) in enumerate(tokens)
    ]
    return (*leading, *(_spec(one, stored) for one in group))


def _result_specs(
    closed: ClosedProgram,
    tokens: Sequence[tuple[tuple[int, ...], str]],
    stored: dict[str, tensors.Stored],
) -> tuple[TensorSpec, ...]:
    """Return the specs of the results, and of which of them have an entry for each step."""
    specs = []
    for spec in _specs(tokens, closed.results, stored):
        key = spec.role, spec.name
        records = closed.records.get(key)
        if records is not None:
            axis = 1 if key in closed.swapped else 0
            spec = replace(spec, axis=axis if closed.kind == "loop" else None, records=records)
        specs.append(spec)
    return tuple(specs)


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
