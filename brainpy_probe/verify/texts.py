"""Proves a capture's texts anew, from the files alone; needs jaxlib, and knows no JAX, no BrainPy.

A parser may end the process on a text that is damaged, so that this runs in one of its own: it
says what it reads before it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainpy_probe.compat import bindings
from brainpy_probe.errors import DamagedCapture, first_line
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.program_records import Fidelity, TensorSpec, label
from brainpy_probe.format.reading import read_file
from brainpy_probe.format.records import Manifest
from brainpy_probe.ir import identity, mlir
from brainpy_probe.ir.dtypes import hlo_type, mlir_type
from brainpy_probe.verify.checks import Check, failed, noted, passed, undecided

__all__ = ["Texts", "prove", "texts_of"]

# A constant that a printer has left out: MLIR's, and HLO's.
_ELIDED = re.compile(rb"__elided__|constant\(\{\.\.\.\}\)")
# The dialects of a program in plain StableHLO.
_PLAIN = {"builtin", "func", "stablehlo"}
_IN_MLIR = ("stablehlo", "mhlo", "vhlo", "mlirbc")


@dataclass(frozen=True)
class Texts:
    """The texts of one program in one form, or of one compiled module.

    Attributes
    ----------
    arguments, results : tuple of TensorSpec, or None
        What the manifest says of a program's main; None for a module.
    jaxlib : str
        The jaxlib that wrote them.
    calls : set of str
        The custom calls that the manifest says are in a program.
    plain : bool
        Whether a program is the form for other compilers.
    """

    subject: str
    files: tuple[WrittenFile, ...]
    arguments: tuple[TensorSpec, ...] | None
    results: tuple[TensorSpec, ...] | None
    jaxlib: str
    calls: frozenset[str] = frozenset()
    plain: bool = False


def texts_of(manifest: Manifest) -> list[Texts]:
    """Return all texts of a capture that jaxlib's parsers are for; XLA's dumps are not."""
    jaxlib = manifest.environment.jaxlib
    found = []
    for program in manifest.programs:
        name, fidelity = f"program {program.index}", program.fidelity
        signature = (program.arguments, program.results, jaxlib)
        found.append(Texts(name, _read(program.files), *signature, _calls(fidelity)))
        if program.portable is not None:
            files, fidelity = _read(program.portable.files), program.portable.fidelity
            name = f"{name}, portable"
            found.append(Texts(name, files, *signature, _calls(fidelity), plain=True))
    proved: set[tuple[WrittenFile, ...]] = set()
    for module in manifest.modules:
        files = _read(module.files)
        if files not in proved:  # modules that were compiled into the same share their files
            found.append(Texts(f"module {module.index}", files, None, None, jaxlib))
        proved.add(files)
    return [texts for texts in found if texts.files]


def _read(files: Sequence[WrittenFile]) -> tuple[WrittenFile, ...]:
    return tuple(file for file in files if file.kind in (*_IN_MLIR, "hlo"))


def _calls(fidelity: Fidelity) -> frozenset[str]:
    return frozenset((*fidelity.custom_calls, *fidelity.host_callbacks))


def prove(folder: Path, texts: Texts) -> Iterator[Check | str]:
    """Prove the texts of one program or module.

    Yields
    ------
    Check or str
        What was found, or what is done next.
    """
    proving = _Proving(texts)
    for file in texts.files:
        yield f"reading {file.path}"
        yield proving.read(folder, file)
    yield from proving.compared()


@dataclass
class _Proving:
    """The texts of one program or module while they are proved."""

    texts: Texts

    def __post_init__(self) -> None:
        self.modules: dict[str, Any] = {}
        self.contents: dict[str, bytes] = {}
        self.paths = {file.kind: file.path for file in self.texts.files}
        self.differs = bindings.version_remark(self.texts.jaxlib)

    def _wrong(self, name: str, reason: str) -> Check:
        """Return a fault, or what is none for sure.

        Texts promise nothing from one version to the next: 0.12.0 reads no StableHLO text of
        0.4.13 that slices, and names HLO's computations otherwise.
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
            return undecided(subject, name, f"{file.path} is not the file that was written")
        self.contents[file.kind] = content
        try:
            module = _PARSERS[file.kind](content)
        except Exception as error:
            return self._wrong(name, f"{file.path}: {_gist(error)}")
        self.modules[file.kind] = module
        again = self._printed(file.kind)
        if again and not self.differs:
            return failed(subject, name, f"{file.path} prints otherwise: {again}")
        parser = "XLA's parser" if file.kind == "hlo" else "MLIR's parser, verified"
        return passed(subject, name, f"by {parser}{f' ({self.differs})' if again else ''}")

    def _printed(self, kind: str) -> str:
        """Return in what a text of MLIR's differs from what its module prints."""
        if kind not in ("stablehlo", "mhlo"):
            return ""
        text = self.contents[kind].decode()
        if self.texts.arguments is not None:
            named = bindings.has_locations(text)
            printed = bindings.mlir_text(self.modules[kind], locations=named)
            return identity.first_difference(text, printed)
        return ""

    def compared(self) -> Iterator[Check]:
        """Yield what the texts are beside one another."""
        if self.contents:
            yield self._elided()
        if not self.modules:
            return
        if self.texts.arguments is None or self.texts.results is None:
            yield from self._module()
            return
        yield from self._same()
        yield self._signature(self.texts.arguments, self.texts.results)
        yield from self._foreign()

    def _elided(self) -> Check:
        name = "nothing elided"
        # Of a module, the StableHLO is there to be read: its bytecode is complete.
        module = self.texts.arguments is None
        checked = {k: v for k, v in self.contents.items() if not (module and k == "stablehlo")}
        cut = [self.paths[kind] for kind, content in checked.items() if _ELIDED.search(content)]
        if cut:
            reason = f"a constant is left out in {', '.join(cut)}"
            return failed(self.texts.subject, name, reason)
        return passed(self.texts.subject, name, f"no constant is left out of {_listed(checked)}")

    def _module(self) -> Iterator[Check]:
        if not {"stablehlo", "mlirbc"} <= self.modules.keys():
            return
        lines = self.contents["stablehlo"].decode().splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("//"))
        printed = bindings.mlir_text(self.modules["mlirbc"], mlir.READABLE_ELEMENTS)
        yield self._told_of(
            "stablehlo", "the text of mlirbc", identity.first_difference(text, printed)
        )

    def _foreign(self) -> Iterator[Check]:
        """Yield what a program is made of that not every compiler knows."""
        subject, kind = self.texts.subject, self._in_stablehlo()
        if not kind:
            return
        path, module = self.paths[kind], self.modules[kind]
        found = set(mlir.custom_calls(mlir.operations(module)))
        if found != self.texts.calls:
            reason = f"{path} calls {_words(found)}, the manifest says {_words(self.texts.calls)}"
            yield failed(subject, "custom calls", reason)
        else:
            yield passed(subject, "custom calls", f"{_words(found)}, as the manifest says")
        if not self.texts.plain:
            return
        dialects = {one.name.partition(".")[0] for one in mlir.operations(module)}
        others = dialects - _PLAIN
        if others:
            reason = f"{path} has operations of {_words(others)}"
            # A callback has the place of its process beside it, and can't be handed over anyway.
            bound = others == {"chlo"} or any(map(mlir.is_callback, found))
            yield (noted if bound else failed)(subject, "plain", reason)
        else:
            yield passed(subject, "plain", "no operation but StableHLO's own")

    def _in_stablehlo(self) -> str:
        return next((kind for kind in ("stablehlo", "vhlo") if kind in self.modules), "")

    def _same(self) -> Iterator[Check]:
        """Yield for each text whether XLA makes the same HLO of it as of the first one."""
        kinds = [kind for kind in ("stablehlo", "mhlo", "vhlo", "hlo") if kind in self.modules]
        if len(kinds) == 1:
            reason = f"there is no other text than {kinds[0]}"
            yield undecided(self.texts.subject, "same program", reason)
            return
        first, *others = kinds
        differences = self._differences(first, others)
        if len(others) > 1 and all(differences.values()):
            # It may be the first one that is wrong: the others are to say so.
            second, *rest = others
            if not any(self._differences(second, rest).values()):
                whose = f"the program of {', '.join(others)}"
                yield self._told_of(first, whose, differences[second])
                return
        for kind in others:
            yield self._told_of(kind, f"the program of {first}", differences[kind])

    def _differences(self, first: str, others: Sequence[str]) -> dict[str, str]:
        return {kind: self._difference(first, kind) for kind in others}

    def _difference(self, first: str, other: str) -> str:
        try:
            return _Origin(first, self.modules[first]).difference(other, self)
        except Exception as error:  # XLA can't make HLO of one of them
            return _gist(error)

    def _told_of(self, kind: str, whose: str, difference: str) -> Check:
        name = f"{kind} is the same"
        if difference:
            reason = f"{self.paths[kind]} is not {whose}: {difference}"
            return self._wrong(name, reason)
        return passed(self.texts.subject, name, f"it is {whose}")

    def _signature(self, arguments: Sequence[TensorSpec], results: Sequence[TensorSpec]) -> Check:
        name = "signature"
        for kind, module in self.modules.items():
            try:
                fault = _unlike_manifest(kind, module, arguments, results)
            except ValueError as error:
                fault = first_line(error)
            if fault:
                return failed(self.texts.subject, name, f"{self.paths[kind]}: {fault}")
        reason = f"{len(arguments)} arguments and {len(results)} results are those of the manifest"
        return passed(self.texts.subject, name, f"{reason}, in {_listed(self.modules)}")


