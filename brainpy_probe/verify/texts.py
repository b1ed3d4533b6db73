"""Checks the texts of a capture from its files alone; needs only jaxlib.

A parser may end the process on a damaged text. Therefore each step runs in a worker process, and
yields a description before it reads a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings
from brainpy_probe.errors import DamagedCapture, first_line
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import (
    Fidelity,
    ProgramRecord,
    StepProgram,
    TensorSpec,
    label,
)
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.format.reading import read_file
from brainpy_probe.ir import identity, mlir
from brainpy_probe.ir.dtypes import hlo_type, mlir_type
from brainpy_probe.verify.checks import Check, failed, noted, passed, undecided

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import HloModule, MlirModule

__all__ = ["Texts", "check_texts", "texts_of"]

# An elided constant, in MLIR's and in HLO's notation.
_ELIDED = re.compile(rb"__elided__|constant\(\{\.\.\.\}\)")
# The dialects of a program in plain StableHLO.
_PLAIN = {"builtin", "func", "stablehlo"}
_MLIR_KINDS = ("stablehlo", "mhlo", "vhlo", "mlirbc")


@dataclass(frozen=True)
class Texts:
    """The texts of a program, of a portable program, or of a compiled module.

    Attributes
    ----------
    arguments, results : tuple of TensorSpec, or None
        The signature of a program's main according to the manifest; None for a module.
    jaxlib : str
        The version of the jaxlib that wrote them.
    calls : set of str
        The custom calls of a program according to the manifest.
    plain : bool
        Whether they are the texts of a portable program.
    """

    subject: str
    files: tuple[WrittenFile, ...]
    arguments: tuple[TensorSpec, ...] | None
    results: tuple[TensorSpec, ...] | None
    jaxlib: str
    calls: frozenset[str] = frozenset()
    plain: bool = False


def texts_of(manifest: Manifest) -> list[Texts]:
    """Return all texts of a capture that jaxlib can parse, without XLA's dumps."""
    jaxlib = manifest.environment.jaxlib
    found: list[Texts] = []
    for program in manifest.programs:
        name = f"program {program.index}"
        found += _texts_of(name, program, jaxlib)
        if program.step is not None:
            found += _texts_of(f"{name}, step", program.step, jaxlib)
    seen: set[tuple[WrittenFile, ...]] = set()
    for module in manifest.modules:
        files = _parsable(module.files)
        if files not in seen:  # equal modules share their files
            found.append(Texts(f"module {module.index}", files, None, None, jaxlib))
        seen.add(files)
    return [texts for texts in found if texts.files]


def _texts_of(name: str, program: ProgramRecord | StepProgram, jaxlib: str) -> Iterator[Texts]:
    """Yield the texts of a program, and of its portable program."""
    signature = (program.arguments, program.results, jaxlib)
    yield Texts(name, _parsable(program.files), *signature, _calls(program.fidelity))
    portable = program.portable
    if portable is not None:
        calls = _calls(portable.fidelity)
        yield Texts(f"{name}, portable", _parsable(portable.files), *signature, calls, plain=True)


def _parsable(files: Sequence[WrittenFile]) -> tuple[WrittenFile, ...]:
    return tuple(file for file in files if file.kind in (*_MLIR_KINDS, "hlo"))


def _calls(fidelity: Fidelity) -> frozenset[str]:
    return frozenset((*fidelity.custom_calls, *fidelity.host_callbacks))


def check_texts(folder: Path, texts: Texts) -> Iterator[Check | str]:
    """Check the texts of one program or module.

    Yields
    ------
    Check or str
        A check, or a description of the next step.
    """
    parsed = _ParsedTexts(texts)
    for file in texts.files:
        yield f"reading {file.path}"
        yield parsed.read(folder, file)
    yield from parsed.compare()


