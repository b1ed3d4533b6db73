"""A call of a capture: its model, its times, and its program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting
from brainpy_probe.format.manifest.common_records import Failure, Timing
from brainpy_probe.format.manifest.records import CallKind, CallRecord
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program
from brainpy_probe.showing import Shown

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PredictCall"]


@dataclass(frozen=True, repr=False)
class PredictCall(Shown):
    """One outermost run of a program: a runner's ``predict``, or a run without a runner."""

    record: CallRecord
    program: Program | None
    modules: tuple[CompiledModule, ...]

    @property
    def index(self) -> int:
        """Its number in the capture, from 0."""
        return self.record.index

    @property
    def kind(self) -> CallKind:
        """``predict``, or ``loop``, ``cond``, ``jit`` or ``fit`` for a run without a runner."""
        return self.record.kind

    @property
    def name(self) -> str:
        """The name of the user's function; empty for a runner's predict."""
        return self.record.name

    @property
    def count(self) -> int:
        """How often the compiled function ran: more than once only for a jitted function."""
        return 1 if self.record.repeats is None else self.record.repeats.count

    @property
    def total_seconds(self) -> float | None:
        """The seconds of all runs, from the call of the function to its return."""
        return self.timing.wall if self.record.repeats is None else self.record.repeats.seconds

    @property
    def median_seconds(self) -> float | None:
        """The median of the seconds of the runs, exact to one percent."""
        return self.timing.wall if self.record.repeats is None else self.record.repeats.median

    def last_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the states after the last run of a jitted function that ran several times.

        Returns
        -------
        dict
            The arrays by name, as ``state/E.V``. A random key is an array of its words.

        Raises
        ------
        BadSetting
            If they were not captured.
        DamagedCapture
            If the file is missing or was changed.
        """
        file = None if self.record.repeats is None else self.record.repeats.last_state
        if file is None or self.program is None:
            raise BadSetting(
                "This capture has no states after the last run of this call.",
                "capture(data='full') writes them if a jitted function ran several times.",
            )
        return self.program.arrays_of(file)

    @property
    def runner(self) -> str:
        """The runner's class; empty for a function of the user's."""
        return self.record.runner

    @property
    def model(self) -> str:
        """The model's class."""
        return self.record.model

    @property
    def steps(self) -> int | None:
        """The number of time steps, or None if the call failed before it computed them."""
        return self.record.steps

    @property
    def timing(self) -> Timing:
        """Seconds of the run itself by phase, without the probe's own work."""
        return self.record.native

    @property
    def probe_timing(self) -> Timing:
        """Seconds that the probe took for this call."""
        return self.record.probe

    @property
    def digests(self) -> dict[str, str]:
        """XXH3-128 of each argument (``in/state/E.V``) and result (``out/state/E.V``)."""
        return self.record.digests

    @property
    def error(self) -> Failure | None:
        """The exception that the run raised."""
        return self.record.error

    @property
    def failure(self) -> Failure | None:
        """The failure of the probe itself."""
        return self.record.failure

    def __repr__(self) -> str:
        model, name = in_one_line(self.record.model), in_one_line(self.record.name)
        return f"<Call {self.index}: {self.record.kind} {name or model}>"
