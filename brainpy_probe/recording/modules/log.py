"""Records each compiled module, writes its files, and compares it with earlier ones.

A module that XLA compiles again into the same executable is recognised by its bytecode and by the
executable's fingerprint. It is read only once, and its files are written only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import structs

from brainpy_probe.compat import jax_compiler
from brainpy_probe.format.folder import RunFolder, safe_name
from brainpy_probe.format.manifest.common_records import Timing, WrittenFile
from brainpy_probe.format.manifest.records import ModuleFacts, ModuleRecord
from brainpy_probe.format.reading import read_file
from brainpy_probe.recording.modules import dumps
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.modules.facts import ModuleTexts, read_facts
from brainpy_probe.recording.modules.reasons import explain
from brainpy_probe.settings import Settings

__all__ = ["ModuleLog", "RecordedModule"]

# The backend, the digest of the bytecode, and the fingerprint of the executable.
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class RecordedModule:
    """A module whose files are written, and whose record is not in the index yet."""

    record: ModuleRecord
    facts: ModuleFacts
    files: tuple[WrittenFile, ...]
    key: _Key
    model: str


@dataclass
class ModuleLog:
    """The compiled modules of one capture.

    It keeps only modules that are in the index. If the record of a module could not be written, the
    next module is recorded as if that module had not existed.

    Parameters
    ----------
    settings : Settings
        The capture's settings; ``xla_dump`` has the kinds of dumps.
    folder : RunFolder
        The capture folder, with its index.
    """

    settings: Settings
    folder: RunFolder
    _read: dict[_Key, RecordedModule] = field(default_factory=dict)
    _before: dict[tuple[str, str], dict[str, ModuleRecord]] = field(default_factory=dict)
    _seen: int = 0

    def record(
        self,
        index: int,
        compilation: Compilation,
        call: int | None = None,
        model: str = "",
        names: Sequence[str] = (),
        made: Sequence[RecordedModule] = (),
    ) -> RecordedModule:
        """Write a module's files and make its record.

        Parameters
        ----------
        index : int
            The module's number in the capture.
        compilation : Compilation
            The compilation.
        call : int or None
            The number of the call that the module was compiled for, if any.
        model : str
            The model of that call. A module is compared with those of the same name and model.
        names : sequence of str
            The names of the module's arguments, if they are known.
        made : sequence of RecordedModule
            The modules that will be added to the index together with this one.
        """
        of_call = "outside" if call is None else f"predict{call:03d}"
        with self.folder.rollback_on_error():
            place = self.folder.reserve(
                "modules", index, f"{of_call}-{safe_name(compilation.name)}"
            )
            key = _key(compilation)
            module, files = self._facts(key, place, compilation, made)
            known = _all_names(module, names)
            before = self._earlier(model, module.name, made)
            reason, why = explain(module, compilation.bytecode, call, before, known, self._bytecode)
            dumped = self._write_dumps(place, compilation) if self.settings.xla_dump else []
        notes = [*module.notes]
        if self.settings.xla_dump:
            notes += compilation.notes
            if compilation.dumps is not None and not dumped:
                notes.append("not dumped: XLA wrote no file")
            if not compilation.compiled:
                notes.append(
                    "not dumped: the module came from JAX's persistent cache, without a compilation"
                )
        record = ModuleRecord(
            **{**structs.asdict(module), "notes": tuple(notes)},
            index=index,
            call=call,
            thread=compilation.thread,
            origin="compiled" if compilation.compiled else "cache",
            seconds=Timing(
                trace=compilation.trace,
                lower=compilation.lower,
                compile=compilation.compile,
                numba=compilation.numba,
                execute=0.0,
                wall=_sum(
                    compilation.trace, compilation.lower, compilation.compile, compilation.numba
                ),
            ),
            argument_names=tuple(known),
            after=_compared(module, before),
            reason=reason,
            why=why,
            place=compilation.place,
            function=compilation.function,
            cache_minimum=compilation.cache_minimum,
            files=(*files, *dumped),
        )
        return RecordedModule(record, module, files, key, model)

    def keep(self, made: Sequence[RecordedModule]) -> None:
        """Keep the facts of modules whose records are now in the index."""
        for module in made:
            if module.key[-1]:
                self._read.setdefault(module.key, module)

    def _earlier(self, model: str, name: str, made: Sequence[RecordedModule]) -> list[ModuleRecord]:
        """Return the earlier distinct modules of a name and model, the latest one last."""
        index = self.folder.index
        while self._seen < index.modules:
            record = index.module(self._seen)
            of_model = "" if record.call is None else index.call(record.call).model
            _put_last(self._before.setdefault((of_model, record.name), {}), record)
            self._seen += 1  # after an interrupt before this line, the record is read once more
        found = dict(self._before.get((model, name), {}))
        for module in made:
            if (module.model, module.record.name) == (model, name):
                _put_last(found, module.record)
        return list(found.values())

    def _bytecode(self, module: ModuleRecord) -> bytes:
        (file,) = (file for file in module.files if file.kind == "mlirbc")
        return read_file(self.folder.path, file)

    def _facts(
        self, key: _Key, place: str, compilation: Compilation, made: Sequence[RecordedModule]
    ) -> tuple[ModuleFacts, tuple[WrittenFile, ...]]:
        """Return a module's facts and files; read the facts and write the files if it is new."""
        known = self._read.get(key)
        if known is None and key[-1]:
            known = next((module for module in made if module.key == key), None)
        if known is not None:
            return known.facts, known.files
        facts, texts = read_facts(compilation)
        return facts, self._write(place, compilation, texts)

    def _write(
        self, place: str, compilation: Compilation, texts: ModuleTexts
    ) -> tuple[WrittenFile, ...]:
        stablehlo, hlo = texts.stablehlo.encode(), texts.hlo.encode()
        files = [
            self.folder.write(f"{place}/module.stablehlo.mlir", "stablehlo", stablehlo),
            self.folder.write(f"{place}/module.mlirbc", "mlirbc", compilation.bytecode),
        ]
        if hlo:
            files.append(self.folder.write(f"{place}/module.optimized.hlo.txt", "hlo", hlo))
        return tuple(files)

    def _write_dumps(self, place: str, compilation: Compilation) -> list[WrittenFile]:
        """Copy XLA's dumps of this compilation, of the requested kinds, into the folder."""
        if compilation.dumps is None:
            return []
        found = []
        for source in dumps.dumped_files(compilation.dumps, self.settings.xla_dump):
            name = source.relative_to(compilation.dumps).as_posix()
            found.append(self.folder.write(f"{place}/xla/{name}", "xla", source.read_bytes()))
        return found


