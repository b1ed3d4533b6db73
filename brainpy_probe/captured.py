"""A capture as its reader sees it, while it goes on or loaded from disk; knows no BrainPy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.findings import Finding, find
from brainpy_probe.records import (
    CallRecord,
    Failure,
    Fidelity,
    Manifest,
    ModuleRecord,
    ProgramKind,
    ProgramRecord,
    Reason,
    TensorSpec,
    Timing,
)
from brainpy_probe.store import read_file, read_manifest

__all__ = ["Capture", "CompiledModule", "PredictCall", "Program", "load"]


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


class Capture:
    """What one ``with`` block captured: calls, programs, modules, findings.

    Given by :func:`brainpy_probe.capture` while it is filled, and by :func:`load` from disk.

    Attributes
    ----------
    path : Path
        The capture folder.
    manifest : Manifest
        Its index, as typed records.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def programs(self) -> tuple[Program, ...]:
        """The distinct programs, in the order in which they first ran."""
        return tuple(Program(self.path, record) for record in self.manifest.programs)

    @property
    def calls(self) -> tuple[PredictCall, ...]:
        """The predict calls, in the order in which they ended."""
        programs, modules = self.programs, self.modules
        return tuple(
            PredictCall(
                record,
                None if record.program is None else programs[record.program],
                tuple(module for module in modules if module.record.call == record.index),
            )
            for record in self.manifest.calls
        )

    @property
    def modules(self) -> tuple[CompiledModule, ...]:
        """The modules that JAX compiled or took from its cache, in the order of their ends."""
        return tuple(CompiledModule(self.path, record) for record in self.manifest.modules)

    @property
    def dump_paths(self) -> tuple[Path, ...]:
        """The files that XLA dumped."""
        return tuple(path for module in self.modules for path in module.dump_paths)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth knowing or doing, each with figures and a remedy."""
        return find(self.manifest)

    @property
    def text(self) -> str:
        """The text of the last program that ran, in the first dialect asked for.

        Raises
        ------
        ProbeError
            If there is none.
        """
        for call in reversed(self.calls):
            if call.program is not None:
                return call.program.text()
        failed = [call.failure or call.error for call in self.calls]
        reasons = "; ".join(f"{one.kind}: {one.message}" for one in failed if one) or (
            "no runner's predict was called in the block"
        )
        raise ProbeError(f"{self.path} has no program: {reasons}.")

    def __repr__(self) -> str:
        return f"<Capture {self.path.name}: {len(self.manifest.calls)} calls>"

    def __str__(self) -> str:
        from brainpy_probe.summary import as_text  # it imports rich, which only a reader needs

        return as_text(self.path, self.manifest)

    def _repr_html_(self) -> str:
        from brainpy_probe.summary import as_html

        return as_html(self.path, self.manifest)


def load(path: str | os.PathLike[str]) -> Capture:
    """Read a capture folder; BrainPy and JAX are not needed.

    Parameters
    ----------
    path : str or path
        A folder ``run-...``, or its ``manifest.json``.

    Returns
    -------
    Capture
        The same records as when it was captured.

    Raises
    ------
    FileNotFoundError
        If it is no capture folder.
    DamagedCapture
        If the manifest is cut off, of a later version, or names files outside its folder.
    """
    return Capture(*read_manifest(path))
