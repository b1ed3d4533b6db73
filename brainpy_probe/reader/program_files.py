"""The files of a program: its texts and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting
from brainpy_probe.format.arrays import check_array, read_arrays
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.environment_records import Environment
from brainpy_probe.format.manifest.program_records import (
    KIND_NAMES,
    Fidelity,
    ProgramKind,
    ProgramRecord,
    TensorSpec,
)
from brainpy_probe.format.reading import read_file, read_text
from brainpy_probe.showing import Shown

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ARRAYS", "ProgramFiles"]

# The kinds of files with arrays. An array may be in a shared file of another program.
ARRAYS = ("data", "results", "shared")
_NO_TEXT = "The program itself (cap.programs) has the requested texts."


@dataclass(frozen=True, repr=False)
class ProgramFiles(Shown):
    """A program, as stored in the files of its capture.

    :meth:`text` and :meth:`data` read the files in the calling process, and parse nothing but the
    header of a safetensors file, whose parser checks all bounds.

    Attributes
    ----------
    record : ProgramRecord
        The program's entry in the manifest.
    environment : Environment
        Where the program ran.
    is_portable : bool
        Whether it is the portable form.
    """

    _folder: Path
    record: ProgramRecord
    environment: Environment
    is_portable: bool = False

    def __repr__(self) -> str:
        kind = KIND_NAMES[self.kind]
        return f"<Program {self.record.index}: {in_one_line(self.name)}, {kind}>"

    @property
    def name(self) -> str:
        """The model's class, which is also the module's name."""
        return self.record.name

    @property
    def kind(self) -> ProgramKind:
        """``loop`` for a whole run, ``step`` for one step of a runner whose loop is in Python."""
        return self.record.kind

    @property
    def fingerprint(self) -> str:
        """Equal for programs with equal computation, names, shapes and dtypes."""
        return self.record.fingerprint

    @property
    def identity(self) -> str:
        """Equal for equal programs of any version of BrainPy and JAX; empty if it is unknown."""
        return self.record.identity

    @property
    def arguments(self) -> tuple[TensorSpec, ...]:
        """The arguments of ``main``, in order."""
        return self.record.arguments

    @property
    def results(self) -> tuple[TensorSpec, ...]:
        """The results of ``main``, in order."""
        return self.record.results

    @property
    def fidelity(self) -> Fidelity:
        """How faithfully the texts represent what ran."""
        return self.record.fidelity

    @property
    def dialects(self) -> tuple[str, ...]:
        """The dialects in which there is a text, in the requested order."""
        binary = {"vhlo", *ARRAYS}
        return tuple(file.kind for file in self.record.files if file.kind not in binary)

    @property
    def paths(self) -> dict[str, Path]:
        """The program's own files by kind: a dialect, ``vhlo``, ``data``, ``results``.

        An argument that an earlier program also took is stored in that program's file.
        """
        own = [file for file in self.record.files if file.kind != "shared"]
        return {file.kind: self._folder / file.path for file in own}

    def text(self, dialect: str | None = None) -> str:
        """Return the program's text.

        Parameters
        ----------
        dialect : str, optional
            One of :attr:`dialects`; by default the first.

        Raises
        ------
        BadSetting
            If that dialect was not captured.
        DamagedCapture
            If the file is missing or was changed.
        """
        if not self.dialects:
            reasons = " ".join(self.fidelity.notes) or "No dialect was captured."
            raise BadSetting(f"{self.name} has no text. {reasons}", _NO_TEXT)
        wanted = self.dialects[0] if dialect is None else dialect
        if wanted not in self.dialects:
            raise BadSetting(
                f"This capture has no text in {wanted!r}.",
                f"It has {', '.join(self.dialects)}. Request others with capture(dialect=...).",
            )
        return read_text(self._folder, self._file(wanted))

    def arrays_of(self, file: WrittenFile) -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of a file of the program's folder.

        Raises
        ------
        DamagedCapture
            If the file is missing or was changed.
        """
        return read_arrays(self._folder, file)

    def data(self, kind: str = "data") -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of the program's first call by group and name, as ``state/E.V``.

        Parameters
        ----------
        kind : str
            ``"data"`` for the arguments, ``"results"`` for the results.

        Raises
        ------
        BadSetting
            If these arrays were not captured.
        DamagedCapture
            If a file is missing, was changed, or does not match the manifest.
        """
        specs = self._specs(kind)
        stored = [spec for spec in specs if spec.file]
        if specs and not stored:
            raise _no_arrays(kind)
        return dict(zip((spec.path for spec in stored), self._stored_arrays(stored), strict=True))

    def parts(self, kind: str = "data") -> dict[str, dict[tuple[int, ...], np.ndarray[Any, Any]]]:
        """Return the parts that this process has of arrays that span processes.

        The parts are by group and name of the array, and by the index of their first element.

        Parameters
        ----------
        kind : str
            ``"data"`` for the arguments, ``"results"`` for the results.

        Raises
        ------
        BadSetting
            If `kind` is neither of these.
        DamagedCapture
            If a file is missing, was changed, or does not match the manifest.
        """
        pairs = [(s, part) for s in self._specs(kind) for part in s.parts if part.file]
        arrays = self._stored_arrays([part.spec(spec) for spec, part in pairs])
        found: dict[str, dict[tuple[int, ...], np.ndarray[Any, Any]]] = {}
        for (spec, part), array in zip(pairs, arrays, strict=True):
            found.setdefault(spec.path, {})[part.start] = array
        return found

    def _specs(self, kind: str) -> Sequence[TensorSpec]:
        if kind not in ("data", "results"):
            raise _no_arrays(kind)
        return self.results if kind == "results" else self.arguments

    def _stored_arrays(self, specs: Sequence[TensorSpec]) -> list[np.ndarray[Any, Any]]:
        """Return the stored array of each spec; each file is read once."""
        written = {file.path: file for file in self.record.files}
        raw = {
            path: read_arrays(self._folder, written[path])
            for path in dict.fromkeys(spec.file for spec in specs)
        }
        return [check_array(self._folder / spec.file, spec, raw[spec.file]) for spec in specs]

    def _file(self, kind: str) -> WrittenFile:
        (file,) = (file for file in self.record.files if file.kind == kind)
        return file

    def read(self, kind: str) -> bytes:
        """Return the content of the program's file of a kind: a dialect, or ``vhlo``."""
        return read_file(self._folder, self._file(kind))


def _no_arrays(kind: str) -> BadSetting:
    return BadSetting(
        f"This capture has no arrays {kind!r}.",
        "capture(data='inputs') writes 'data'; capture(data='full') also writes 'results'.",
    )
