"""Injects disk errors and interrupts into a capture, and checks what the capture then has."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import brainpy as bp
import brainpy.math as bm
import pytest

import brainpy_probe as probe
from brainpy_probe.format import atomic, index
from brainpy_probe.format import folder as store
from brainpy_probe.format.folder import JOURNAL, MANIFEST
from brainpy_probe.format.manifest.records import Manifest
from brainpy_probe.recording import hooks
from brainpy_probe.recording.modules import compiler_hooks, log, phase_events
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.recording.program import lowering, tensors, writing
from brainpy_probe.recording.sessions import call_records, pending_records, program_log, session
from brainpy_probe.recording.sessions.session import Session
from brainpy_probe.settings import Settings
from brainpy_probe.verify.files import check_files
from tests import eras
from tests.eras import DynamicalSystem

# The system calls with which the probe writes; the first argument is a path or a file descriptor.
_BY_PATH = ("open", "mkdir", "replace", "unlink")
_BY_DESCRIPTOR = ("write", "fstat", "ftruncate", "close")
_INDEX_FILES = (MANIFEST, JOURNAL)
# The modules in which an interrupt can strike.
_RECORDING_MODULES = (
    session,
    program_log,
    call_records,
    pending_records,
    log,
    lowering,
    writing,
    tensors,
    store,
    atomic,
    index,
)
_RECORDING_FILES = {module.__file__ for module in _RECORDING_MODULES}


class Alpha(DynamicalSystem):
    """A model with one Variable."""

    def __init__(self) -> None:
        super().__init__()
        self.a = bm.Variable(bm.zeros(4))

    def update(self) -> Any:
        self.a.value = self.a * 0.9 + 1.0
        return self.a.value


class Beta(DynamicalSystem):
    """Another model."""

    def __init__(self) -> None:
        super().__init__()
        self.b = bm.Variable(bm.ones(6))

    def update(self) -> Any:
        self.b.value = bm.tanh(self.b) - 0.5
        return self.b.value


def block() -> list[bytes]:
    """Run two models in turn, five times in all; return the results."""
    alpha, beta = (bp.DSRunner(model(), progress_bar=False) for model in (Alpha, Beta))
    return [bytes(memoryview(runner.run(0.3))) for runner in (alpha, beta, alpha, beta, alpha)]


@dataclass
class EventRecorder:
    """A session that keeps the calls and modules that it is given."""

    settings: Settings = field(default_factory=Settings)
    events: list[Any] = field(default_factory=list)

    def record(self, event: Any) -> None:
        """Keep a call or module with its content, which a call otherwise releases afterwards."""
        event.forget = lambda: None
        self.events.append(event)


def events_of(run: Callable[[], object]) -> list[Any]:
    """Return the calls and modules that a session is given during a real run."""
    recorder = EventRecorder()
    phase_events.install_listeners()
    ACTIVE.enter(recorder, hooks.patches())
    try:
        run()
    finally:
        ACTIVE.leave(recorder)
    return recorder.events


@dataclass
class Outcome:
    """The result of recording events while faults are injected.

    Attributes
    ----------
    capture : Capture or None
        The capture, as the block returned it; None if it could not be opened.
    messages : list of str
        The probe's warnings.
    raised : list of BaseException
        The exceptions that reached the user.
    unfinished : Capture or None
        The capture, loaded after all events were recorded and before it was closed.
    points : int
        The number of points where a fault can strike: system calls or lines.
    index_writes : list of int
        The points at which an index file was written.
    paused : bool
        Whether no fault is injected at the moment.
    """

    capture: probe.Capture | None = None
    messages: list[str] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    unfinished: probe.Capture | None = None
    points: int = 0
    index_writes: list[int] = field(default_factory=list)
    paused: bool = False

    @contextmanager
    def no_faults(self) -> Iterator[None]:
        """Inject no fault in this block."""
        tracing = sys.gettrace()
        sys.settrace(None)
        self.paused = True
        yield
        self.paused = False
        sys.settrace(tracing)


Fault = Callable[[Path, Outcome], AbstractContextManager[None]]


def record_with_fault(events: Sequence[Any], out: Path, fault: Fault) -> Outcome:
    """Record events in a new session while a fault is injected."""
    outcome = Outcome()

    def attempt(act: Callable[..., object], *args: Any) -> None:
        try:
            act(*args)
        except BaseException as error:
            outcome.raised.append(error)

    def begin() -> None:
        sessions.append(Session(Settings(out=str(out), data="full")))
        outcome.capture = sessions[0].capture

    sessions: list[Session] = []
    with warnings.catch_warnings(record=True) as caught, fault(out, outcome):
        warnings.simplefilter("always")
        attempt(begin)
        for session in sessions:
            for event in events:
                attempt(compiler_hooks.record_event, event, (session,))
            with outcome.no_faults():
                outcome.unfinished = probe.load(session.folder.path)
            attempt(session.close)
    outcome.messages = [
        str(w.message) for w in caught if issubclass(w.category, probe.ProbeWarning)
    ]
    return outcome


def capture_with_fault(out: Path, fault: Fault) -> tuple[Outcome, list[bytes]]:
    """Run the block in a capture while a fault is injected; return the results too."""
    outcome, results = Outcome(), []
    with warnings.catch_warnings(record=True) as caught, fault(out, outcome):
        warnings.simplefilter("always")
        try:
            with probe.capture(out, data="full") as outcome.capture:
                results = block()
        except probe.ProbeError as error:
            outcome.raised.append(error)
    outcome.messages = [
        str(w.message) for w in caught if issubclass(w.category, probe.ProbeWarning)
    ]
    return outcome, results


@dataclass
class _Disk:
    """System calls on files below a folder, some of which fail."""

    out: Path
    outcome: Outcome
    failing: range
    number: int
    _files: dict[int, str] = field(default_factory=dict)

    def call(self, name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Replace one of these system calls."""
        is_below = (
            args[0] in self._files if name in _BY_DESCRIPTOR else _is_below(args[0], self.out)
        )
        if not is_below or self.outcome.paused:
            return function(*args, **kwargs)
        self.outcome.points += 1
        if name == "write" and self._files[args[0]].endswith(_INDEX_FILES):
            self.outcome.index_writes.append(self.outcome.points)
        if self.outcome.points in self.failing:
            if name == "write":
                part = len(args[1]) // (2 if self.number == errno.ENOSPC else 1)
                function(args[0], args[1][:part])
            raise OSError(self.number, os.strerror(self.number))
        result = function(*args, **kwargs)
        if name == "open":
            self._files[result] = str(args[0]).removesuffix(f".{os.getpid()}.tmp")
        elif name == "close":
            del self._files[args[0]]
        return result