class _Origin:
    """The text with which the others of a program are compared."""

    def __init__(self, kind: str, module: Any) -> None:
        self.module = module
        if kind == "mhlo":
            self.module = _copy(module)
            bindings.run_passes(self.module, "hlo-legalize-to-stablehlo")

    def difference(self, kind: str, proving: _Proving) -> str:
        """Return the first line in which XLA makes something else of another text, or nothing."""
        other = proving.modules[kind]
        if kind == "hlo":
            here = bindings.hlo_canonical_text(bindings.hlo_of(self.module))
            return identity.first_difference(here, bindings.hlo_canonical_text(other))
        origin = _copy(self.module)
        if kind == "vhlo":
            bindings.chlo_to_stablehlo(origin)  # bytecode has none
            return identity.ComparableModule(origin).difference(identity.ComparableModule(other))
        # Each operation has its counterpart, dead ones too, which no HLO tells of.
        operations = identity.to_mhlo(origin)
        difference = identity.first_difference(operations, identity.operation_counts(other))
        back = _copy(other)
        bindings.run_passes(back, "hlo-legalize-to-stablehlo")
        return difference or identity.ComparableModule(self.module).difference(
            identity.ComparableModule(back)
        )


def _copy(module: Any) -> Any:
    return bindings.parse_mlir(bindings.mlir_bytecode(module), bindings.mlir_context())


