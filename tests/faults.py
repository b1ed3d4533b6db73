"""Faults of the disk and interrupts, brought in at a chosen moment, and what must hold then."""

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
from brainpy_probe.recording.patches import LEDGER
from brainpy_probe.recording.program import lowering, tensors, writing
from brainpy_probe.recording.sessions import call_records, pending_records, program_log, session
from brainpy_probe.recording.sessions.session import Session
from brainpy_probe.settings import Settings
from brainpy_probe.verify.files import check_files
from tests import eras
from tests.eras import DynamicalSystem

# The system's calls by which the probe writes; the first argument is a path, or a file's number.
_BY_PATH = ("open", "mkdir", "replace", "unlink")
_BY_NUMBER = ("write", "fstat", "ftruncate", "close")
_INDEX = (MANIFEST, JOURNAL)
# The modules that record.
_RECORDING = (
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
_LINES = {module.__file__ for module in _RECORDING}


class Alpha(DynamicalSystem):
    """Some model."""

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
    """Run two models in turns, five times; return the results."""
    alpha, beta = (bp.DSRunner(model(), progress_bar=False) for model in (Alpha, Beta))
    return [bytes(memoryview(one.run(0.3))) for one in (alpha, beta, alpha, beta, alpha)]


@dataclass
class Keeper:
    """A recorder that keeps the calls and modules that it gets."""

    settings: Settings = field(default_factory=Settings)
    events: list[Any] = field(default_factory=list)

    def record(self, event: Any) -> None:
        """Keep a call or module, and its content, which a call otherwise releases afterwards."""
        event.forget = lambda: None
        self.events.append(event)


def events_of(run: Callable[[], object]) -> list[Any]:
    """Return the calls and modules that sessions are told of, of a real run."""
    keeper = Keeper()
    phase_events.install_listeners()
    LEDGER.enter(keeper, hooks.patches())
    try:
        run()
    finally:
        LEDGER.leave(keeper)
    return keeper.events


@dataclass
class Outcome:
    """What became of a block of events.

    Attributes
    ----------
    capture : Capture or None
        The capture as the block had it; None if it could not begin.
    said : list of str
        The probe's warnings.
    raised : list of BaseException
        What was raised to the user.
    unended : Capture or None
        The capture as it was read when all had been recorded, before it ended.
    moments : int
        How many operations or lines there were.
    written : list of int
        Which of the operations wrote the index.
    peace : bool
        Whether no fault is brought in.
    """

    capture: probe.Capture | None = None
    said: list[str] = field(default_factory=list)
    raised: list[BaseException] = field(default_factory=list)
    unended: probe.Capture | None = None
    moments: int = 0
    written: list[int] = field(default_factory=list)
    peace: bool = False

    @contextmanager
    def in_peace(self) -> Iterator[None]:
        """Bring no fault in for a while."""
        tracing = sys.gettrace()
        sys.settrace(None)
        self.peace = True
        yield
        self.peace = False
        sys.settrace(tracing)


Fault = Callable[[Path, Outcome], AbstractContextManager[None]]


def recorded(events: Sequence[Any], out: Path, fault: Fault) -> Outcome:
    """Hand events to a session of their own while a fault is brought in."""
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
    with warnings.catch_warnings(record=True) as said, fault(out, outcome):
        warnings.simplefilter("always")
        attempt(begin)
        for one in sessions:
            for event in events:
                attempt(compiler_hooks.record_event, event, (one,))
            with outcome.in_peace():
                outcome.unended = probe.load(one.folder.path)
            attempt(one.close)
    outcome.said = [str(w.message) for w in said if issubclass(w.category, probe.ProbeWarning)]
    return outcome


def captured(out: Path, fault: Fault) -> tuple[Outcome, list[bytes]]:
    """Run the block in a capture while a fault is brought in; return the results, too."""
    outcome, results = Outcome(), []
    with warnings.catch_warnings(record=True) as said, fault(out, outcome):
        warnings.simplefilter("always")
        try:
            with probe.capture(out, data="full") as outcome.capture:
                results = block()
        except probe.ProbeError as error:
            outcome.raised.append(error)
    outcome.said = [str(w.message) for w in said if issubclass(w.category, probe.ProbeWarning)]
    return outcome, results


@dataclass
class _Disk:
    """The system's calls on files below a folder, of which some fail."""

    out: Path
    outcome: Outcome
    failing: range
    number: int
    _files: dict[int, str] = field(default_factory=dict)

    def call(self, name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Stand in for one of them."""
        ours = args[0] in self._files if name in _BY_NUMBER else _is_below(args[0], self.out)
        if not ours or self.outcome.peace:
            return function(*args, **kwargs)
        self.outcome.moments += 1
        if name == "write" and self._files[args[0]].endswith(_INDEX):
            self.outcome.written.append(self.outcome.moments)
        if self.outcome.moments in self.failing:
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


def disk_fails(first: int, number: int, times: int) -> Fault:
    """Have the system's calls on a folder fail from the n-th on, so many times.

    On a full disk half of what was to be written is, on a broken one all of it.
    """

    @contextmanager
    def fault(out: Path, outcome: Outcome) -> Iterator[None]:
        disk = _Disk(out, outcome, range(first, first + times), number)
        with pytest.MonkeyPatch.context() as patch:
            for name in (*_BY_PATH, *_BY_NUMBER):
                patch.setattr(os, name, partial(disk.call, name, getattr(os, name)))
            yield

    return fault


def _is_below(path: Any, folder: Path) -> bool:
    return isinstance(path, (str, os.PathLike)) and str(path).startswith(str(folder))


def interrupted(line: int) -> Fault:
    """Have Ctrl-C strike before the n-th line of the probe's recording."""

    @contextmanager
    def fault(out: Path, outcome: Outcome) -> Iterator[None]:
        def trace(frame: FrameType, event: str, _: object) -> Any:
            if event == "call":
                return trace if frame.f_code.co_filename in _LINES else None
            if event == "line":
                outcome.moments += 1
                if outcome.moments == line:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before)

    return fault


def assert_right(
    outcome: Outcome, truth: Manifest, *, lost: int = 99, same_run: bool = True
) -> None:
    """Assert that what is recorded is true, and that what is not was said.

    Parameters
    ----------
    outcome : Outcome
        What became of the events.
    truth : Manifest
        What an undisturbed session made of them.
    lost : int
        How many calls may be without their program.
    same_run : bool
        Whether that was of the same run: another one has other locations in its modules.
    """
    said = outcome.said or outcome.raised
    if outcome.capture is None or not (outcome.capture.path / MANIFEST).exists():
        assert outcome.raised
        return
    loaded = probe.load(outcome.capture.path)
    manifest = loaded.manifest
    # With BrainPy 2.3 a module's text names Variables, and counts the models made so far.
    others = ("mlirbc", "hlo") if eras.SINCE_2_4 else ("mlirbc", "hlo", "stablehlo")
    for read in (loaded, outcome.unended or loaded):
        _assert_programs_are_right(read, truth)
        _assert_modules_are_right(read.manifest, truth, () if same_run else others)
    checks = check_files(loaded.path, manifest)
    assert not [check for check in checks if check.outcome == "failed"]
    _assert_memory_is_not_ahead(outcome.capture.manifest, manifest)
    assert outcome.capture.manifest == manifest or said
    without = [call for call in manifest.calls if call.program is None]
    assert all(call.failure for call in without)
    assert len(without) <= lost
    whole = not without and len(manifest.modules) == len(truth.modules) and manifest.complete
    assert whole or said
    if manifest.complete:
        assert len(manifest.calls) == len(truth.calls)
        assert len(manifest.modules) + len(manifest.lost_modules) == len(truth.modules)


def _assert_memory_is_not_ahead(memory: Manifest, disk: Manifest) -> None:
    for name in ("calls", "programs", "modules", "lost_modules"):
        held, written = getattr(memory, name), getattr(disk, name)
        assert held == written[: len(held)]


def _assert_programs_are_right(loaded: probe.Capture, truth: Manifest) -> None:
    programs = {program.fingerprint: program for program in truth.programs}
    expected = [(call.model, call.digests, programs_of(truth, call)) for call in truth.calls]
    for call in loaded.calls:
        if call.program is not None:
            expected.remove((call.model, call.digests, call.program.fingerprint))
    for program in loaded.programs:
        right = programs[program.fingerprint]
        assert _digests(program.record.files, "data", "results", "shared") == _digests(
            right.files, "data", "results", "shared"
        )
        assert program.data().keys() == {spec.path for spec in right.arguments}


def programs_of(manifest: Manifest, call: Any) -> str:
    """Return the fingerprint of a call's program."""
    return manifest.programs[call.program].fingerprint


def _assert_modules_are_right(manifest: Manifest, truth: Manifest, without: Sequence[str]) -> None:
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
