"""One capture scope: finished calls in, records and files out; knows no wrapper and no seam."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import threading
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jax
import msgspec
from loguru import logger

from brainpy_probe.captured import Capture
from brainpy_probe.errors import ProbeError, ProbeWarning
from brainpy_probe.live import mlir, pure, tensors
from brainpy_probe.live.calls import CURRENT_WATCH, RunningCall
from brainpy_probe.live.dialects import Lowered, Rendering
from brainpy_probe.live.timing import Stopwatch
from brainpy_probe.records import (
    CallRecord,
    DialectCheck,
    Environment,
    Failure,
    Fidelity,
    Manifest,
    ProgramRecord,
    TensorSpec,
    Timing,
    WrittenFile,
)
from brainpy_probe.settings import Settings
from brainpy_probe.store import RunFolder

__all__ = ["Session"]

_FILES = {
    "stablehlo": "program.stablehlo.mlir",
    "mhlo": "program.mhlo.mlir",
    "hlo": "program.hlo.txt",
}
# Bytes above which a constant in the text is worth a remark.
_LARGE = 1024
_VERSIONS = ("brainpy-probe", "brainpy", "brainstate", "brainevent", "jax", "jaxlib", "numpy")


@dataclass
class Session:
    """The state of one open capture.

    Calls may end in several threads at once; one after the other is recorded.
    """

    settings: Settings
    folder: RunFolder = field(init=False)
    capture: Capture = field(init=False)
    _digests: tensors.Digests = field(default_factory=tensors.Digests)
    _programs: dict[str, int] = field(default_factory=dict)
    _warned: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.folder = RunFolder(self.settings.out)
        self._publish(
            Manifest(
                created=datetime.now(UTC).isoformat(),
                environment=_environment(),
                settings=self.settings,
            )
        )

    def call_ended(self, call: RunningCall) -> ProbeError | None:
        """Record a call; return what the user asked to be raised, if anything."""
        watch = Stopwatch()
        token = CURRENT_WATCH.set(watch)
        try:
            with self._lock:
                return self._record(call, watch)
        finally:
            CURRENT_WATCH.reset(token)

    def close(self) -> ProbeError | None:
        """Say in the manifest that the capture ended; return what the user asked to be raised."""
        with self._lock:
            try:
                self._publish(msgspec.structs.replace(self.manifest, complete=True))
            except Exception as error:
                return self._failed(error)
        return None

    def _record(self, call: RunningCall, watch: Stopwatch) -> ProbeError | None:
        program: int | None = None
        digests: dict[str, str] = {}
        failure: Exception | None = None
        try:
            if call.error is None or call.loops:
                closed = pure.close(call)
                program = self._program(closed)
                digests = self._digest(closed)
        except Exception as error:
            failure = error
        try:
            record = self._call_record(call, watch, program, digests, failure)
            calls = (*self.manifest.calls, record)
            self._publish(msgspec.structs.replace(self.manifest, calls=calls))
            logger.info("captured call {} of {}: {}", record.index, record.model, self.folder.path)
        except Exception as error:
            failure = error
        return None if failure is None else self._failed(failure)

    def _failed(self, failure: Exception) -> ProbeError | None:
        error = (
            failure
            if isinstance(failure, ProbeError)
            else ProbeError(
                f"The probe failed: {type(failure).__name__}: {failure}",
                f"The traceback is in {self.folder.path}.",
            )
        )
        if self.settings.strict:
            error.__cause__ = None if error is failure else failure
            return error
        said = (type(failure).__qualname__, str(failure))
        if said not in self._warned:
            self._warned.add(said)
            try:
                warnings.warn(f"{error} The simulation went on.", ProbeWarning, stacklevel=6)
            except ProbeWarning:  # -W error: a warning of ours must not stop the run
                logger.warning("{} The simulation went on.", error)
        return None

    def _call_record(
        self,
        call: RunningCall,
        watch: Stopwatch,
        program: int | None,
        digests: dict[str, str],
        failure: Exception | None,
    ) -> CallRecord:
        runner = call.runner
        watch.stop()
        return CallRecord(
            index=len(self.manifest.calls),
            runner=type(runner).__qualname__,
            model=type(getattr(runner, "target", runner)).__qualname__,
            thread=call.thread,
            started=call.started,
            i0=call.i0,
            dt=float(getattr(runner, "dt", 0.0)),
            steps=None if call.indices is None else len(call.indices),
            program=program,
            digests=digests,
            native=call.watch.timing(),
            probe=_sum(call.preparation, watch.timing()),
            error=None if call.error is None else Failure.of(call.error),
            failure=None if failure is None else Failure.of(failure),
        )

    def _program(self, closed: pure.ClosedProgram) -> int:
        """Return the index of a program, rendering it if it is one that was not seen yet."""
        known = self._programs.get(closed.fingerprint)
        if known is not None:
            return known
        index = len(self.manifest.programs)
        record = self._render(index, closed)
        programs = (*self.manifest.programs, record)
        self._publish(msgspec.structs.replace(self.manifest, programs=programs))
        self._programs[closed.fingerprint] = index
        return index

    def _render(self, index: int, closed: pure.ClosedProgram) -> ProgramRecord:
        lowering = jax.jit(closed.function, keep_unused=True).lower(*closed.grouped())
        lowered = Lowered(
            lowering.compiler_ir("stablehlo"),
            closed.name,
            [f"{_GROUPS[one.role]}[{one.name!r}]" for one in closed.arguments],
            [f"{_GROUPS[one.role]}[{one.name!r}]" for one in closed.results],
        )
        place = f"programs/{index:03d}-{_safe(closed.name)}"
        renderings: dict[str, tuple[str, Rendering]] = {
            dialect: (_FILES[dialect], lowered.render(dialect))
            for dialect in self.settings.dialects
        }
        portable = lowered.portable()
        if portable is not None:
            renderings["vhlo"] = ("program.vhlo.mlirbc", portable)
        files = [
            self.folder.write(f"{place}/{name}", kind, rendering.content)
            for kind, (name, rendering) in renderings.items()
        ]
        files += self._write_data(place, closed)
        checks: dict[str, DialectCheck] = {k: r.check for k, (_, r) in renderings.items()}
        return ProgramRecord(
            index=index,
            name=closed.name,
            kind=closed.kind,
            fingerprint=closed.fingerprint,
            arguments=_specs(lowered.tokens, closed.arguments),
            results=_specs(lowered.tokens, closed.results),
            fidelity=Fidelity(
                checks=checks,
                chlo={k: r.chlo for k, (_, r) in renderings.items() if r.chlo},
                custom_calls=_custom_calls(lowered, closed),
                host_callbacks=tuple(filter(mlir.is_callback, mlir.custom_calls(lowered.module))),
                inlined_constants=tuple(
                    kind for kind, _ in mlir.large_constants(lowered.module, _LARGE)
                ),
                notes=(*closed.notes, *lowered.notes),
            ),
            files=tuple(files),
        )

    def _write_data(self, place: str, closed: pure.ClosedProgram) -> list[WrittenFile]:
        if self.settings.data == "none":
            return []
        groups = [("data", closed.arguments)]
        if self.settings.data == "full":
            groups.append(("results", closed.results))
        return [
            self.folder.write(f"{place}/{kind}.safetensors", kind, tensors.pack(values))
            for kind, group in groups
            if (values := _values(group))
        ]

    def _digest(self, closed: pure.ClosedProgram) -> dict[str, str]:
        if self.settings.data == "none":
            return {}
        arguments = {f"in/{k}": v for k, v in _values(closed.arguments).items()}
        results = {f"out/{k}": v for k, v in _values(closed.results).items()}
        return {k: self._digests.of(v) for k, v in (arguments | results).items()}

    def _publish(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.folder.write_manifest(manifest)
        if hasattr(self, "capture"):
            self.capture.manifest = manifest
        else:
            self.capture = Capture(self.folder.path, manifest)


_GROUPS = {
    "constant": "constants",
    "state": "state",
    "input": "inputs",
    "output": "outputs",
    "monitor": "monitors",
}


def _values(group: list[pure.Named]) -> dict[str, Any]:
    return {
        f"{one.role}/{one.name}": one.value
        for one in group
        if not isinstance(one.value, jax.ShapeDtypeStruct)
    }


def _specs(tokens: int, group: list[pure.Named]) -> tuple[TensorSpec, ...]:
    leading = [
        TensorSpec(name=f"token.{n}", role="token", shape=(), dtype="token", nbytes=0)
        for n in range(tokens)
    ]
    return (*leading, *map(_spec, group))


def _spec(one: pure.Named) -> TensorSpec:
    shape, dtype, nbytes, key = tensors.lowered_form(one.value)
    return TensorSpec(
        name=one.name, role=one.role, shape=shape, dtype=dtype, nbytes=nbytes, key=key
    )


def _sum(one: Timing, other: Timing) -> Timing:
    return Timing(**{f: getattr(one, f) + getattr(other, f) for f in Timing.__struct_fields__})


def _custom_calls(lowered: Lowered, closed: pure.ClosedProgram) -> dict[str, tuple[str, ...]]:
    """Return the opaque custom calls' targets, each with the constants that flow into it."""
    found: dict[str, tuple[str, ...]] = {}
    for target, calls in mlir.custom_calls(lowered.module).items():
        if mlir.is_callback(target):
            continue
        fed = {n for call in calls for n in mlir.feeding_arguments(lowered.module, call)}
        arguments = [closed.arguments[n - lowered.tokens] for n in sorted(fed)]
        found[target] = tuple(one.name for one in arguments if one.role == "constant")
    return found


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name) or "program"


def _environment() -> Environment:
    versions = {}
    for package in _VERSIONS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Environment(
        host=socket.gethostname(),
        pid=os.getpid(),
        python=platform.python_version(),
        backend=jax.default_backend(),
        versions=versions,
    )
