"""The interface through which patches and hooks use a session."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Protocol

from brainpy_probe.errors import ProbeError
from brainpy_probe.settings import Settings

if TYPE_CHECKING:
    from brainpy_probe.recording.calls import RunningCall
    from brainpy_probe.recording.modules.compilation import Compilation
    from brainpy_probe.recording.tracing.repeated_runs import RepeatedRun

__all__ = ["Recorder"]


class Recorder(Protocol):
    """Records the calls and modules of one capture, or of a whole process."""

    @property
    def settings(self) -> Settings:
        """The capture's settings."""

    def record(self, event: RunningCall | Compilation) -> ProbeError | None:
        """Record a call that has ended, or a module that belongs to no call.

        Returns
        -------
        ProbeError or None
            The error to raise with ``strict=True``.
        """

    def mark_interrupted(self, event: RunningCall | Compilation, error: BaseException) -> None:
        """Mark an event as lost because an interrupt prevented its recording."""

    def count_call(self, run: RepeatedRun, *, is_last: bool = False) -> None:
        """Record how often the function of a recorded call has run, so far or until the end."""

    def note_uncaptured(self, idiom: str, function: FunctionType | None = None) -> None:
        """Record that something ran that is not a call, and the user's function."""

    def render_ahead(self, call: RunningCall) -> None:
        """Render the program of a call that is about to run."""

    def report_failure(self, failure: Exception) -> ProbeError | None:
        """Report a failure of the probe; return the error to raise with ``strict=True``."""

    def defer_failure(self, failure: Exception) -> None:
        """Report a failure where nothing can be raised; ``strict=True`` raises it at the end."""