def _key(compilation: Compilation) -> _Key:
    fingerprint = jax_compiler.executable_fingerprint(compilation.executable)
    return compilation.backend, compilation.digest, fingerprint


def _put_last(modules: dict[str, ModuleRecord], module: ModuleRecord) -> None:
    modules.pop(module.fingerprint, None)
    modules[module.fingerprint] = module


def _all_names(module: ModuleFacts, names: Sequence[str]) -> list[str]:
    """Return the names of a module's arguments, or an empty list if their number differs.

    JAX drops arguments that nothing reads. The names of the remaining ones are then unknown.
    """
    tokens = [kind for kind in module.arguments if "token" in kind]
    if not names or len(module.arguments) != len(tokens) + len(names):
        return []
    return [*("token" for _ in tokens), *names]


def _compared(module: ModuleFacts, before: Sequence[ModuleRecord]) -> int | None:
    """Return the number of the module to compare with: an equal one, otherwise the latest."""
    equal = [earlier for earlier in before if earlier.fingerprint == module.fingerprint]
    candidates = equal or list(before)
    return candidates[-1].index if candidates else None


def _sum(*seconds: float | None) -> float | None:
    """Return the sum of seconds; None if some were not measured."""
    known = [value for value in seconds if value is not None]
    return sum(known) if len(known) == len(seconds) else None