def failing_disk(first: int, number: int, times: int) -> Fault:
    """Make a number of system calls on a folder fail, beginning with a given one.

    A failing write has written half of its bytes on a full disk, and all of them on a broken one.
    """

    @contextmanager
    def fault(out: Path, outcome: Outcome) -> Iterator[None]:
        disk = _Disk(out, outcome, range(first, first + times), number)
        with pytest.MonkeyPatch.context() as patch:
            for name in (*_BY_PATH, *_BY_DESCRIPTOR):
                patch.setattr(os, name, partial(disk.call, name, getattr(os, name)))
            yield

    return fault


def _is_below(path: Any, folder: Path) -> bool:
    return isinstance(path, (str, os.PathLike)) and str(path).startswith(str(folder))


def interrupt(line: int) -> Fault:
    """Raise KeyboardInterrupt before the n-th line of the probe's recording code."""

    @contextmanager
    def fault(out: Path, outcome: Outcome) -> Iterator[None]:
        def trace(frame: FrameType, event: str, _: object) -> Any:
            if event == "call":
                return trace if frame.f_code.co_filename in _RECORDING_FILES else None
            if event == "line":
                outcome.points += 1
                if outcome.points == line:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)

    return fault


def assert_consistent(
    outcome: Outcome, truth: Manifest, *, lost: int = 99, same_run: bool = True
) -> None:
    """Assert that the record is correct, and that every loss was reported.

    Parameters
    ----------
    outcome : Outcome
        The result of the recording with a fault.
    truth : Manifest
        The manifest of a recording without a fault.
    lost : int
        How many calls may lack their program.
    same_run : bool
        Whether `truth` is of the same run: another run has other locations in its modules.
    """
    reported = outcome.messages or outcome.raised
    if outcome.capture is None or not (outcome.capture.path / MANIFEST).exists():
        assert outcome.raised
        return
    loaded = probe.load(outcome.capture.path)
    manifest = loaded.manifest
    # With BrainPy 2.3 the text of a module names Variables, and counts the models created so far.
    run_dependent = ("mlirbc", "hlo") if eras.SINCE_2_4 else ("mlirbc", "hlo", "stablehlo")
    for capture in (loaded, outcome.unfinished or loaded):
        _assert_programs_match(capture, truth)
        _assert_modules_match(capture.manifest, truth, () if same_run else run_dependent)
    checks = check_files(loaded.path, manifest)
    assert not [check for check in checks if check.outcome == "failed"]
    _assert_memory_is_not_ahead(outcome.capture.manifest, manifest)
    assert outcome.capture.manifest == manifest or reported
    incomplete = [call for call in manifest.calls if call.program is None]
    assert all(call.failure for call in incomplete)
    assert len(incomplete) <= lost
    whole = not incomplete and len(manifest.modules) == len(truth.modules) and manifest.complete
    assert whole or reported
    if manifest.complete:
        assert len(manifest.calls) == len(truth.calls)
        assert len(manifest.modules) + len(manifest.lost_modules) == len(truth.modules)


def _assert_memory_is_not_ahead(memory: Manifest, disk: Manifest) -> None:
    for name in ("calls", "programs", "modules", "lost_modules"):
        held, written = getattr(memory, name), getattr(disk, name)
        assert held == written[: len(held)]


def _assert_programs_match(loaded: probe.Capture, truth: Manifest) -> None:
    programs = {program.fingerprint: program for program in truth.programs}
    expected = [
        (call.model, call.digests, program_fingerprint(truth, call)) for call in truth.calls
    ]
    for call in loaded.calls:
        if call.program is not None:
            expected.remove((call.model, call.digests, call.program.fingerprint))
    for program in loaded.programs:
        right = programs[program.fingerprint]
        assert _digests(program.record.files, "data", "results", "shared") == _digests(
            right.files, "data", "results", "shared"
        )
        assert program.data().keys() == {spec.path for spec in right.arguments}


def program_fingerprint(manifest: Manifest, call: Any) -> str:
    """Return the fingerprint of a call's program."""
    return manifest.programs[call.program].fingerprint


def _assert_modules_match(manifest: Manifest, truth: Manifest, without: Sequence[str]) -> None:
    right = {module.fingerprint: module for module in truth.modules}
    before: dict[tuple[str, str], set[str]] = {}
    for module in manifest.modules:
        same = right[module.fingerprint]
        assert _digests(module.files, *without) == _digests(same.files, *without)
        model = "" if module.call is None else manifest.calls[module.call].model
        seen = before.setdefault((model, module.name), set())
        assert (module.reason == "first") == (not seen)
        assert (module.reason == "same") == (module.fingerprint in seen)
        seen.add(module.fingerprint)


def _digests(files: Sequence[Any], *without: str) -> dict[str, str]:
    return {file.kind: file.digest for file in files if file.kind not in without}
