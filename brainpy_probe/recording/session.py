"""One capture scope: finished calls and modules in, records out; knows no wrapper and no seam."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import os
import platform
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import jax
from loguru import logger
from msgspec.structs import replace

from brainpy_probe.compat.versions import PACKAGES, installed, untested
from brainpy_probe.errors import ProbeError
from brainpy_probe.format.common_records import Failure, Timing
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.index import named_files
from brainpy_probe.format.program_records import ProgramRecord
from brainpy_probe.format.records import Addition, CallRecord, Environment, LostModule, Manifest
from brainpy_probe.ir.processor import processor
from brainpy_probe.reader.capture import Capture
from brainpy_probe.recording import consistency
from brainpy_probe.recording.calls import CURRENT_WATCH, OWN_WORK, RunningCall
from brainpy_probe.recording.failures import FailureLog
from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.modules.log import ModuleLog, RecordedModule
from brainpy_probe.recording.modules.timing import Stopwatch, add_timings
from brainpy_probe.recording.program import closure, tensors
from brainpy_probe.recording.program.lowering import (
    Rendered,
    Written,
    known_values,
    render,
    write,
    write_ahead,
)
from brainpy_probe.recording.program.step import Known
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace, is_same_run
from brainpy_probe.recording.unwritten import Begun, Owed
from brainpy_probe.settings import Settings
from brainpy_probe.user_warnings import warn

__all__ = ["Session"]


@dataclass
class Session:
    """The state of one open capture.

    Calls and modules may end in several threads at once; one after the other is recorded. What is
    known of earlier ones is what the folder's index has, which changes once the disk has changed:
    whatever fails, and wherever Ctrl-C strikes, the next call finds it as if what failed had never
    begun. What failed is owed: the next addition to the index has it, without its program.
    """

    settings: Settings
    folder: RunFolder = field(init=False)
    capture: Capture = field(init=False)
    failures: FailureLog = field(init=False)
    _modules: ModuleLog = field(init=False)
    _arrays: tensors.ArrayFiles = field(init=False)
    _owed: Owed = field(init=False)
    _known: Known = field(default_factory=Known)
    _outcomes: consistency.Outcomes = field(default_factory=consistency.Outcomes)
    _programs: dict[str, int] = field(default_factory=dict)
    _models: IdentityDict[int] = field(default_factory=IdentityDict)
    _models_met: int = 0
    _seen: int = 0
    _unclaimed: set[str] = field(default_factory=set)
    _closed: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        environment = _environment()
        manifest = Manifest(
            created=datetime.now(UTC).isoformat(),
            environment=environment,
            settings=self.settings,
        )
        self.folder = RunFolder(self.settings.out, environment.rank)
        try:
            self.folder.write_manifest(manifest)
        except BaseException:
            self.folder.remove()
            raise
        self.failures = FailureLog(self.settings.strict, warn)
        self._arrays = tensors.ArrayFiles(self.folder)
        self._modules = ModuleLog(self.settings, self.folder)
        self._owed = Owed(self.folder.index)
        self.capture = Capture(self.folder.path, self.folder.index)

    @property
    def manifest(self) -> Manifest:
        """The capture's index as it stands."""
        return self.folder.index.manifest

    def ended(self, event: RunningCall | Compilation) -> ProbeError | None:
        """Record a call, or a module that was compiled outside of any.

        Returns
        -------
        ProbeError or None
            What the user asked to be raised.
        """
        if isinstance(event, Compilation):
            return self._apart(lambda _: self._record_module(event))
        return self._apart(lambda watch: self._record_call(event, watch))

    def interrupted(self, event: RunningCall | Compilation, error: BaseException) -> None:
        """Owe a call or a module whose recording was interrupted before it had begun."""
        with self._lock:
            if self._closed or self._is_inherited() or self._owed.was_begun(event.serial):
                return
            begun = (
                self._begin_module(event)
                if isinstance(event, Compilation)
                else self._begin(event, _minimal_record(event))
            )
            begun.failure = Failure.of(error)
            self._settle()

    def close(self) -> ProbeError | None:
        """Say in the manifest that the capture ended; return what the user asked to be raised.

        What ends in another thread from now on is not recorded.
        """
        if self._is_inherited():
            return None
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            try:
                self._give_back()
                self.folder.finish(self._owed.addition())
            except Exception as error:
                return self.failed(error) or self.failures.ended()
        return self.failures.ended()

    def discard(self) -> None:
        """Remove the folder of a capture that could not begin."""
        self._closed = True
        self.folder.remove()

    def _apart(self, record: Callable[[Stopwatch], ProbeError | None]) -> ProbeError | None:
        """Do the probe's own work under a watch of its own: its phases are not the run's."""
        if self._is_inherited():
            return None

        def own() -> ProbeError | None:
            watch = Stopwatch()
            CURRENT_WATCH.set(watch)
            OWN_WORK.set(True)
            with self._lock:
                return None if self._closed else record(watch)

        try:
            # In a context of its own: what is set there is gone wherever an interrupt strikes.
            return contextvars.copy_context().run(own)
        except Exception as error:
            return self.failed(error)

    def _is_inherited(self) -> bool:
        """Whether this is a forked process, and the folder that of another, which goes on."""
        return os.getpid() != self.folder.index.begun.environment.pid

    def _begin(self, call: RunningCall, minimal: CallRecord) -> Begun:
        """Owe a call until the index has it."""
        names = tuple(compilation.name for compilation in call.compilations)
        return self._owed.begin(call.serial, call.thread, minimal, names)

    def _begin_module(self, compilation: Compilation) -> Begun:
        return self._owed.begin(compilation.serial, compilation.thread, None, (compilation.name,))

    def _settle(self) -> None:
        """Write what is owed, if the disk has recovered; else it stays owed."""
        with contextlib.suppress(Exception):
            self.folder.append(self._owed.addition())

    def _not_recorded(self, begun: Begun, error: BaseException) -> ProbeError | None:
        """Owe what could not be recorded; raise an interrupt, say or return a failure."""
        if self._owed.owes(begun):
            begun.failure = Failure.of(error)
            self._settle()
        if isinstance(error, Exception):
            return self.failed(error, recorded=not self._owed.owes(begun))
        raise error

    def _record_call(self, call: RunningCall, watch: Stopwatch) -> ProbeError | None:
        places = self._places(call)
        owed = self._owed.addition()
        minimal = _minimal_record(call)
        begun = self._begin(call, minimal)
        try:
            with self.folder.rollback_on_error(*places):
                made = self._made(call, watch, owed, minimal)
                self.folder.append(made.addition)
            begun.call = None  # the index has it now
            self._unclaimed.difference_update(places)
            self._modules.keep(made.modules)
            with contextlib.suppress(Exception):  # a handler of the user's, a closed stderr
                logger.info(
                    "captured call {} of {} in {}", made.number, _model(call), self.folder.path
                )
        except BaseException as error:
            return self._not_recorded(begun, error)
        return None if made.failure is None else self.failed(made.failure, recorded=True)

    def _record_module(self, compilation: Compilation) -> ProbeError | None:
        owed = self._owed.addition()
        begun = self._begin_module(compilation)
        try:
            with self.folder.rollback_on_error():
                made = self._modules.record(self.folder.index.modules, compilation)
                self.folder.append(replace(owed, modules=(made.record,)))
            self._modules.keep([made])
        except BaseException as error:
            return self._not_recorded(begun, error)
        return None

    def _made(
        self, call: RunningCall, watch: Stopwatch, owed: Addition, minimal: CallRecord
    ) -> _Made:
        """Write the files of a call, and make the records of all that it adds to the index."""
        number = self.folder.index.calls + len(owed.calls)
        program: ProgramRecord | None = None
        digests: dict[str, str] = {}
        notes: tuple[str, ...] = ()
        native: tuple[Compilation | None, tuple[str, ...]] = None, ()
        failure: Exception | None = None
        try:
            # What runs operation by operation has no program unless its step was traced for it.
            traced = call.jit or self.settings.trace_eager
            if traced and (call.error is None or call.ended_its_loop):
                run = call.run()
                ahead = self._ahead(call, run)
                closed = closure.close(call, run, self._known) if ahead is None else ahead.closed
                native = closed.native, closed.native_arguments
                if self.settings.data != "none" or closed.kind == "step":
                    watch.exclude(call.settle())  # what follows reads values
                closed, notes = consistency.agreed(call, run, closed)
                with self.folder.rollback_on_error():
                    program, failure, digests = self._program(closed, ahead)
        except Exception as error:
            failure = error
        for place in self._places(call):
            if program is None or not any(file.path.startswith(place) for file in program.files):
                self.folder.discard(place)
        modules: list[RecordedModule] = []
        lost: list[LostModule] = list(owed.lost_modules)
        for compilation in call.compilations:
            known = native[1] if compilation is native[0] else ()
            at = self.folder.index.modules + len(modules)
            try:
                modules.append(
                    self._modules.record(at, compilation, number, _model(call), known, modules)
                )
            except Exception as error:
                failure = failure or error
                lost.append(
                    LostModule(
                        index=self.folder.index.lost_modules + len(lost),
                        name=compilation.name,
                        call=number,
                        thread=compilation.thread,
                        failure=Failure.of(error),
                    )
                )
        fresh = program is not None and program.index == self.folder.index.programs
        gone = scopes.lost_variables(call) if fresh else ()
        watch.stop()
        record = replace(
            minimal,
            index=number,
            program=None if program is None else program.index,
            digests=digests,
            notes=(*notes, *_unmeasured(call, minimal.native)),
            model_number=self._model_number(call),
            lost_variables=gone,
            probe=add_timings(call.preparation, watch.timing()),
            failure=None if failure is None else Failure.of(failure),
        )
        addition = Addition(
            calls=(*owed.calls, record),
            programs=(program,) if program and fresh else (),
            modules=tuple(module.record for module in modules),
            lost_modules=tuple(lost),
        )
        return _Made(number, addition, modules, failure)

    def _model_number(self, call: RunningCall) -> int:
        """Return the number of a call's model among those of the capture."""
        model = getattr(call.runner, "target", call.runner)
        known = self._models.get(model)
        if known is None:
            known = self._models.set(model, self._models_met)
            self._models_met += 1
        return known

    def compiles(self, call: RunningCall) -> None:
        """Render the program of a call that is about to run, and write what is known of it.

        It becomes a record when the call has ended, and if that fits it.
        """
        if self._is_inherited() or call.coming is None or not call.jit:
            return
        before: _Ahead | None = call.ahead.get(id(self))
        if before is not None and before.run is call.coming:
            return  # a module of another function, on the way
        with self._lock:
            if self._closed:
                return
            for place in self._places(call):
                self.folder.discard(place)
            call.ahead.pop(id(self), None)
            closed = closure.close(call, call.coming, self._known)
            rendered = written = None
            if self._known_program(closed.fingerprint) is None:
                rendered = render(closed, self.settings)
                written = self._written(rendered)
                self._unclaimed.add(written.place)
            notes = list(call.notes)
            call.ahead[id(self)] = _Ahead(call.coming, notes, closed, rendered, written)

    def _ahead(self, call: RunningCall, run: LoopRun | StepTrace) -> _Ahead | None:
        """Return what was made of a run while XLA compiled it, if it was this very run."""
        ahead: _Ahead | None = call.ahead.get(id(self))
        if ahead is None or not is_same_run(ahead.run, run) or ahead.notes != call.notes:
            return None
        trace = run.step if isinstance(run, LoopRun) else run
        return dataclasses.replace(
            ahead, closed=dataclasses.replace(ahead.closed, native=trace.compilation)
        )

    def _places(self, call: RunningCall) -> list[str]:
        """Return the place at which files were written while XLA compiled, if there is one."""
        ahead: _Ahead | None = call.ahead.get(id(self))
        return [] if ahead is None or ahead.written is None else [ahead.written.place]

    def _give_back(self) -> None:
        """Remove what was written for calls that still run, or were interrupted."""
        claimed = {str(PurePosixPath(f.path).parent) for f in named_files(self.manifest)}
        for place in self._unclaimed - claimed:
            self.folder.discard(place)

    def _known_program(self, fingerprint: str) -> ProgramRecord | None:
        """Return the program with a fingerprint, if the index has it."""
        index = self.folder.index
        while self._seen < index.programs:
            record = index.program(self._seen)
            self._arrays.keep(record)
            self._programs[record.fingerprint] = record.index
            self._seen += 1
        known = self._programs.get(fingerprint)
        return None if known is None else index.program(known)

    def _written(self, rendered: Rendered) -> Written:
        number = self.folder.index.programs
        return write_ahead(rendered, number, self.settings, self.folder, self._arrays)

    def _program(
        self, closed: closure.ClosedProgram, ahead: _Ahead | None
    ) -> tuple[ProgramRecord, Exception | None, dict[str, str]]:
        """Return a program's record and the call's digests; render the program if it is new."""
        record, problem = self._known_program(closed.fingerprint), None
        if record is not None:
            consistency.require_same_signature(closed, record)
        else:
            rendered = None if ahead is None else ahead.rendered
            written = None if ahead is None else ahead.written
            rendered = rendered or render(closed, self.settings)
            written = written or self._written(rendered)
            number = self.folder.index.programs
            rendered = dataclasses.replace(rendered, closed=closed)
            record, problem = write(
                rendered, written, number, self.settings, self.folder, self._arrays
            )
        digests = self._digest(closed)
        self._outcomes.require_same(record, closed, digests)
        return record, problem, digests

    def _values(self, closed: closure.ClosedProgram) -> dict[str, Any]:
        """Return the values that are to be digested, by the names that their digests have."""
        if self.settings.data == "none":
            return {}
        arguments = {f"in/{k}": v for k, v in known_values(closed.arguments).items()}
        return arguments | {f"out/{k}": v for k, v in known_values(closed.results).items()}

    def _digest(self, closed: closure.ClosedProgram) -> dict[str, str]:
        return {sys.intern(k): self._arrays.digests.of(v) for k, v in self._values(closed).items()}

    def failed(self, failure: Exception, *, recorded: bool = False) -> ProbeError | None:
        """Tell of a failure of the probe; or return it for the user who asked for that.

        ``recorded`` says that the folder has its traceback.
        """
        return self.failures.note(failure, self.folder.path if recorded else None)

    def failed_within(self, failure: Exception) -> None:
        """Tell of a failure where nothing can be raised; strictly the end of the capture raises."""
        self.failures.keep(failure)