@dataclass
class _ParsedTexts:
    """The parsed texts of one program or module."""

    texts: Texts

    def __post_init__(self) -> None:
        self.modules: dict[str, MlirModule | HloModule] = {}
        self.contents: dict[str, bytes] = {}
        self.paths = {file.kind: file.path for file in self.texts.files}
        self.differs = bindings.version_remark(self.texts.jaxlib)

    def _fault(self, name: str, reason: str) -> Check:
        """Return a failed check; an undecided one if another jaxlib wrote the text.

        Texts are not stable across versions: 0.12.0 can't parse a StableHLO text of 0.4.13 with
        slices, and uses different names for HLO's computations.
        """
        if self.differs:
            return undecided(self.texts.subject, name, f"{reason} ({self.differs})")
        return failed(self.texts.subject, name, reason)

    def read(self, folder: Path, file: WrittenFile) -> Check:
        """Parse one file."""
        subject, name = self.texts.subject, f"{file.kind} parses"
        try:
            content = read_file(folder, file)
        except DamagedCapture:
            return undecided(subject, name, f"{file.path} was changed after it was written")
        self.contents[file.kind] = content
        try:
            module = _PARSERS[file.kind](content)
        except Exception as error:
            return self._fault(name, f"{file.path}: {_parser_message(error)}")
        self.modules[file.kind] = module
        difference = self._print_difference(file.kind)
        if difference and not self.differs:
            reason = f"{file.path} prints a different text: {difference}"
            return failed(subject, name, reason)
        parser = "XLA's parser" if file.kind == "hlo" else "MLIR's parser, verified"
        return passed(subject, name, f"by {parser}{f' ({self.differs})' if difference else ''}")

    def _print_difference(self, kind: str) -> str:
        """Return the first difference between an MLIR text and the text that its module prints."""
        if kind not in ("stablehlo", "mhlo"):
            return ""
        text = self.contents[kind].decode()
        if self.texts.arguments is not None:
            named = bindings.has_locations(text)
            printed = bindings.mlir_text(self.modules[kind], locations=named)
            return identity.first_difference(text, printed)
        return ""

    def compare(self) -> Iterator[Check]:
        """Yield the checks that compare the texts with each other and with the manifest."""
        if self.contents:
            yield self._check_elided()
        if not self.modules:
            return
        if self.texts.arguments is None or self.texts.results is None:
            yield from self._check_module()
            return
        yield from self._check_same()
        yield self._check_signature(self.texts.arguments, self.texts.results)
        yield from self._check_operations()

    def _check_elided(self) -> Check:
        name = "nothing elided"
        # The StableHLO text of a module is for human readers; its bytecode is complete.
        module = self.texts.arguments is None
        checked = {k: v for k, v in self.contents.items() if not (module and k == "stablehlo")}
        elided = [self.paths[kind] for kind, content in checked.items() if _ELIDED.search(content)]
        if elided:
            reason = f"a constant is elided in {', '.join(elided)}"
            return failed(self.texts.subject, name, reason)
        return passed(self.texts.subject, name, f"no constant is elided in {_listed(checked)}")

    def _check_module(self) -> Iterator[Check]:
        if not {"stablehlo", "mlirbc"} <= self.modules.keys():
            return
        lines = self.contents["stablehlo"].decode().splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("//"))
        printed = bindings.mlir_text(self.modules["mlirbc"], mlir.READABLE_ELEMENTS)
        yield self._same_check(
            "stablehlo", "the text of mlirbc", identity.first_difference(text, printed)
        )

    def _check_operations(self) -> Iterator[Check]:
        """Check custom calls against the manifest, and dialects of a portable program."""
        subject, kind = self.texts.subject, self._in_stablehlo()
        if not kind:
            return
        path, module = self.paths[kind], self.modules[kind]
        found = set(mlir.custom_calls(mlir.operations(module)))
        if found != self.texts.calls:
            reason = f"{path} calls {_words(found)}; the manifest lists {_words(self.texts.calls)}"
            yield failed(subject, "custom calls", reason)
        else:
            yield passed(subject, "custom calls", f"{_words(found)}, as in the manifest")
        if not self.texts.plain:
            return
        dialects = {op.name.partition(".")[0] for op in mlir.operations(module)}
        others = dialects - _PLAIN
        if others:
            reason = f"{path} has operations of {_words(others)}"
            # A callback has a sharding, but it can't run in another process anyway.
            expected = others == {"chlo"} or any(map(mlir.is_callback, found))
            yield (noted if expected else failed)(subject, "plain", reason)
        else:
            yield passed(subject, "plain", "only operations of StableHLO")

    def _in_stablehlo(self) -> str:
        return next((kind for kind in ("stablehlo", "vhlo") if kind in self.modules), "")

    def _check_same(self) -> Iterator[Check]:
        """Check that XLA makes the same HLO of each text as of the first text."""
        kinds = [kind for kind in ("stablehlo", "mhlo", "vhlo", "hlo") if kind in self.modules]
        if len(kinds) == 1:
            reason = f"there is only one text, {kinds[0]}"
            yield undecided(self.texts.subject, "same program", reason)
            return
        first, *others = kinds
        differences = self._differences(first, others)
        if len(others) > 1 and all(differences.values()):
            # If the other texts agree with each other, the first text is wrong.
            second, *rest = others
            if not any(self._differences(second, rest).values()):
                expected = f"the program of {', '.join(others)}"
                yield self._same_check(first, expected, differences[second])
                return
        for kind in others:
            yield self._same_check(kind, f"the program of {first}", differences[kind])

    def _differences(self, first: str, others: Sequence[str]) -> dict[str, str]:
        return {kind: self._difference(first, kind) for kind in others}

    def _difference(self, first: str, other: str) -> str:
        try:
            return _Origin(first, self.modules[first]).difference(other, self)
        except Exception as error:  # XLA can't translate one of them to HLO
            return _parser_message(error)

    def _same_check(self, kind: str, expected: str, difference: str) -> Check:
        name = f"{kind} is the same"
        if difference:
            reason = f"{self.paths[kind]} is not {expected}: {difference}"
            return self._fault(name, reason)
        return passed(self.texts.subject, name, f"it is {expected}")

    def _check_signature(
        self, arguments: Sequence[TensorSpec], results: Sequence[TensorSpec]
    ) -> Check:
        name = "signature"
        for kind, module in self.modules.items():
            try:
                fault = _signature_difference(kind, module, arguments, results)
            except ValueError as error:
                fault = first_line(error)
            if fault:
                return failed(self.texts.subject, name, f"{self.paths[kind]}: {fault}")
        reason = f"{len(arguments)} arguments and {len(results)} results are as in the manifest"
        return passed(self.texts.subject, name, f"{reason}, in {_listed(self.modules)}")


