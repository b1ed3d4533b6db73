"""Keeps the records of calls and modules that are not yet in a capture's index."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from brainpy_probe.format.index import Index
from brainpy_probe.format.manifest.common_records import Failure
from brainpy_probe.format.manifest.records import Addition, CallRecord, LostModule

__all__ = ["PendingRecord", "PendingRecords"]

_INTERRUPTED = Failure(
    kind="Interrupted", message="It was interrupted while it was recorded.", traceback=""
)


@dataclass
class PendingRecord:
    """A call, or a module that belongs to no call, whose recording has begun.

    Attributes
    ----------
    before : int
        The number of additions that the index had when the recording began. With one more addition,
        the index includes this record.
    call : CallRecord or None
        The parts of the call's record that are known in any case, without its number.
    modules : tuple of str
        The names of the modules.
    failure : Failure
        Why it is not recorded.
    """

    before: int
    thread: str
    call: CallRecord | None
    modules: tuple[str, ...]
    failure: Failure = _INTERRUPTED


@dataclass
class PendingRecords:
    """The calls and modules that are not yet in a capture's index.

    Each addition to the index includes all of them, so that none is lost without a record.

    Parameters
    ----------
    index : Index
        The records that are on disk.
    """

    index: Index
    _begun: dict[int, PendingRecord] = field(default_factory=dict)  # by serial number

    def begin(
        self, serial: int, thread: str, call: CallRecord | None, modules: tuple[str, ...]
    ) -> PendingRecord:
        """Add a call or module, which is pending until the next addition to the index."""
        begun = PendingRecord(self.index.additions, thread, call, modules)
        self._begun[serial] = begun
        return begun

    def has_begun(self, serial: int) -> bool:
        """Return whether the recording of a call or module has begun."""
        return serial in self._begun

    def is_pending(self, record: PendingRecord) -> bool:
        """Return whether the index does not have a record yet."""
        return self.index.additions <= record.before

    def addition(self) -> Addition:
        """Return the pending records: calls without a program, and modules by name."""
        pending: list[PendingRecord] = []
        for begun in reversed(self._begun.values()):
            if not self.is_pending(begun):
                break
            pending.append(begun)
        calls: list[CallRecord] = []
        lost: list[LostModule] = []
        for begun in reversed(pending):
            number = None
            if begun.call is not None:
                number = self.index.calls + len(calls)
                calls.append(replace(begun.call, index=number, failure=begun.failure))
            lost += [
                LostModule(
                    index=self.index.lost_modules + len(lost) + position,
                    name=name,
                    call=number,
                    thread=begun.thread,
                    failure=begun.failure,
                )
                for position, name in enumerate(begun.modules)
            ]
        return Addition(calls=tuple(calls), lost_modules=tuple(lost))
