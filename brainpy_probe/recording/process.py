"""Captures a whole process, in a folder that is made at the first recorded event.

This module handles the beginning and the end of processes. A session does the recording.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util
import os
import shlex
import threading
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from brainpy_probe.compat import brainpy_model, brainpy_runner, versions
from brainpy_probe.compat.types import Args, Kwargs, Wrapped
from brainpy_probe.errors import CannotWrite, InsideTransformation, ProbeError, print_to_stderr
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.recording import hooks, lifecycle
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.modules import dumps, phase_events
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.patches import ACTIVE, Patch
from brainpy_probe.recording.sessions.failures import FailureLog
from brainpy_probe.recording.sessions.session import Session
from brainpy_probe.recording.tracing.repeated_runs import RepeatedRun
from brainpy_probe.settings import Settings

__all__ = ["ProcessCapture"]


@dataclass(eq=False)
class ProcessCapture:
    """The recorder of a whole process.

    A forked process makes a separate capture. Events before the fork are in the parent's capture.
    """

    settings: Settings
    _session: Session | None = None
    _failures: FailureLog = field(init=False)
    _lock: Any = field(default_factory=threading.RLock)
    _is_child: bool = False
    _is_begun: bool = False
    _is_finished: bool = False
    _stop_waiting: Callable[[], None] = lambda: None
    _early: list[tuple[Compilation, Path | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._failures = FailureLog(self.settings.strict, print_to_stderr)

    def begin_with_jax(self) -> None:
        """Patch JAX's compiler during the import of BrainPy, which compiles a module on 2.8.2.

        These modules are recorded when the session opens.
        """
        phase_events.install_listeners()
        ACTIVE.enter(self, hooks.compiler_patches())

    def give_up(self) -> None:
        """Stop recording, because BrainPy could not be imported or patched."""
        ACTIVE.leave(self)
        self._forget_early()

    def begin(self) -> None:
        """Patch BrainPy, brainstate and JAX until the process ends.

        Raises
        ------
        PrivateNameMissing
            If the version of BrainPy, brainstate or JAX is not supported.
        """
        try:
            versions.resolve()
            phase_events.install_listeners()
            if self in ACTIVE.users:
                ACTIVE.extend(self._patches())
            else:
                ACTIVE.enter(self, self._patches())
        except BaseException:
            self.give_up()
            raise
        self._is_begun = True
        self._stop_waiting = hooks.patch_when_imported(self._patches, self.report_failure)
        atexit.register(self.finish)
        os.register_at_fork(after_in_child=self._forked)
        # Processes of multiprocessing end by os._exit(). They run only finalizers that were
        # registered after the process was set up.
        multiprocessing.util.register_after_fork(self, ProcessCapture._finish_with_child)
        if multiprocessing.parent_process() is not None:
            self._finish_with_child()

    def record(self, event: RunningCall | Compilation) -> ProbeError | None:
        """Record a call that has ended, or a module that belongs to no call."""
        try:
            if not self._is_begun and isinstance(event, Compilation):
                self._early.append((event, event.dumps))
                event.dumps = None  # so that the files stay until the module is recorded
                return None
            session = self._opened()
            return None if session is None else session.record(event)
        except Exception as error:
            return self.report_failure(error)

    def mark_interrupted(self, event: RunningCall | Compilation, error: BaseException) -> None:
        """Mark an event as lost after an interrupt of its recording, if a session is open."""
        if self._session is not None:
            self._session.mark_interrupted(event, error)

    def count_call(self, run: RepeatedRun, *, is_last: bool = False) -> None:
        """Record how often the function of a recorded call has run, so far or until the end."""
        if self._session is not None:
            self._session.count_call(run, is_last=is_last)

    def note_uncaptured(self, idiom: str, function: FunctionType | None = None) -> None:
        """Record that something ran that is not a call; this alone creates no capture."""
        if self._session is not None:
            self._session.note_uncaptured(idiom, function)

    def render_ahead(self, call: RunningCall) -> None:
        """Render the program of a call that is about to run."""
        session = self._opened()
        if session is not None:
            session.render_ahead(call)

    def report_failure(self, failure: Exception) -> ProbeError | None:
        """Report a failure of the probe; return the error to raise with ``strict=True``."""
        return self._failures.report(failure, None)

    def defer_failure(self, failure: Exception) -> None:
        """Report a failure where nothing can be raised; ``strict=True`` raises it at the end."""
        self._failures.defer(failure)

    def finish(self) -> None:
        """Close this process's capture, if there is one, and print a summary. Runs once."""
        if self not in ACTIVE.users:
            return
        self._stop_waiting()
        lifecycle.end_abandoned()
        ACTIVE.leave(self)
        try:
            with self._lock:
                self._is_finished, session = True, self._session
            if session is not None:
                problem = session.close()
                if problem is not None:
                    print_to_stderr(problem)
                print_to_stderr(_summary(session.manifest, session.folder))
            self._forget_early()
            if session is None and not self._is_child and not self._failures.happened:
                print_to_stderr(f"no model was run in process {os.getpid()}")
            problem = self._failures.finish()
            if problem is not None:
                print_to_stderr(problem)
        except Exception as error:
            self.report_failure(error)

    def _patches(self) -> list[Patch]:
        def runner_made(wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
            """Wrap ``DSRunner.__init__``: patch subclasses that the script has defined since."""
            if self in ACTIVE.users:
                try:
                    ACTIVE.extend(hooks.patches())
                except Exception as error:
                    self.report_failure(error)
            return wrapped(*args, **kwargs)

        if not brainpy_model.uses_brainpy():
            return hooks.patches()
        return [*hooks.patches(), Patch(brainpy_runner.take("runner"), "__init__", runner_made)]

    def _opened(self) -> Session | None:
        """Open the session if it is not open, and return it; None after the end of the capture."""
        with self._lock:
            if self._session is None and not self._is_finished:
                try:
                    self._session = Session(self.settings)
                except OSError as error:
                    raise CannotWrite(self.settings.out, error) from error
                for compilation, folder in self._early:
                    compilation.dumps = folder
                    self._session.record(compilation)
                self._forget_early()
        return self._session

    def _forget_early(self) -> None:
        for _, folder in self._early:
            dumps.discard(folder)
        self._early.clear()

    def _forked(self) -> None:
        self._session, self._lock, self._is_child = None, threading.RLock(), True
        self._early = []
        self.__post_init__()

    def _finish_with_child(self) -> None:
        self._is_child = True
        multiprocessing.util.Finalize(None, self.finish, exitpriority=-100)


def _summary(manifest: Manifest, folder: RunFolder) -> str:
    """Return one line about the content of a capture, and the command that shows it."""
    outside = [module for module in manifest.modules if module.call is None]
    compiled = [module for module in manifest.modules if module.call is not None]
    seconds = sum(module.seconds.compile or 0.0 for module in compiled)
    kinds = [call.failure.kind for call in manifest.calls if call.failure is not None]
    inside = kinds.count(InsideTransformation.__name__)
    if manifest.calls:
        lines = [
            f"{_count(manifest.calls, 'call')}, {_count(manifest.programs, 'program')}, "
            f"{_count(compiled, 'module')} for them, compiled in {seconds:.2f} s"
        ]
    else:
        nothing = "no model was run" if manifest.complete else "no call was recorded"
        lines = [
            f"{nothing} in process {manifest.environment.pid}; "
            f"{_count(outside, 'module')} compiled otherwise"
        ]
    if inside:
        lines.append(f"{inside} of the calls inside a transformation, without a program")
    if len(kinds) > inside:
        lines.append(f"the probe failed on {len(kinds) - inside} of the calls")
    return "; ".join([*lines, f"brainpy-probe show {shlex.quote(str(folder.path))}"])


def _count(records: Sized, name: str) -> str:
    return f"{len(records)} {name}" if len(records) == 1 else f"{len(records)} {name}s"
