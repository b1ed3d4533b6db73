"""A call of a capture: its model, its times, and its program."""

from __future__ import annotations

from dataclasses import dataclass

from brainpy_probe.format.common_records import Failure, Timing
from brainpy_probe.format.records import CallRecord
from brainpy_probe.reader.module import CompiledModule
from brainpy_probe.reader.program import Program

__all__ = ["PredictCall"]


@dataclass(frozen=True)
class PredictCall:
    """One call of a runner's ``predict``."""

    record: CallRecord
    program: Program | None
    modules: tuple[CompiledModule, ...]

    @property
    def index(self) -> int:
        """Its number in the capture, from 0."""
        return self.record.index

    @property
    def runner(self) -> str:
        """The runner's class."""
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
        """Seconds of the run itself by phase, without those of the probe."""
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
