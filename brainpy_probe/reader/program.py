"""A program of a capture: its texts, arrays and costs, and its replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brainpy_probe.format.manifest.cost_records import Costs, Measured
from brainpy_probe.reader.derived_records import portable_record, step_record
from brainpy_probe.reader.program_files import ProgramFiles
from brainpy_probe.reader.program_source import parsed, rounding_reasons, stablehlo
from brainpy_probe.reader.requests import (
    ProgramTask,
    Task,
    ask,
    ask_replay,
)
from brainpy_probe.reader.worker import Limits

if TYPE_CHECKING:
    import numpy as np

    from brainpy_probe.analysis.dataflow import Dataflow
    from brainpy_probe.analysis.explanation.records import Explanation
    from brainpy_probe.analysis.listing import Listing
    from brainpy_probe.analysis.measure import Measuring
    from brainpy_probe.analysis.op_graph import OpGraph
    from brainpy_probe.analysis.replaying.replay import Replay
    from brainpy_probe.reader.step import Step

__all__ = ["Program"]


@dataclass(frozen=True, repr=False)
class Program(ProgramFiles):
    """A distinct program, ``program(constants, state, inputs) -> {outputs, monitors, state}``.

    :attr:`costs`, :meth:`explain`, :meth:`replay`, :meth:`measure` and others parse or run the
    program with jaxlib. They do so in a worker process within :attr:`limits`, because a damaged
    program may crash the process or never end. :meth:`text` and :meth:`data` read the files in the
    calling process.

    Attributes
    ----------
    limits : Limits or None
        The seconds and the memory of the worker process; None to use the calling process.
    """

    limits: Limits | None = field(default_factory=Limits)

    def within(self, limits: Limits | None) -> Program:
        """Return the same program with other limits.

        Parameters
        ----------
        limits : Limits or None
            ``Limits(seconds=..., memory=...)``; None to use the calling process. The calling
            process can call kernels that exist only there (BrainPy 2.4 to 2.6), but a damaged
            program may end it.
        """
        return Program(self._folder, self.record, self.environment, self.is_portable, limits)

    @property
    def portable(self) -> Program | None:
        """The same program without the kernels that only BrainPy has, if it was requested.

        It has its own texts, fidelity and bytecode; its arguments and results are the same.
        """
        record = portable_record(self.record)
        if record is None:
            return None
        return Program(self._folder, record, self.environment, True, self.limits)

    @property
    def step(self) -> Step | None:
        """The program of one step of the loop, if it was requested.

        If it can't be made, it has no texts, and its ``fidelity.notes`` has the reason.
        """
        from brainpy_probe.reader.step import Step

        step = self.record.step
        if step is None:
            return None
        record = step_record(self.record, step)
        place = self._folder, record, self.environment, self.is_portable, self.limits
        return Step(*place, loop=self, _step=step)

    def replay(
        self, *, repeat: int = 1, overrides: Mapping[str, np.ndarray[Any, Any]] | None = None
    ) -> Replay:
        """Compile the program with jaxlib alone, run it on the captured arrays, and compare.

        Parameters
        ----------
        repeat : int
            The number of runs.
        overrides : mapping, optional
            Arrays to use instead of captured arguments, by group and name, as ``state/E.V``. The
            results are then not compared.

        Returns
        -------
        Replay
            The results by group and name, their comparison, and the seconds.

        Raises
        ------
        BadSetting
            If the arguments were not captured, or an array in ``overrides`` does not fit.
        DamagedCapture
            If a file is missing or was changed.
        CannotReplay
            If the program can't be compiled or run in this environment.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.replaying.replay import check_overrides, replay
        from brainpy_probe.compat import bindings
        from brainpy_probe.ir.executables.kernels import check_calls

        replaced = check_overrides(self.arguments, overrides or {})
        if self.limits is not None:
            task = self._task("replay", repeat=repeat, overrides=tuple(replaced))
            return ask_replay(task, self.results, self.limits, replaced)
        form, content = parsed(self, bindings.as_stablehlo)
        check_calls(self.record, content, self.environment.jaxlib)
        stored = {} if all(spec.path in replaced for spec in self.arguments) else self.data()
        expected = self._captured_results()
        reasons = rounding_reasons(self, form, content)
        return replay(self.record, content, stored, expected, replaced, repeat, reasons)

    @property
    def costs(self) -> Costs:
        """The cost of each component, counted by XLA before optimisation; needs jaxlib.

        Raises
        ------
        CannotReplay
            If there is no text of the program that XLA reads.
        DamagedCapture
            If the file is missing or was changed.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.costs import count, hlo_module

        if self.limits is not None:
            return ask(self._task("costs"), self.limits, Costs)
        module = parsed(self, hlo_module)[1]
        return count(self.record, module)

    @property
    def dataflow(self) -> Dataflow:
        """The values that flow between the components in one step; needs jaxlib.

        Raises
        ------
        CannotReplay
            If there is no text of the program that XLA reads.
        DamagedCapture
            If the file is missing or was changed.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.costs import hlo_module
        from brainpy_probe.analysis.dataflow import Dataflow, dataflow
        from brainpy_probe.ir import hlo

        if self.limits is not None:
            return ask(self._task("dataflow"), self.limits, Dataflow)
        return dataflow(self.record, hlo.Module.of(parsed(self, hlo_module)[1]))

    def explain(self) -> Explanation:
        """Return how each state is updated, as an expression over names; needs jaxlib.

        The equations are read from the program alone. The docstrings, derivatives and parameters of
        the components were recorded by the capture.

        Returns
        -------
        Explanation
            The equations by component. Printed, it is a page of text; ``latex`` is LaTeX.

        Raises
        ------
        CannotReplay
            If there is no text of the program that jaxlib reads.
        DamagedCapture
            If the file is missing or was changed.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.explanation.explain import explain
        from brainpy_probe.analysis.explanation.records import Explanation

        if self.limits is not None:
            return ask(self._task("explain"), self.limits, Explanation)
        content, is_text = stablehlo(self)
        return explain(self.record, content, lines=is_text)

    def listing(self, *, compiles: bool = True) -> Listing:
        """List the program's equations, StableHLO and optimised HLO, line by line.

        Lines with the same ops are connected, and each line has its component.

        Parameters
        ----------
        compiles : bool
            Whether to compile the program for the optimised HLO, which takes as long as in the
            simulation. A program that can't be compiled here is listed without it.

        Raises
        ------
        CannotReplay
            If there is no text of the program that XLA reads.
        DamagedCapture
            If the file is missing or was changed.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.listing import Listing, listing, text_of

        if self.limits is not None:
            return ask(self._task("listing", compiles=compiles), self.limits, Listing)
        content, is_text = stablehlo(self)
        text = content.decode() if is_text else text_of(content)
        return listing(self.record, text, compiles=compiles)

    def op_graph(self) -> OpGraph:
        """Return the ops of a step as a graph, each with its component; needs jaxlib.

        Raises
        ------
        CannotReplay
            If there is no text of the program that XLA reads.
        DamagedCapture
            If the file is missing or was changed.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.costs import hlo_module
        from brainpy_probe.analysis.op_graph import OpGraph, op_graph
        from brainpy_probe.ir import hlo

        if self.limits is not None:
            return ask(self._task("op_graph"), self.limits, OpGraph)
        return op_graph(self.record, hlo.Module.of(parsed(self, hlo_module)[1]))

    def measure(self) -> Measuring:
        """Compile the program, run it on the captured arrays, and measure each component's time.

        Raises
        ------
        BadSetting
            If the arguments were not captured.
        DamagedCapture
            If a file is missing or was changed.
        CannotMeasure
            If this jaxlib has no profiler with per-op events, or there is no loop to measure.
        CannotReplay
            If the program can't be compiled in this environment.
        Stopped
            If it reaches a limit of time or memory, or ends its process.
        """
        from brainpy_probe.analysis.measure import Measuring, measure
        from brainpy_probe.compat import bindings
        from brainpy_probe.ir.executables.kernels import check_calls

        if self.limits is not None:
            return ask(self._task("measure"), self.limits, Measuring)
        _, content = parsed(self, bindings.as_stablehlo)
        check_calls(self.record, content, self.environment.jaxlib)
        return measure(self.record, content, self.data())

    @property
    def measured(self) -> Measured | None:
        """The run time of each component, if ``capture(profile=True)`` measured it."""
        return self.record.measured

    def _captured_results(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the stored results of the simulation."""
        return self.data("results") if any(spec.file for spec in self.results) else {}

    def _task(self, action: Task, **more: Any) -> ProgramTask:
        return ProgramTask(
            action=action,
            folder=str(self._folder),
            record=self.record,
            environment=self.environment,
            plain=self.is_portable,
            **more,
        )
