"""Makes the programs of one capture, writes their files, and recognises known programs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import jax

from brainpy_probe.compat.types import Array, NamedArrays
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.index import named_files
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.modules.compilation import Compilation
from brainpy_probe.recording.modules.timing import Stopwatch
from brainpy_probe.recording.program.closed import ClosedProgram
from brainpy_probe.recording.program.closure import close
from brainpy_probe.recording.program.lowering import RenderedProgram, render
from brainpy_probe.recording.program.step import FingerprintCache
from brainpy_probe.recording.program.tensors import ArrayFiles, spans_processes
from brainpy_probe.recording.program.writing import (
    WrittenProgram,
    is_donated,
    known_values,
    write,
    write_ahead,
)
from brainpy_probe.recording.sessions import consistency
from brainpy_probe.recording.sessions.ranks import spanning_notes
from brainpy_probe.recording.tracing.traces import LoopRun, StepTrace, is_same_run
from brainpy_probe.settings import Settings

__all__ = ["CallProgram", "ProgramLog"]


@dataclass(frozen=True)
class _RenderedAhead:
    """A program that was rendered while XLA compiled the run.

    Attributes
    ----------
    run : LoopRun or StepTrace
        The trace of the run that was about to start.
    notes : list of str
        The notes on the call at that moment.
    closed : ClosedProgram
        The program.
    rendered, written
        The program's texts and files; None if the program was already known.
    warnings : tuple of str
        Warnings for the user from before the run.
    """

    run: LoopRun | StepTrace
    notes: list[str]
    closed: ClosedProgram
    rendered: RenderedProgram | None
    written: WrittenProgram | None
    warnings: tuple[str, ...]


@dataclass
class CallProgram:
    """The program of a call, with its files written.

    Attributes
    ----------
    record : ProgramRecord or None
        The program's record; None if the call has no program.
    digests : dict
        The digests of the call's arrays.
    notes : tuple of str
        Notes on the call.
    native : Compilation or None
        The module that JAX compiled for the run in this call, if it is known.
    native_arguments : tuple of str
        The names of that module's arguments.
    failure : Exception or None
        Why there is no program, or why part of it is missing.
    state_names : tuple of str
        The names of the leaves of the states, in the order of the trace.
    """

    record: ProgramRecord | None = None
    digests: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    native: Compilation | None = None
    native_arguments: tuple[str, ...] = ()
    failure: Exception | None = None
    state_names: tuple[str, ...] = ()


@dataclass
class ProgramLog:
    """The programs of one capture.

    It knows only programs that are in the index. If the record of a program could not be written,
    the next call makes the program again.

    Parameters
    ----------
    settings : Settings
        The capture's settings.
    folder : RunFolder
        The capture folder, with its index.
    """

    settings: Settings
    folder: RunFolder
    _arrays: ArrayFiles = field(init=False)
    _cache: FingerprintCache = field(default_factory=FingerprintCache)
    _results: consistency.KnownResults = field(default_factory=consistency.KnownResults)
    _numbers: dict[str, int] = field(default_factory=dict)  # by fingerprint
    _seen: int = 0
    _unclaimed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._arrays = ArrayFiles(self.folder)

    def needs_rendering(self, call: RunningCall) -> bool:
        """Return whether the upcoming run of a call has a program that was not rendered yet.

        It was rendered already if this is the compilation of another function within the run.
        """
        if call.upcoming is None or not call.jit:
            return False
        before: _RenderedAhead | None = call.ahead.get(id(self))
        return before is None or before.run is not call.upcoming

    def render_ahead(self, call: RunningCall) -> None:
        """Render the program of a call that is about to run, and write its texts and arguments.

        After the call, :meth:`program_of` uses the files if they belong to the run.
        """
        if call.upcoming is None:
            return
        for folder in self.reserved(call):
            self.folder.discard(folder)
        call.ahead.pop(id(self), None)
        closed = close(call, call.upcoming, self._cache)
        rendered = written = None
        if self._known(closed.fingerprint) is None:
            rendered = render(closed, self.settings)
            written = self._write_ahead(rendered)
            self._unclaimed.add(written.place)
        notes = list(call.notes)
        warnings = self._spanning_notes(closed)
        call.ahead[id(self)] = _RenderedAhead(
            call.upcoming, notes, closed, rendered, written, warnings
        )

    def program_of(self, call: RunningCall, watch: Stopwatch) -> CallProgram:
        """Make the program of a call that has ended, check it, and write its files."""
        result = CallProgram()
        try:
            # A run without jit has a program only if the probe traced its step.
            is_traced = call.jit or self.settings.trace_eager
            if is_traced and (call.error is None or call.has_ended_loop):
                run = call.run()
                ahead = self._rendered_ahead(call, run)
                closed = close(call, run, self._cache) if ahead is None else ahead.closed
                result.native = closed.native
                result.native_arguments = closed.native_arguments
                states = range(len(closed.step.states))
                result.state_names = tuple(closed.step.names_of(states))
                if self.settings.data != "none" or closed.kind == "step":
                    watch.exclude(call.wait_for_results())  # the following code reads values
                closed, notes = consistency.with_results(call, run, closed)
                result.notes = (*notes, *_donated_notes(closed), *self._spanning_notes(closed))
                with self.folder.rollback_on_error():
                    result.record, result.failure, result.digests = self._record(closed, ahead)
        except Exception as error:
            result.failure = error
        for folder in self.reserved(call):
            files = () if result.record is None else result.record.files
            if not any(file.path.startswith(folder) for file in files):
                self.folder.discard(folder)
        return result

    def reserved(self, call: RunningCall) -> list[str]:
        """Return the folder of the files that were written during the compilation, if any."""
        ahead: _RenderedAhead | None = call.ahead.get(id(self))
        return [] if ahead is None or ahead.written is None else [ahead.written.place]

    def write_last_state(
        self, program: int, call: int, names: Sequence[str], values: Sequence[Array]
    ) -> WrittenFile | None:
        """Write the states after the last run of a jitted function; None if they have no arrays."""
        leaves = jax.tree_util.tree_leaves(list(values))
        if len(leaves) != len(names) or any(map(_is_elsewhere, leaves)):
            return None
        place = PurePosixPath(self.folder.index.program(program).files[0].path).parent
        stored = self._arrays.write(
            f"{place}/last-state-call{call}.safetensors",
            "last-state",
            {f"state/{name}": leaf for name, leaf in zip(names, leaves, strict=True)},
        )
        return next((found.file for found in stored.values()), None)

    def claim(self, folders: list[str]) -> None:
        """Mark folders as used by a record in the index."""
        self._unclaimed.difference_update(folders)

    def discard_unclaimed(self) -> None:
        """Remove the files of calls that are still running or were interrupted."""
        manifest = self.folder.index.manifest
        claimed = {str(PurePosixPath(file.path).parent) for file in named_files(manifest)}
        for folder in self._unclaimed - claimed:
            self.folder.discard(folder)

    def _rendered_ahead(self, call: RunningCall, run: LoopRun | StepTrace) -> _RenderedAhead | None:
        """Return the program that was made during the compilation, if it belongs to this run."""
        ahead: _RenderedAhead | None = call.ahead.get(id(self))
        if ahead is None or not is_same_run(ahead.run, run) or ahead.notes != call.notes:
            return None
        trace = run.step if isinstance(run, LoopRun) else run
        return dataclasses.replace(
            ahead, closed=dataclasses.replace(ahead.closed, native=trace.compilation)
        )

    def _known(self, fingerprint: str) -> ProgramRecord | None:
        """Return the program with a fingerprint, if it is in the index."""
        index = self.folder.index
        while self._seen < index.programs:
            record = index.program(self._seen)
            self._arrays.keep(record)
            self._numbers[record.fingerprint] = record.index
            self._seen += 1
        number = self._numbers.get(fingerprint)
        return None if number is None else index.program(number)

    def _write_ahead(self, rendered: RenderedProgram) -> WrittenProgram:
        number = self.folder.index.programs
        return write_ahead(rendered, number, self.settings, self.folder, self._arrays)

    def _record(
        self, closed: ClosedProgram, ahead: _RenderedAhead | None
    ) -> tuple[ProgramRecord, Exception | None, dict[str, str]]:
        """Return a program's record, a failure, and the call's digests; write a new program."""
        record, problem = self._known(closed.fingerprint), None
        if record is not None:
            consistency.require_same_signature(closed, record)
        else:
            rendered = None if ahead is None else ahead.rendered
            written = None if ahead is None else ahead.written
            rendered = rendered or render(closed, self.settings)
            written = written or self._write_ahead(rendered)
            number = self.folder.index.programs
            rendered = dataclasses.replace(rendered, closed=closed)
            record, problem = write(
                rendered, written, number, self.settings, self.folder, self._arrays
            )
        digests = self._digests(closed)
        self._results.require_same(record, closed, digests)
        return record, problem, digests

    def _values(self, closed: ClosedProgram) -> NamedArrays:
        """Return the values to digest, by the names of their digests."""
        if self.settings.data == "none":
            return {}
        arguments = {f"in/{k}": v for k, v in known_values(closed.arguments).items()}
        return arguments | {f"out/{k}": v for k, v in known_values(closed.results).items()}

    def _spanning_notes(self, closed: ClosedProgram) -> tuple[str, ...]:
        return () if self.settings.data == "none" else spanning_notes(closed.arguments)

    def _digests(self, closed: ClosedProgram) -> dict[str, str]:
        return {sys.intern(k): self._arrays.digests.of(v) for k, v in self._values(closed).items()}


def _is_elsewhere(value: Array) -> bool:
    """Return whether this process has only a part of the value."""
    return is_donated(value) or spans_processes(value)


def _donated_notes(closed: ClosedProgram) -> tuple[str, ...]:
    """Return a note on the arguments whose memory the run took over."""
    names = [item.name for item in closed.arguments if is_donated(item.value)]
    if not names:
        return ()
    return (
        f"The run took over the memory of {', '.join(names)} (donate_argnums), so their values are "
        "not recorded.",
    )
