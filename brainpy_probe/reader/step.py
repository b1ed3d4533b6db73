"""One step of a program's loop: its texts, arrays and replay."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brainpy_probe.errors import CannotReplay
from brainpy_probe.format.manifest.program_records import StepProgram
from brainpy_probe.reader.program import Program
from brainpy_probe.reader.program_source import parsed, rounding_reasons
from brainpy_probe.reader.requests import ProgramTask, Task, ask_replay
from brainpy_probe.reader.worker import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from brainpy_probe.analysis.replaying.driving import Compiled
    from brainpy_probe.analysis.replaying.replay import Replay

__all__ = ["Step"]


@dataclass(frozen=True, repr=False)
class Step(Program):
    """One step of a loop: ``step(constants, state, inputs) -> {outputs, monitors, state}``.

    It has no number of steps. Its inputs are one entry of each input of the loop, and its results
    of role ``state`` are the states of the next step. ``loop_path`` and ``loop_axis`` of each
    argument and result relate it to an argument or result of the loop.

    :meth:`data` and :meth:`replay` are about the first step. :meth:`drive` runs all steps.

    Attributes
    ----------
    loop : Program
        The program of the whole loop.
    """

    loop: Program = field(kw_only=True)
    _step: StepProgram = field(kw_only=True)

    def within(self, limits: Limits | None) -> Step:
        """Return the same program with other limits.

        Parameters
        ----------
        limits : Limits or None
            As for a :class:`Program`.
        """
        return dataclasses.replace(self, limits=limits, loop=self.loop.within(limits))

    @property
    def portable(self) -> Step | None:
        """The same step without the kernels that only BrainPy has, if it was requested."""
        loop = self.loop.portable
        return None if loop is None else loop.step

    @property
    def steps(self) -> int:
        """The number of steps of the captured loop."""
        return self._step.steps

    @property
    def reverse(self) -> bool:
        """Whether the loop begins with the last entry of its inputs."""
        return self._step.reverse

    def data(self, kind: str = "data") -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of the first step by group and name, as ``state/E.V``.

        Parameters
        ----------
        kind : str
            ``"data"`` for the arguments; ``"results"`` for those results that the loop has for each
            step.

        Raises
        ------
        BadSetting
            If these arrays were not captured.
        DamagedCapture
            If a file is missing, was changed, or does not match the manifest.
        """
        from brainpy_probe.analysis.replaying.driving import first_entries

        specs = self.results if kind == "results" else self.arguments
        return first_entries(self._step, specs, self.loop.data(kind))

    def drive(self) -> Replay:
        """Compile the step with jaxlib alone, and run all steps of the loop from Python.

        The first step takes the captured state, each later step the state after the previous one.

        Returns
        -------
        Replay
            The results of the loop by group and name, and their comparison with the simulation's.

        Raises
        ------
        BadSetting
            If the arguments were not captured.
        DamagedCapture
            If a file is missing or was changed.
        CannotReplay
            If the step can't be compiled or run in this environment.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.replaying.driving import replay_steps
        from brainpy_probe.compat import bindings
        from brainpy_probe.ir.executables.kernels import check_calls

        loop = self.loop
        if not self._step.files:
            notes = " ".join(self.fidelity.notes)
            raise CannotReplay(f"{self.name} has no program of one step. {notes}")
        if self.limits is not None:
            return ask_replay(self._task("drive"), loop.results, self.limits, {})
        form, content = parsed(self, bindings.as_stablehlo)
        check_calls(self.record, content, self.environment.jaxlib)
        return replay_steps(
            loop.record,
            parsed(loop, bindings.as_stablehlo)[1],
            self.record,
            content,
            loop.data(),
            self._simulated,
            rounding_reasons(self, form, content),
        )

    def drive_with(self, program: Compiled) -> list[np.ndarray[Any, Any]]:
        """Run all steps of the loop with a program that another compiler made of this step.

        Parameters
        ----------
        program : Compiled
            An object with methods ``put`` (place arrays where the program runs), ``run`` (run the
            program once on placed arrays) and ``take`` (return placed arrays as NumPy arrays).

        Returns
        -------
        list of ndarray
            The results of the loop, in order.
        """
        from brainpy_probe.analysis.replaying.compiling import arguments_of
        from brainpy_probe.analysis.replaying.driving import drive

        record = self.loop.record
        return drive(record, self._step, arguments_of(record, self.loop.data()), program)

    def _simulated(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return the results of the simulation; empty if they are not known as arrays."""
        stored = self.loop._captured_results()
        if stored:
            return stored
        replayed = self.loop.replay()
        return replayed.results if replayed.equal else {}

    def _captured_results(self) -> dict[str, np.ndarray[Any, Any]]:
        return self.data("results") if any(spec.file for spec in self.loop.results) else {}

    def _task(self, action: Task, **more: Any) -> ProgramTask:
        return ProgramTask(
            action=action,
            folder=str(self._folder),
            record=self.loop.record,
            environment=self.environment,
            plain=self.is_portable,
            step=True,
            **more,
        )