@dataclass(frozen=True)
class _Ahead:
    """What was made of a run while XLA compiled it.

    Attributes
    ----------
    run : LoopRun or StepTrace
        What was about to run.
    notes : list of str
        What had been noted of the call by then.
    closed : ClosedProgram
        Its program.
    rendered, written
        The program's texts and files; None for a program that was known.
    """

    run: LoopRun | StepTrace
    notes: list[str]
    closed: closure.ClosedProgram
    rendered: Rendered | None
    written: Written | None


@dataclass(frozen=True)
class _Made:
    """All that a call adds to the index, its files written."""

    number: int
    addition: Addition
    modules: list[RecordedModule]
    failure: Exception | None


def _minimal_record(call: RunningCall) -> CallRecord:
    """Return what can be said of a call whatever fails; its number is not known yet."""
    return CallRecord(
        index=0,
        runner=type(call.runner).__qualname__,
        model=_model(call),
        thread=call.thread,
        started=call.started,
        i0=call.i0,
        dt=_dt(call),
        jit=call.jit,
        steps=None if call.indices is None else len(call.indices),
        native=call.watch.timing(),
        numba=tuple(dict.fromkeys(call.numba)),
        probe=call.preparation,
        error=None if call.error is None else Failure.of(call.error),
    )


def _unmeasured(call: RunningCall, native: Timing) -> Iterator[str]:
    """Say why seconds of a call are missing."""
    if call.unfinished:
        yield (
            "XLA was still running the program when the call returned, as it waits for nothing "
            "that it gives (numpy_mon_after_run=False, or no monitors): how long it ran is not "
            "known."
        )
    if native.trace is None:
        yield (
            "JAX did not tell how long its phases took: jax.monitoring.clear_event_listeners() "
            "was called."
        )
    if native.numba is None and not call.unfinished:
        yield "How long numba compiled for this call can't be told from what else ran."


def _dt(call: RunningCall) -> float:
    """Return the milliseconds of a step, or 0 if the runner does not tell."""
    try:
        return float(getattr(call.runner, "dt", 0.0))
    except Exception:  # a property of the user's own runner
        return 0.0


def _model(call: RunningCall) -> str:
    return type(getattr(call.runner, "target", call.runner)).__qualname__


def _environment() -> Environment:
    versions = {name: version for name in PACKAGES if (version := installed(name)) is not None}
    return Environment(
        host=socket.gethostname(),
        pid=os.getpid(),
        python=platform.python_version(),
        backend=jax.default_backend(),
        versions=versions,
        rank=jax.process_index() if jax.process_count() > 1 else None,
        processor=processor(),
        untested=untested(),
    )
