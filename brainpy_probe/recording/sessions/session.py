"""The session of one open capture: records finished calls and modules in the capture folder."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FunctionType

from loguru import logger
from msgspec.structs import replace

from brainpy_probe.errors import ProbeError
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.manifest.common_records import Failure
from brainpy_probe.format.manifest.records import (
    Addition,
    CallCount,
    CallRecord,
    LostModule,
    Manifest,
)
from brainpy_probe.reader.capture import Capture
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.current import CURRENT_WATCH, OWN_WORK
from brainpy_probe.recording.guard import Guard
from brainpy_probe.recording.identity_dict import IdentityDict
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.modules.log import ModuleLog, RecordedModule
from brainpy_probe.recording.modules.timing import Stopwatch, add_timings
from brainpy_probe.recording.sessions.call_records import (
    environment,
    minimal_record,
    model_class,
    timing_notes,
)
from brainpy_probe.recording.sessions.failures import FailureLog
from brainpy_probe.recording.sessions.pending_records import PendingRecord, PendingRecords
from brainpy_probe.recording.sessions.program_log import CallProgram, ProgramLog
from brainpy_probe.recording.sessions.uncaptured_runs import UncapturedRuns
from brainpy_probe.recording.tracing.repeated_runs import RepeatedRun
from brainpy_probe.settings import Settings
from brainpy_probe.user_warnings import warn

__all__ = ["Session"]

# Numbers the captures of this process.
_OPENED = itertools.count()


@dataclass
class Session:
    """The state of one open capture.

    Calls and modules may end in several threads at once; they are recorded one after the other.
    A session knows only earlier records that are in the folder's index, and the index changes only
    after the disk. Therefore, after any failure or interrupt (Ctrl-C), the next call is recorded as
    if the failed recording had never begun. The failed call or module stays pending, and the next
    addition to the index includes it, without its program.

    Parameters
    ----------
    settings : Settings
        The capture's settings.
    """

    settings: Settings
    folder: RunFolder = field(init=False)
    capture: Capture = field(init=False)
    failures: FailureLog = field(init=False)
    _modules: ModuleLog = field(init=False)
    _programs: ProgramLog = field(init=False)
    _pending: PendingRecords = field(init=False)
    _numbers: dict[int, int] = field(default_factory=dict)  # of calls, by their serials
    _state_names: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _uncaptured: UncapturedRuns = field(default_factory=UncapturedRuns)
    _models: IdentityDict[int] = field(default_factory=IdentityDict)
    _model_count: int = 0
    _closed: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        record = environment(next(_OPENED))
        manifest = Manifest(
            created=datetime.now(UTC).isoformat(),
            environment=record,
            settings=self.settings,
        )
        rank = record.rank
        self.folder = RunFolder(self.settings.out, None if rank is None else rank.index)
        try:
            self.folder.write_manifest(manifest)
        except BaseException:
            self.folder.remove()
            raise
        self.failures = FailureLog(self.settings.strict, warn)
        self._modules = ModuleLog(self.settings, self.folder)
        self._programs = ProgramLog(self.settings, self.folder)
        self._pending = PendingRecords(self.folder.index)
        self.capture = Capture(self.folder.path, self.folder.index)

    @property
    def manifest(self) -> Manifest:
        """The current records of the capture."""
        return self.folder.index.manifest

    def record(self, event: RunningCall | Compilation) -> ProbeError | None:
        """Record a call that has ended, or a module that belongs to no call.

        Returns
        -------
        ProbeError or None
            The error to raise with ``strict=True``.
        """
        if isinstance(event, Compilation):
            return self._in_own_context(lambda _: self._record_module(event))
        return self._in_own_context(lambda watch: self._record_call(event, watch))

    def mark_interrupted(self, event: RunningCall | Compilation, error: BaseException) -> None:
        """Make an event pending, if an interrupt occurred before its recording began."""
        with self._lock:
            if self._closed or self._is_inherited() or self._pending.has_begun(event.serial):
                return
            begun = (
                self._begin_module(event)
                if isinstance(event, Compilation)
                else self._begin_call(event, minimal_record(event))
            )
            begun.failure = Failure.of(error)
            self._write_pending()

    def render_ahead(self, call: RunningCall) -> None:
        """Render the program of a call that is about to run, and write the files known by then."""
        if self._is_inherited() or not self._programs.needs_rendering(call):
            return
        with self._lock:
            if not self._closed:
                self._programs.render_ahead(call)

    def count_call(self, run: RepeatedRun, *, is_last: bool = False) -> None:
        """Record how often the function of a recorded call has run, so far or until the end.

        At the end, the states after the last run are written, with ``data="full"``.
        """
        if self._is_inherited():
            return
        with self._lock, Guard(self.defer_failure):
            number = self._numbers.get(run.serial)
            if self._closed or number is None or run.count < 2:
                return
            count = CallCount(call=number, count=run.count, seconds=run.seconds, median=run.median)
            if is_last and self.settings.data == "full" and run.final:
                program = self.folder.index.call(number).program
                if program is not None:
                    file = self._programs.write_last_state(
                        program, number, self._state_names[run.serial], run.final
                    )
                    count = replace(count, last_state=file)
            self.folder.append(Addition(counts=(count,)))

    def note_uncaptured(self, idiom: str, function: FunctionType | None = None) -> None:
        """Record that something ran that is not a call, and the user's function."""
        if self._is_inherited():
            return
        with self._lock, Guard(self.defer_failure):
            if self._uncaptured.add(idiom, function) and not self._closed:
                self.folder.append(Addition(uncaptured=self._uncaptured.records()))

    def report_failure(self, failure: Exception, *, recorded: bool = False) -> ProbeError | None:
        """Report a failure of the probe; return the error to raise with ``strict=True``.

        Parameters
        ----------
        failure : Exception
            The failure.
        recorded : bool
            Whether its traceback is in the capture folder.
        """
        return self.failures.report(failure, self.folder.path if recorded else None)

    def defer_failure(self, failure: Exception) -> None:
        """Report a failure where nothing can be raised; with ``strict=True``, close() raises it."""
        self.failures.defer(failure)

    def close(self) -> ProbeError | None:
        """Write the manifest; return the error to raise with ``strict=True``.

        Calls and modules that end later, in other threads, are not recorded.
        """
        if self._is_inherited():
            return None
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            try:
                self._programs.discard_unclaimed()
                addition = self._pending.addition()
                self.folder.finish(replace(addition, uncaptured=self._uncaptured.records()))
            except Exception as error:
                return self.report_failure(error) or self.failures.finish()
        return self.failures.finish()

    def discard(self) -> None:
        """Remove the folder of a capture that could not begin."""
        self._closed = True
        self.folder.remove()

    def _in_own_context(
        self, record: Callable[[Stopwatch], ProbeError | None]
    ) -> ProbeError | None:
        """Record an event with a separate stopwatch, so that its phases are not the run's."""
        if self._is_inherited():
            return None

        def locked() -> ProbeError | None:
            watch = Stopwatch()
            CURRENT_WATCH.set(watch)
            OWN_WORK.set(True)
            with self._lock:
                return None if self._closed else record(watch)

        try:
            # In a copy of the context, so that the variables are reset even after an interrupt.
            return contextvars.copy_context().run(locked)
        except Exception as error:
            return self.report_failure(error)

    def _is_inherited(self) -> bool:
        """Return whether this is a forked process. The folder then belongs to its parent."""
        return os.getpid() != self.folder.index.begun.environment.pid

    def _begin_call(self, call: RunningCall, minimal: CallRecord) -> PendingRecord:
        """Make a call pending until it is in the index."""
        names = tuple(compilation.name for compilation in call.compilations)
        return self._pending.begin(call.serial, call.thread, minimal, names)

    def _begin_module(self, compilation: Compilation) -> PendingRecord:
        """Make a module pending until it is in the index."""
        names = (compilation.name,)
        return self._pending.begin(compilation.serial, compilation.thread, None, names)

    def _write_pending(self) -> None:
        """Try to write the pending records; they stay pending if that fails."""
        with contextlib.suppress(Exception):
            self.folder.append(self._pending.addition())

    def _recording_failed(self, begun: PendingRecord, error: BaseException) -> ProbeError | None:
        """Keep a record pending; raise an interrupt, and report another failure."""
        if self._pending.is_pending(begun):
            begun.failure = Failure.of(error)
            self._write_pending()
        if isinstance(error, Exception):
            return self.report_failure(error, recorded=not self._pending.is_pending(begun))
        raise error

    def _record_call(self, call: RunningCall, watch: Stopwatch) -> ProbeError | None:
        """Write a call and its program, and add their records to the index."""
        reserved = self._programs.reserved(call)
        pending = self._pending.addition()
        minimal = minimal_record(call)
        begun = self._begin_call(call, minimal)
        try:
            with self.folder.rollback_on_error(*reserved):
                recorded = self._write_call(call, watch, pending, minimal)
                self.folder.append(recorded.addition)
            begun.call = None  # it is in the index now
            self._numbers[call.serial] = recorded.number
            self._state_names[call.serial] = recorded.state_names
            self._programs.claim(reserved)
            self._modules.keep(recorded.modules)
            with contextlib.suppress(Exception):  # a handler of the user's, a closed stderr
                logger.info(
                    "captured call {} of {} in {}",
                    recorded.number,
                    model_class(call),
                    self.folder.path,
                )
        except BaseException as error:
            return self._recording_failed(begun, error)
        if recorded.failure is None:
            return None
        return self.report_failure(recorded.failure, recorded=True)

    def _record_module(self, compilation: Compilation) -> ProbeError | None:
        pending = self._pending.addition()
        begun = self._begin_module(compilation)
        try:
            with self.folder.rollback_on_error():
                module = self._modules.record(self.folder.index.modules, compilation)
                self.folder.append(replace(pending, modules=(module.record,)))
            self._modules.keep([module])
        except BaseException as error:
            return self._recording_failed(begun, error)
        return None

    def _write_call(
        self, call: RunningCall, watch: Stopwatch, pending: Addition, minimal: CallRecord
    ) -> _RecordedCall:
        """Write the files of a call, and make the records that it adds to the index."""
        number = self.folder.index.calls + len(pending.calls)
        program = self._programs.program_of(call, watch)
        modules, lost, module_failure = self._write_modules(call, number, program, pending)
        failure = program.failure or module_failure
        record = program.record
        is_new = record is not None and record.index == self.folder.index.programs
        lost_variables = scopes.lost_variables(call) if is_new else ()
        watch.stop()
        call_record = replace(
            minimal,
            index=number,
            program=None if record is None else record.index,
            digests=program.digests,
            notes=(*program.notes, *timing_notes(call, minimal.native)),
            model_number=self._model_number(call),
            lost_variables=lost_variables,
            probe=add_timings(call.preparation, watch.timing()),
            failure=None if failure is None else Failure.of(failure),
        )
        addition = Addition(
            calls=(*pending.calls, call_record),
            programs=(record,) if record and is_new else (),
            modules=tuple(module.record for module in modules),
            lost_modules=tuple(lost),
        )
        return _RecordedCall(number, addition, modules, failure, program.state_names)

    def _write_modules(
        self, call: RunningCall, number: int, program: CallProgram, pending: Addition
    ) -> tuple[list[RecordedModule], list[LostModule], Exception | None]:
        """Write the files of the modules that a call compiled.

        Returns
        -------
        list of RecordedModule
            The modules.
        list of LostModule
            The pending lost modules, and the modules that could not be recorded.
        Exception or None
            The first failure.
        """
        modules: list[RecordedModule] = []
        lost = list(pending.lost_modules)
        failure: Exception | None = None
        model = model_class(call)
        for compilation in call.compilations:
            names = program.native_arguments if compilation is program.native else ()
            index = self.folder.index.modules + len(modules)
            try:
                modules.append(
                    self._modules.record(index, compilation, number, model, names, modules)
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
        return modules, lost, failure

    def _model_number(self, call: RunningCall) -> int:
        """Return the number of a call's model among those of the capture."""
        model = getattr(call.runner, "target", call.runner)
        known = self._models.get(model)
        if known is None:
            known = self._models.set(model, self._model_count)
            self._model_count += 1
        return known


@dataclass(frozen=True)
class _RecordedCall:
    """A call with its files written, and the records that it adds to the index."""

    number: int
    addition: Addition
    modules: list[RecordedModule]
    failure: Exception | None
    state_names: tuple[str, ...]