class _Origin:
    """The text with which the other texts of a program are compared."""

    def __init__(self, kind: str, module: MlirModule | HloModule) -> None:
        self.module = module
        if kind == "mhlo":
            self.module = _copy(module)
            bindings.run_passes(self.module, "hlo-legalize-to-stablehlo")

    def difference(self, kind: str, parsed: _ParsedTexts) -> str:
        """Return the first difference between this program and another text's; "" if equal."""
        other = parsed.modules[kind]
        if kind == "hlo":
            here = identity.canonical_hlo(bindings.hlo_of(self.module))
            return identity.first_difference(here, identity.canonical_hlo(other))
        origin = _copy(self.module)
        if kind == "vhlo":
            bindings.chlo_to_stablehlo(origin)  # the bytecode contains no CHLO
            return identity.ComparableModule(origin).difference(identity.ComparableModule(other))
        # HLO contains no dead operations: compare the counts of all operations too.
        operations = identity.to_mhlo(origin)
        difference = identity.first_difference(operations, identity.operation_counts(other))
        back = _copy(other)
        bindings.run_passes(back, "hlo-legalize-to-stablehlo")
        return difference or identity.ComparableModule(self.module).difference(
            identity.ComparableModule(back)
        )


def _copy(module: MlirModule) -> MlirModule:
    return bindings.parse_mlir(bindings.mlir_bytecode(module), bindings.mlir_context())


_PARSERS: Mapping[str, Callable[[bytes], MlirModule | HloModule]] = {
    "stablehlo": lambda content: bindings.parse_mlir(content.decode(), bindings.mlir_context()),
    "mhlo": lambda content: bindings.parse_mlir(content.decode(), bindings.mlir_context()),
    "mlirbc": lambda content: bindings.parse_mlir(content, bindings.mlir_context()),
    "vhlo": lambda content: bindings.read_portable_bytecode(content, bindings.mlir_context()),
    "hlo": lambda content: bindings.parse_hlo(content.decode()),
}


def _signature_difference(
    kind: str,
    module: MlirModule | HloModule,
    arguments: Sequence[TensorSpec],
    results: Sequence[TensorSpec],
) -> str:
    """Return the first difference between main's signature and the manifest."""
    argument_types, result_types = _types(kind, module)
    return _first_mismatch(
        "argument", [_expected(kind, spec) for spec in arguments], argument_types
    ) or _first_mismatch("result", [_expected(kind, spec) for spec in results], result_types)


def _types(kind: str, module: MlirModule | HloModule) -> tuple[list[str], list[str]]:
    """Return the types of main's arguments and results, with names if the dialect has them."""
    if kind == "hlo":
        return bindings.hlo_types(module)
    arguments = zip(mlir.argument_types(module), mlir.argument_names(module), strict=True)
    results = zip(mlir.result_types(module), mlir.result_names(module), strict=True)
    return [_named(*pair) for pair in arguments], [_named(*pair) for pair in results]


def _named(kind: str, name: str) -> str:
    return f"{name or 'without a name'}: {kind.replace('!mhlo.token', '!stablehlo.token')}"


def _expected(kind: str, spec: TensorSpec) -> str:
    if kind == "hlo":
        return hlo_type(spec.shape, spec.dtype)
    name = f"token[{spec.name.partition('.')[2]}]"
    if spec.role != "token":
        name = label(spec.role, spec.name)
    return _named(mlir_type(spec.shape, spec.dtype), name)


def _first_mismatch(noun: str, expected: Sequence[str], found: Sequence[str]) -> str:
    if len(expected) != len(found):
        return f"main has {len(found)} {noun}s, the manifest {len(expected)}"
    for position, (wanted, actual) in enumerate(zip(expected, found, strict=True)):
        if wanted != actual:
            return f"{noun} {position} is {actual}, in the manifest {wanted}"
    return ""


def _parser_message(error: Exception) -> str:
    """Return a parser's error, without MLIR's first lines, which do not describe it."""
    lines = [line.strip() for line in str(error).splitlines() if "error:" in line]
    return lines[0][:300] if lines else first_line(error)


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
