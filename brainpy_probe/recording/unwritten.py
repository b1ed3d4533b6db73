"""What was begun to be recorded and is not in the index; knows no file."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from brainpy_probe.format.common_records import Failure
from brainpy_probe.format.index import Index
from brainpy_probe.format.records import Addition, CallRecord, LostModule

__all__ = ["Begun", "Owed"]

_INTERRUPTED = Failure(
    kind="Interrupted", message="It was interrupted while it was recorded.", traceback=""
)


@dataclass
class Begun:
    """A call, or a module that was compiled outside of any, that has begun to be recorded.

    Attributes
    ----------
    before : int
        How many additions the index had when it began; with one more it has this, too.
    call : CallRecord or None
        What can be said of the call in any case; its number is not known yet.
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
class Owed:
    """What the index of one capture still owes.

    What is begun is owed until the next addition to the index: each has all that is owed.

    Parameters
    ----------
    index : Index
        The records that the disk has.
    """

    index: Index
    _begun: dict[int, Begun] = field(default_factory=dict)  # by serial number

    def begin(
        self, serial: int, thread: str, call: CallRecord | None, modules: tuple[str, ...]
    ) -> Begun:
        """Owe what begins to be recorded, until the next addition to the index."""
        begun = Begun(self.index.additions, thread, call, modules)
        self._begun[serial] = begun
        return begun

    def was_begun(self, serial: int) -> bool:
        """Whether a call or a module has begun to be recorded."""
        return serial in self._begun

    def owes(self, begun: Begun) -> bool:
        """Whether the index does not have something yet."""
        return self.index.additions <= begun.before

    def addition(self) -> Addition:
        """Return the records of what is owed: calls without a program, modules by name."""
        owed: list[Begun] = []
        for begun in reversed(self._begun.values()):
            if not self.owes(begun):
                break
            owed.append(begun)
        calls: list[CallRecord] = []
        lost: list[LostModule] = []
        for begun in reversed(owed):
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
