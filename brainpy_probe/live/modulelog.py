"""Records each compiled module, writes its files, and remembers it for the next one's reason.

A module that XLA compiles anew into what it was before is known by its bytecode and by the
executable's fingerprint: it is read once, and its files stand once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from brainpy_probe.live import dumps, seams
from brainpy_probe.live.compilation import Compilation
from brainpy_probe.live.modules import ModuleFacts, ModuleTexts, facts
from brainpy_probe.live.reasons import explain
from brainpy_probe.records import ModuleRecord, Timing, WrittenFile
from brainpy_probe.settings import Settings
from brainpy_probe.store import RunFolder, safe_name

__all__ = ["ModuleLog"]


@dataclass
class ModuleLog:
    """The compiled modules of one capture.

    Parameters
    ----------
    settings : Settings
        Whether XLA dumps.
    folder : RunFolder
        Where the files go.
    """

    settings: Settings
    folder: RunFolder
    _read: dict[tuple[str, ...], tuple[ModuleFacts, tuple[WrittenFile, ...]]] = field(
        default_factory=dict
    )
    _before: dict[tuple[str, str], list[ModuleFacts]] = field(default_factory=dict)

    def record(
        self,
        index: int,
        compilation: Compilation,
        call: int | None = None,
        model: str = "",
        names: Sequence[str] = (),
    ) -> ModuleRecord:
        """Write a module's files and record it.

        Parameters
        ----------
        index : int
            The module's number in the capture.
        compilation : Compilation
            What was noted of it.
        call : int or None
            The predict call that it was compiled for.
        model : str
            That call's model: a module is compared with those of its name and model.
        names : sequence of str
            The names of its arguments, if they are known.
        """
        place = "outside" if call is None else f"predict{call:03d}"
        place = f"modules/{index:04d}-{place}-{safe_name(compilation.name)}"
        module, files = self._facts(place, compilation)
        before = self._before.setdefault((model, module.name), [])
        known = _all_names(module, names)
        reason, why = explain(module, before, known)
        self._remember(before, module)
        notes = [*compilation.notes, *module.notes]
        if self.settings.xla_dump and not compilation.compiled:
            notes.append(
                "It came from JAX's persistent cache: nothing was compiled, so nothing dumped."
            )
        return ModuleRecord(
            index=index,
            name=module.name,
            fingerprint=module.fingerprint,
            call=call,
            thread=compilation.thread,
            backend=module.backend,
            origin="compiled" if compilation.compiled else "cache",
            seconds=Timing(
                trace=compilation.trace,
                lower=compilation.lower,
                compile=compilation.compile,
                wall=compilation.trace + compilation.lower + compilation.compile,
            ),
            arguments=module.arguments,
            argument_names=tuple(known),
            reason=reason,
            why=why,
            cost=module.cost,
            memory=module.memory,
            custom_calls=module.custom_calls,
            large_constants=module.large_constants,
            notes=tuple(notes),
            files=(*files, *self._dumped(place, compilation)),
        )

    def _remember(self, before: list[ModuleFacts], module: ModuleFacts) -> None:
        if all(one.fingerprint != module.fingerprint for one in before):
            before.append(module)
        else:
            # The last one stands last: the next module is compared with it.
            before.sort(key=lambda one: one.fingerprint == module.fingerprint)

    def _facts(
        self, place: str, compilation: Compilation
    ) -> tuple[ModuleFacts, tuple[WrittenFile, ...]]:
        """Return what a module is, and its files, which are written if it is a new one."""
        made = seams.executable_fingerprint(compilation.executable)
        key = (compilation.backend, compilation.digest, made)
        if key in self._read:
            return self._read[key]
        module, texts = facts(compilation)
        found = module, self._write(place, compilation, texts)
        if made:
            self._read[key] = found
        return found

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

    def _dumped(self, place: str, compilation: Compilation) -> list[WrittenFile]:
        """Write what XLA dumped for this very compilation."""
        if not self.settings.xla_dump or compilation.dumps is None:
            return []
        found = []
        for source in dumps.gathered(compilation.dumps):
            name = source.relative_to(compilation.dumps).as_posix()
            found.append(self.folder.write(f"{place}/xla/{name}", "xla", source.read_bytes()))
        return found


def _all_names(module: ModuleFacts, names: Sequence[str]) -> list[str]:
    """Name a loop's arguments, if it has those that were expected.

    JAX drops arguments that nothing reads: then nothing tells which ones the others are.
    """
    tokens = [kind for kind in module.arguments if "token" in kind]
    if not names or len(module.arguments) != len(tokens) + len(names):
        return []
    return [*("token" for _ in tokens), *names]
