"""The capture of a whole process, in a folder that is made when there is something to record.

Knows how processes begin and end; what is recorded, and how, is the session's.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util
import os
import shlex
import threading
from collections.abc import Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainpy_probe.compat import brainpy_runner, versions
from brainpy_probe.errors import CannotWrite, InsideTransformation, ProbeError, print_to_stderr
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.records import Manifest
from brainpy_probe.recording import hooks
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.failures import FailureLog
from brainpy_probe.recording.modules import dumps, phase_events
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.patches import LEDGER, Patch
from brainpy_probe.recording.session import Session
from brainpy_probe.settings import Settings

__all__ = ["ProcessCapture"]


@dataclass(eq=False)
class ProcessCapture:
    """What the ledger has for a user where a whole process is captured.

    A process that was forked makes a capture of its own; what the process from which it was forked
    had captured until then is in that one's.
    """

    settings: Settings
    _session: Session | None = None
    _failures: FailureLog = field(init=False)
    _lock: Any = field(default_factory=threading.RLock)
    _is_child: bool = False
    _is_begun: bool = False
    _is_finished: bool = False
    _early: list[tuple[Compilation, Path | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._failures = FailureLog(self.settings.strict, print_to_stderr)

    def begin_with_jax(self) -> None:
        """Watch JAX's compiler while BrainPy is imported: that may compile, as on 2.8.2.

        These modules are recorded when there is something else to record.
        """
        phase_events.install_listeners()
        LEDGER.enter(self, hooks.compiler_patches())

    def give_up(self) -> None:
        """Watch no more, since BrainPy could not be imported, or can't be watched."""
        LEDGER.leave(self)
        self._forget_early()

    def begin(self) -> None:
        """Watch BrainPy and JAX from now on until the process ends.

        Raises
        ------
        PrivateNameMissing
            If BrainPy or JAX is of a version that the probe can't work with.
        """
        try:
            versions.resolve()
            phase_events.install_listeners()
            if self in LEDGER.users:
                LEDGER.extend(self._patches())
            else:
                LEDGER.enter(self, self._patches())
        except BaseException:
            self.give_up()
            raise
        self._is_begun = True
        atexit.register(self.finish)
        os.register_at_fork(after_in_child=self._forked)
        # Processes of multiprocessing end by os._exit(): they run their own finalizers, those only
        # that were made once the process had been set up.
        multiprocessing.util.register_after_fork(self, ProcessCapture._finish_with_child)
        if multiprocessing.parent_process() is not None:
            self._finish_with_child()

    def ended(self, event: RunningCall | Compilation) -> ProbeError | None:
        """Record a call, or a module that was compiled outside of any."""
        try:
            if not self._is_begun and isinstance(event, Compilation):
                self._early.append((event, event.dumps))
                event.dumps = None  # kept until it is recorded
                return None
            session = self._opened()
            return None if session is None else session.ended(event)
        except Exception as error:
            return self.failed(error)

    def interrupted(self, event: RunningCall | Compilation, error: BaseException) -> None:
        """Keep what could not be recorded in mind, if a capture is open."""
        if self._session is not None:
            self._session.interrupted(event, error)

    def compiles(self, call: RunningCall) -> None:
        """Render the program of a call that is about to run."""
        session = self._opened()
        if session is not None:
            session.compiles(call)

    def failed(self, failure: Exception) -> ProbeError | None:
        """Tell of a failure of the probe; or return it for the user who asked for that."""
        return self._failures.note(failure, None)

    def failed_within(self, failure: Exception) -> None:
        """Tell of a failure where nothing can be raised; strictly it is told when all has ended."""
        self._failures.keep(failure)

    def finish(self) -> None:
        """Close the capture, if there is one of this process, and say what is in it; once."""
        if self not in LEDGER.users:
            return
        LEDGER.leave(self)
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
                print_to_stderr(f"no runner's predict was called in process {os.getpid()}")
            problem = self._failures.ended()
            if problem is not None:
                print_to_stderr(problem)
        except Exception as error:
            self.failed(error)

    def _patches(self) -> list[Patch]:
        def runner_made(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            """Stand in for ``DSRunner.__init__``: its class may be one of the script's own."""
            if self in LEDGER.users:
                try:
                    LEDGER.extend(hooks.patches())
                except Exception as error:
                    self.failed(error)
            return wrapped(*args, **kwargs)

        return [*hooks.patches(), Patch(brainpy_runner.take("runner"), "__init__", runner_made)]

    def _opened(self) -> Session | None:
        """Return the session, opened if it is not yet; None once the capture has ended."""
        with self._lock:
            if self._session is None and not self._is_finished:
                try:
                    self._session = Session(self.settings)
                except OSError as error:
                    raise CannotWrite(self.settings.out, error) from error
                for compilation, folder in self._early:
                    compilation.dumps = folder
                    self._session.ended(compilation)
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
    outside = [one for one in manifest.modules if one.call is None]
    compiled = [one for one in manifest.modules if one.call is not None]
    seconds = sum(one.seconds.compile or 0.0 for one in compiled)
    kinds = [call.failure.kind for call in manifest.calls if call.failure is not None]
    inside = kinds.count(InsideTransformation.__name__)
    if manifest.calls:
        lines = [
            f"{_count(manifest.calls, 'call')}, {_count(manifest.programs, 'program')}, "
            f"{_count(compiled, 'module')} for them, compiled in {seconds:.2f} s"
        ]
    else:
        nothing = "no runner's predict was called" if manifest.complete else "no call was recorded"
        lines = [
            f"{nothing} in process {manifest.environment.pid}; "
            f"{_count(outside, 'module')} compiled otherwise"
        ]
    if inside:
        lines.append(f"{inside} of the calls inside a transformation, without a program")
    if len(kinds) > inside:
        lines.append(f"the probe failed on {len(kinds) - inside} of the calls")
    return "; ".join([*lines, f"brainpy-probe show {shlex.quote(str(folder.path))}"])


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"
