"""The parts of a capture as its reader sees them: programs, modules, calls; knows no BrainPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from brainpy_probe.errors import BadSetting
from brainpy_probe.records import (
    CallRecord,
    Failure,
    Fidelity,
    ModuleRecord,
    ProgramKind,
    ProgramRecord,
    Reason,
    TensorSpec,
    Timing,
)
from brainpy_probe.store import read_file

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CompiledModule", "PredictCall", "Program"]


@dataclass(frozen=True)
class Program:
    """A distinct program, ``program(constants, state, inputs) -> {outputs, monitors, state}``."""

    _folder: Path
    record: ProgramRecord

    @property
    def name(self) -> str:
        """The model's class, which is also the module's name."""
        return self.record.name

    @property
    def kind(self) -> ProgramKind:
        """``loop`` for the whole run, ``step`` where the runner's loop is Python's."""
        return self.record.kind

    @property
    def fingerprint(self) -> str:
        """Equal for programs of equal computation, names, shapes and dtypes."""
        return self.record.fingerprint

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
        """How faithfully the texts stand for what ran."""
        return self.record.fidelity

    @property
    def portable(self) -> Program | None:
        """The same program without the kernels that only BrainPy has, if it was asked for.

        Its texts, its fidelity and its bytecode are those of that form; arguments and results
        are the same.
        """
        form = self.record.portable
        if form is None:
            return None
        arrays = [file for file in self.record.files if file.kind in ("data", "results")]
        files = (*form.files, *arrays)
        record = replace(self.record, fidelity=form.fidelity, files=files, portable=None)
        return Program(self._folder, record)

    @property
    def dialects(self) -> tuple[str, ...]:
        """The dialects of which there is a text, in the order asked for."""
        binary = {"vhlo", "data", "results"}
        return tuple(file.kind for file in self.record.files if file.kind not in binary)

    @property
    def paths(self) -> dict[str, Path]:
        """The program's files by kind: a dialect, ``vhlo``, ``data``, ``results``."""
        return {file.kind: self._folder / file.path for file in self.record.files}

    def text(self, dialect: str | None = None) -> str:
        """Return the program's text.

        Parameters
        ----------
        dialect : str, optional
            Which of :attr:`dialects`; default the first.

        Raises
        ------
        BadSetting
            If that dialect was not captured.
        DamagedCapture
            If the file is missing or altered.
        """
        wanted = self.dialects[0] if dialect is None else dialect
        if wanted not in self.dialects:
            raise BadSetting(
                f"This capture has no text in {wanted!r}.",
                f"It has {', '.join(self.dialects)}; capture(dialect=...) decides which.",
            )
        return self._read(wanted).decode()

    def data(self, kind: str = "data") -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of the program's first call, by ``role/name``.

        Parameters
        ----------
        kind : str
            ``"data"`` for the arguments, ``"results"`` for the results.

        Raises
        ------
        BadSetting
            If these arrays were not captured.
        """
        if kind not in ("data", "results") or kind not in self.paths:
            raise BadSetting(
                f"This capture has no arrays {kind!r}.",
                "capture(data='inputs') writes 'data', capture(data='full') 'results' as well.",
            )
        from safetensors.numpy import load as unpack

        specs = self.arguments if kind == "data" else self.results
        raw = unpack(self._read(kind))
        return {
            name: raw[name].view(_dtype(spec.dtype)).reshape(spec.shape)
            for spec in specs
            if (name := f"{spec.role}/{spec.name}") in raw
        }

    def _read(self, kind: str) -> bytes:
        (file,) = (file for file in self.record.files if file.kind == kind)
        return read_file(self._folder, file)


def _dtype(name: str) -> np.dtype[Any]:
    import numpy as np  # late: see the package's docstring

    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # with NumPy's own names for bfloat16 and its kin

        return np.dtype(getattr(ml_dtypes, name))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class CompiledModule:
    """A module that JAX compiled, or took from its persistent cache, in the block."""

    _folder: Path
    record: ModuleRecord

    @property
    def name(self) -> str:
        """JAX's name for it."""
        return self.record.name

    @property
    def fingerprint(self) -> str:
        """Equal for modules of equal content."""
        return self.record.fingerprint

    @property
    def timing(self) -> Timing:
        """Seconds of tracing, lowering and compiling."""
        return self.record.seconds

    @property
    def from_cache(self) -> bool:
        """Whether it came from JAX's persistent cache."""
        return self.record.origin == "cache"

    @property
    def reason(self) -> Reason:
        """Why it was compiled, as a slug."""
        return self.record.reason

    @property
    def why(self) -> str:
        """Why it was compiled, in a sentence."""
        return self.record.why

    @property
    def paths(self) -> dict[str, Path]:
        """Its IR files by kind: ``stablehlo``, ``mlirbc``, ``hlo``."""
        files = self.record.files
        return {file.kind: self._folder / file.path for file in files if file.kind != "xla"}

    @property
    def dump_paths(self) -> tuple[Path, ...]:
        """The files that XLA dumped for it."""
        files = self.record.files
        return tuple(self._folder / file.path for file in files if file.kind == "xla")

    def text(self, kind: str = "hlo") -> str:
        """Return a text: ``"hlo"``, the optimised HLO that runs, or ``"stablehlo"``, to read.

        Raises
        ------
        BadSetting
            If there is no such text.
        DamagedCapture
            If the file is missing or altered.
        """
        for file in self.record.files:
            if file.kind == kind and kind in ("hlo", "stablehlo"):
                return read_file(self._folder, file).decode()
        raise BadSetting(f"{self.name} has no text {kind!r}.", "Allowed: hlo, stablehlo.")


@dataclass(frozen=True)
class PredictCall:
    """One call of a runner's ``predict``."""

    record: CallRecord
    program: Program | None
    modules: tuple[CompiledModule, ...]

    @property
    def index(self) -> int:
        """Its number in the capture, from 0."""
        return self.record.index

    @property
    def runner(self) -> str:
        """The runner's class."""
        return self.record.runner

    @property
    def model(self) -> str:
        """The model's class."""
        return self.record.model

    @property
    def steps(self) -> int | None:
        """The number of time steps, or None if the call failed before it was known."""
        return self.record.steps

    @property
    def timing(self) -> Timing:
        """Seconds of the run itself, by phase, as without the probe."""
        return self.record.native

    @property
    def probe_timing(self) -> Timing:
        """Seconds that the probe took for this call."""
        return self.record.probe

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each argument (``in/role/name``) and result (``out/role/name``)."""
        return self.record.digests

    @property
    def error(self) -> Failure | None:
        """What the run raised."""
        return self.record.error

    @property
    def failure(self) -> Failure | None:
        """What went wrong in the probe."""
        return self.record.failure
