"""One capture scope: finished calls and modules in, records out; knows no wrapper and no seam."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jax
import msgspec
from loguru import logger

from brainpy_probe.captured import Capture
from brainpy_probe.errors import ProbeError, ProbeWarning, first_line
from brainpy_probe.live import consistency, pure, tensors
from brainpy_probe.live.calls import CURRENT_WATCH, RunningCall
from brainpy_probe.live.compilation import PENDING_PHASES, Compilation
from brainpy_probe.live.modulelog import ModuleLog
from brainpy_probe.live.rendering import known_values, write_program
from brainpy_probe.live.timing import Stopwatch, summed
from brainpy_probe.live.traced import Known
from brainpy_probe.live.versions import installed, untested
from brainpy_probe.records import (
    Addition,
    CallRecord,
    Environment,
    Failure,
    Manifest,
    ModuleRecord,
    ProgramRecord,
)
from brainpy_probe.settings import Settings
from brainpy_probe.store import RunFolder

__all__ = ["Session"]

_PACKAGES = ("brainpy-probe", "brainpy", "brainstate", "brainevent", "jax", "jaxlib", "numpy")


@dataclass
class Session:
    """The state of one open capture.

    Calls and modules may end in several threads at once; one after the other is recorded.
    """

    settings: Settings
    folder: RunFolder = field(init=False)
    capture: Capture = field(init=False)
    manifest: Manifest = field(init=False)
    _modules: ModuleLog = field(init=False)
    _arrays: tensors.ArrayFiles = field(init=False)
    _known: Known = field(default_factory=Known)
    _outcomes: consistency.Outcomes = field(default_factory=consistency.Outcomes)
    _programs: dict[str, int] = field(default_factory=dict)
    _warned: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        environment = _environment()
        self.manifest = Manifest(
            created=datetime.now(UTC).isoformat(),
            environment=environment,
            settings=self.settings,
        )
        self.folder = RunFolder(self.settings.out, environment.rank)
        try:
            self.folder.write_manifest(self.manifest)
        except BaseException:
            self.folder.path.rmdir()
            raise
        self._arrays = tensors.ArrayFiles(self.folder)
        self._modules = ModuleLog(self.settings, self.folder)
        self.capture = Capture(self.folder.path, self.manifest)

    def call_ended(self, call: RunningCall) -> ProbeError | None:
        """Record a call; return what the user asked to be raised, if anything."""
        return self._apart(lambda watch: self._record_call(call, watch))

    def module_compiled(self, compilation: Compilation) -> ProbeError | None:
        """Record a module that was compiled outside of any call."""
        return self._apart(lambda _: self._record_module(compilation))

    def close(self) -> ProbeError | None:
        """Say in the manifest that the capture ended; return what the user asked to be raised."""
        if self._is_inherited():
            return None
        with self._lock:
            try:
                manifest = msgspec.structs.replace(self.manifest, complete=True)
                self.folder.write_manifest(manifest)
                self.manifest = self.capture.manifest = manifest
            except Exception as error:
                return self.failed(error)
        return None

    def _apart(self, record: Callable[[Stopwatch], ProbeError | None]) -> ProbeError | None:
        """Do the probe's own work under a watch of its own: its phases are not the run's."""
        if self._is_inherited():
            return None
        watch = Stopwatch()
        phases = PENDING_PHASES.get()
        token = CURRENT_WATCH.set(watch)
        try:
            with self._lock:
                return record(watch)
        finally:
            CURRENT_WATCH.reset(token)
            PENDING_PHASES.set(phases)

    def _is_inherited(self) -> bool:
        """Whether this is a forked process, and the folder that of another, which goes on."""
        return os.getpid() != self.manifest.environment.pid

    def _record_call(self, call: RunningCall, watch: Stopwatch) -> ProbeError | None:
        index = len(self.manifest.calls)
        program: ProgramRecord | None = None
        modules: list[ModuleRecord] = []
        digests: dict[str, str] = {}
        notes: tuple[str, ...] = ()
        native: tuple[Compilation | None, tuple[str, ...]] = None, ()
        failure: Exception | None = None
        try:
            # What runs operation by operation has no program unless its step was traced for it.
            traced = call.jit or self.settings.trace_eager
            if traced and (call.error is None or call.ended_its_loop):
                run = call.run()
                closed = pure.close(call, run, self._known)
                native = closed.native, closed.native_arguments
                closed, notes = consistency.agreed(call, run, closed)
                program, failure, digests = self._program(closed)
        except Exception as error:
            failure = error
        try:
            for compilation in call.compilations:
                number = len(self.manifest.modules) + len(modules)
                known = native[1] if compilation is native[0] else ()
                modules.append(
                    self._modules.record(number, compilation, index, _model(call), known)
                )
        except Exception as error:
            failure = failure or error
        try:
            made = self._call_record(index, call, watch, program, digests, failure, notes)
            fresh = program is not None and program.index == len(self.manifest.programs)
            self._add(
                Addition(
                    calls=(made,),
                    programs=(program,) if program and fresh else (),
                    modules=tuple(modules),
                )
            )
            with contextlib.suppress(Exception):  # a handler of the user's, a closed stderr
                logger.info("captured call {} of {} in {}", index, _model(call), self.folder.path)
        except Exception as error:
            failure = failure or error
        return None if failure is None else self.failed(failure)

    def _record_module(self, compilation: Compilation) -> ProbeError | None:
        try:
            record = self._modules.record(len(self.manifest.modules), compilation)
            self._add(Addition(modules=(record,)))
        except Exception as error:
            return self.failed(error)
        return None

    def _program(
        self, closed: pure.ClosedProgram
    ) -> tuple[ProgramRecord, Exception | None, dict[str, str]]:
        """Return a program's record and the call's digests; render the program if it is new."""
        known = self._programs.get(closed.fingerprint)
        if known is not None:
            record, problem = self.manifest.programs[known], None
            consistency.require_same_signature(closed, record)
        else:
            index = len(self.manifest.programs)
            record, problem = write_program(index, closed, self.settings, self.folder, self._arrays)
            self._programs[closed.fingerprint] = index
        digests = self._digest(closed)
        self._outcomes.require_same(record, closed, digests)
        return record, problem, digests

    def _values(self, closed: pure.ClosedProgram) -> dict[str, Any]:
        """Return the values that are to be digested, by the names that their digests have."""
        if self.settings.data == "none":
            return {}
        arguments = {f"in/{k}": v for k, v in known_values(closed.arguments).items()}
        return arguments | {f"out/{k}": v for k, v in known_values(closed.results).items()}

    def _digest(self, closed: pure.ClosedProgram) -> dict[str, str]:
        return {sys.intern(k): self._arrays.digests.of(v) for k, v in self._values(closed).items()}

    def _call_record(
        self,
        index: int,
        call: RunningCall,
        watch: Stopwatch,
        program: ProgramRecord | None,
        digests: dict[str, str],
        failure: Exception | None,
        notes: tuple[str, ...],
    ) -> CallRecord:
        runner = call.runner
        watch.stop()
        return CallRecord(
            index=index,
            runner=type(runner).__qualname__,
            model=_model(call),
            thread=call.thread,
            started=call.started,
            i0=call.i0,
            dt=float(getattr(runner, "dt", 0.0)),
            jit=call.jit,
            steps=None if call.indices is None else len(call.indices),
            program=None if program is None else program.index,
            digests=digests,
            notes=notes,
            native=call.watch.timing(),
            probe=summed(call.preparation, watch.timing()),
            error=None if call.error is None else Failure.of(call.error),
            failure=None if failure is None else Failure.of(failure),
        )

    def failed(self, failure: Exception) -> ProbeError | None:
        """Warn of a failure of the probe, once; or return it for the user who asked for that."""
        error = (
            failure
            if isinstance(failure, ProbeError)
            else ProbeError(
                f"The probe failed: {type(failure).__name__}: {first_line(failure)}",
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
                warnings.warn(f"{error} The simulation went on.", ProbeWarning, stacklevel=7)
            except Exception:  # -W error, a closed stderr: a warning of ours must not stop the run
                with contextlib.suppress(Exception):
                    logger.warning("{} The simulation went on.", error)
        return None

    def _add(self, addition: Addition) -> None:
        self.folder.append(addition)
        self.manifest = self.capture.manifest = self.manifest.extended(addition)


def _model(call: RunningCall) -> str:
    return type(getattr(call.runner, "target", call.runner)).__qualname__


def _environment() -> Environment:
    versions = {name: version for name in _PACKAGES if (version := installed(name)) is not None}
    return Environment(
        host=socket.gethostname(),
        pid=os.getpid(),
        python=platform.python_version(),
        backend=jax.default_backend(),
        versions=versions,
        rank=jax.process_index() if jax.process_count() > 1 else None,
        untested=untested(),
    )