_PARSERS: Mapping[str, Callable[[bytes], Any]] = {
    "stablehlo": lambda content: bindings.parse_mlir(content.decode(), bindings.mlir_context()),
    "mhlo": lambda content: bindings.parse_mlir(content.decode(), bindings.mlir_context()),
    "mlirbc": lambda content: bindings.parse_mlir(content, bindings.mlir_context()),
    "vhlo": lambda content: bindings.read_portable_bytecode(content, bindings.mlir_context()),
    "hlo": lambda content: bindings.parse_hlo(content.decode()),
}


def _unlike_manifest(
    kind: str, module: Any, arguments: Sequence[TensorSpec], results: Sequence[TensorSpec]
) -> str:
    """Return in what main's signature is another than the manifest's."""
    taken, given = _types(kind, module)
    return _disagreement("argument", [_expected(kind, one) for one in arguments], taken) or (
        _disagreement("result", [_expected(kind, one) for one in results], given)
    )


def _types(kind: str, module: Any) -> tuple[list[str], list[str]]:
    """Return main's arguments and results, each with its name where the dialect has one."""
    if kind == "hlo":
        return bindings.hlo_types(module)
    arguments = zip(mlir.argument_types(module), mlir.argument_names(module), strict=True)
    results = zip(mlir.result_types(module), mlir.result_names(module), strict=True)
    return [_named(*one) for one in arguments], [_named(*one) for one in results]


def _named(kind: str, name: str) -> str:
    return f"{name or 'without a name'}: {kind.replace('!mhlo.token', '!stablehlo.token')}"


def _expected(kind: str, spec: TensorSpec) -> str:
    if kind == "hlo":
        return hlo_type(spec.shape, spec.dtype)
    name = f"token[{spec.name.partition('.')[2]}]"
    if spec.role != "token":
        name = label(spec.role, spec.name)
    return _named(mlir_type(spec.shape, spec.dtype), name)


def _disagreement(what: str, expected: Sequence[str], found: Sequence[str]) -> str:
    if len(expected) != len(found):
        return f"main has {len(found)} {what}s, the manifest {len(expected)}"
    for position, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one != other:
            return f"{what} {position} is {other}, in the manifest {one}"
    return ""


def _gist(error: Exception) -> str:
    """Return what a parser found; MLIR's says first that it found something."""
    lines = [line.strip() for line in str(error).splitlines() if "error:" in line]
    return lines[0][:300] if lines else first_line(error)


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names)
