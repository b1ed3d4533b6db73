"""The data that the recorder collects about one call while it runs."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from contextvars import Token
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

import jax

from brainpy_probe.compat import brainstate_runs, jax_tracing
from brainpy_probe.compat.types import Array, NamedArrays, Pytree, Runner
from brainpy_probe.errors import CannotCapture, InsideTransformation, describe_error
from brainpy_probe.format.manifest.common_records import Timing
from brainpy_probe.format.manifest.records import CallKind
from brainpy_probe.recording.current import CURRENT_WATCH
from brainpy_probe.recording.guard import Guard
from brainpy_probe.recording.modules.compilation import PENDING_PHASES, SERIALS, Compilation
from brainpy_probe.recording.modules.timing import Stopwatch, add_timings
from brainpy_probe.recording.pending_results import keep_pending, wait_for_pending
from brainpy_probe.recording.snapshot import Snapshot
from brainpy_probe.recording.tracing.traces import InnerEvents, LoopRun, StepTrace

if TYPE_CHECKING:
    from brainpy_probe.recording.model.names import ModelNames
    from brainpy_probe.recording.model.scopes import ComponentNames
    from brainpy_probe.recording.recorder import Recorder

__all__ = ["RunningCall"]


@dataclass(eq=False)
class RunningCall:
    """One call of ``predict``, or one run without a runner, from its beginning to its end.

    Attributes
    ----------
    runner : brainpy.DSRunner or StandaloneRun
        The runner, or the object that represents it.
    kind : str
        ``predict``, ``loop``, ``cond``, ``jit`` or ``fit``.
    frame : frame or None
        For a run without a runner, the frame of the transformation that makes it.
    sessions : tuple of Recorder
        The recorders of the call.
    tokens : tuple of Token
        The tokens that restore the context variables after the call.
    bound : BoundPrimitive or None
        For a run without a runner, JAX's loop or condition that it consists of.
    function : object or None
        For a run without a runner, the function that is run: brainstate's StatefulFunction.
    trace_eager : bool
        Whether to trace the step if BrainPy does not compile it.
    nested : bool
        Whether the call began inside another JAX transformation.
    step : StepTrace or None
        The step, if BrainPy does not compile it and the probe traced it.
    predicts, brainpy_predicts : int
        The number of calls of the runner's ``_predict``, and of BrainPy's ``_predict``.
    overlaps : bool
        Whether another call ran at the same time, which may have changed Variables as well.
    swaps_axes : bool
        Whether the runner swaps the first two axes of each result after its loop.
    brainpy_result, runner_result : pytree of arrays or None
        The results of BrainPy's own ``_predict``, and of the runner's.
    monitors : dict or None
        The runner's monitors by name, at the end of BrainPy's own ``predict``.
    recorded_times : int or None
        The number of step times that the runner has at that moment.
    snapshot : Snapshot or None
        The values of the model's Variables before and after BrainPy's own ``_predict``.
    repeats : int
        How many times a recorded function ran again.
    seen_functions : dict
        The functions that have run in the call, by their ``id``.
    candidates : list of (bool, LoopRun or StepTrace)
        The outermost loops and compiled functions, one of which may be the run. For each, whether
        it is the step of this runner over the indices of this call.
    name_readings : list of ModelNames
        The names of the model's objects at several moments of the call.
    numba : list of str
        The functions that numba compiled for the call.
    unfinished : bool
        Whether XLA was still running the program when the native call returned.
    notes : list of str
        Limitations of the call's program.
    first_states : dict
        The values of a jitted step's Variables after the first step, in the order of the trace, by
        the ``id`` of the candidate (BrainPy 2.7 and later).
    upcoming : LoopRun, StepTrace or None
        The loop or step that was traced and is about to be compiled, if it is the run.
    ahead : dict
        The program that each session rendered during the compilation, by the session's ``id``.
    """

    runner: Runner
    trace_eager: bool = False
    kind: CallKind = "predict"
    frame: FrameType | None = None
    function: Any = None
    bound: Any = None
    serial: int = field(default_factory=SERIALS.__next__)
    watch: Stopwatch = field(default_factory=Stopwatch)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    thread: str = field(default_factory=lambda: threading.current_thread().name)
    thread_id: int = field(default_factory=threading.get_ident)
    sessions: tuple[Recorder, ...] = ()
    tokens: tuple[Token[Any], ...] = ()
    i0: int = 0
    jit: bool = True
    indices: Array = None
    xs: tuple[Any, ...] = ()
    shared_args: Any = None
    preparation: Timing = field(default_factory=Timing)
    step: StepTrace | None = None
    step_failure: Exception | None = None
    problem: Exception | None = None
    predicts: int = 0
    brainpy_predicts: int = 0
    candidates: list[tuple[bool, LoopRun | StepTrace]] = field(default_factory=list)
    repeats: int = 0
    seen_functions: dict[int, Any] = field(default_factory=dict)
    upcoming: LoopRun | StepTrace | None = None
    first_states: dict[int, list[Pytree]] = field(default_factory=dict)
    ahead: dict[int, Any] = field(default_factory=dict)
    brainpy_result: Pytree = None
    runner_result: Pytree = None
    monitors: NamedArrays | None = None
    recorded_times: int | None = None
    snapshot: Snapshot | None = None
    overlaps: bool = False
    swaps_axes: bool = False
    swaps: list[tuple[weakref.ref[Any], weakref.ref[Any]]] = field(default_factory=list)
    error: BaseException | None = None
    tracing: InnerEvents | None = None
    nested: bool = False
    compilations: list[Compilation] = field(default_factory=list)
    components: ComponentNames | None = None
    component: str = ""
    name_readings: list[ModelNames] = field(default_factory=list)
    numba: list[str] = field(default_factory=list)
    unfinished: bool = False
    notes: list[str] = field(default_factory=list)
    _predicting: int = 0
    _within_own: bool = False

    _ending: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False

    def end(self) -> None:
        """Mark the end of the native call, and check whether XLA still runs its program."""
        with self._ending:
            self._ended = True
        self.watch.stop()
        with self.own_work():
            values = None if self.snapshot is None else self.snapshot.final_values()
            self.unfinished = keep_pending((self.brainpy_result, self.runner_result, values))
        if self.unfinished:
            self.watch.mark_unmeasured("numba")

    def wait_for_results(self) -> float:
        """Wait until XLA has run the program; return the seconds of waiting."""
        return wait_for_pending() if self.unfinished else 0.0

    def forget(self) -> None:
        """Release all traces and values, so that they live no longer than without the probe.

        This also keeps results correct. From 0.10 on, JAX keeps its converted copy of a NumPy array
        while a trace refers to it, and uses the copy in the next run, even if the array was changed
        in place meanwhile (``canonicalize_value``; jax 0.10.2, 0.12.0).
        """
        self.candidates.clear()
        self.seen_functions.clear()
        self.ahead.clear()
        self.first_states.clear()
        self.step = self.upcoming = self.brainpy_result = self.runner_result = None
        self.xs, self.monitors, self.snapshot, self.error = (), None, None, None
        self.frame = self.function = self.bound = None

    @property
    def is_over(self) -> bool:
        """Whether the native call has ended, by return or exception."""
        return self._ended

    def add_compilation(self, compilation: Compilation) -> bool:
        """Add a module, unless the call has ended; return whether it was added.

        A thread that the call started may still compile modules after the call.
        """
        with self._ending:
            if not self._ended:
                self.compilations.append(compilation)
            return not self._ended

    @property
    def is_standalone(self) -> bool:
        """Whether the run is made without a runner."""
        return self.kind != "predict"

    @property
    def is_abandoned(self) -> bool:
        """Whether the frame that makes the run has ended without a result."""
        is_elsewhere = self.frame is None or self.tracing is not None
        return not is_elsewhere and not brainstate_runs.is_running(self.frame)

    @property
    def title(self) -> str:
        """The name of the model's class, or of the function that runs without a model."""
        runner = self.runner
        return str(getattr(runner, "title", "") or type(getattr(runner, "target", runner)).__name__)

    @property
    def steps(self) -> int | None:
        """The number of time steps; None if it is not known or the run has none."""
        if self.indices is not None:
            return len(self.indices)
        loops = [run for is_own, run in self.candidates if is_own and isinstance(run, LoopRun)]
        return loops[0].length if self.is_standalone and loops else None

    @property
    def user_inputs(self) -> int | None:
        """The number of the user's inputs, without the indices; None if the call has no indices."""
        return None if self.indices is None else len(self.xs)

    @contextlib.contextmanager
    def predicting(self, *, own: bool) -> Iterator[bool]:
        """Mark a block as a call of ``_predict``; yield whether it is the outermost one.

        Loops before the block (such as a warm-up in ``reset_state()``) and after it are not the
        run.

        Parameters
        ----------
        own : bool
            Whether it is BrainPy's own ``_predict``, not a subclass's.
        """
        outermost = not self._predicting
        self.predicts += outermost
        self.brainpy_predicts += own
        self._predicting += 1
        self._within_own = own
        self.candidates.clear()
        self.seen_functions.clear()
        self.first_states.clear()
        self.repeats = 0
        self.upcoming = None
        try:
            yield outermost
        finally:
            self._predicting -= 1
            self._within_own = False
            self.upcoming = None

    def may_be_run(self, is_step: bool) -> bool:
        """Return whether an outermost loop or function that starts now may be the run.

        Within BrainPy's own ``_predict``, only the step of this runner may be the run. A user's
        runner class may run its model without it. Without a runner, the run is the function itself.
        """
        if self.is_standalone:
            return is_step
        if self._within_own:
            return is_step
        return not self.brainpy_predicts and bool(self._predicting or not self.predicts)

    def scans_its_indices(self, xs: Pytree) -> bool:
        """Return whether the scanned arrays begin with the indices of this call."""
        return self.indices is not None and any(
            x is self.indices for x in jax.tree_util.tree_leaves(xs)[:2]
        )

    def run(self) -> LoopRun | StepTrace:
        """Return the loop or step that is the run.

        Raises
        ------
        CannotCapture
            If there is none, or if there are several and none of them is the whole run.
        """
        if self.nested:
            raise InsideTransformation
        if self.problem is not None:
            raise self.problem
        if self.is_standalone:
            return self._standalone_run()
        runner = type(self.runner).__qualname__
        times = max(self.predicts, self.brainpy_predicts)
        if times > 1:
            raise CannotCapture(
                f"{runner} ran its model {times} times within one call.",
                "Make each call of predict run the model once.",
            )
        if self.step is not None:
            return self.step
        found = [run for is_step, run in self.candidates if is_step]
        if not found:
            found = [run for _, run in self.candidates]
        if len(found) > 1:
            raise CannotCapture(
                f"{runner} ran {len(found)} loops or compiled functions outside of "
                "BrainPy's own DSRunner._predict; none of them is the whole run.",
                "Run the model with super().predict() or super()._predict(), or one bm.for_loop.",
            )
        if found:
            return found[0]
        if self.step_failure is not None:
            raise CannotCapture(
                f"The step of this runner can't be traced: {self.step_failure}",
                "With jit=False a step may use Python that JAX can't trace; "
                "run with jit=True, or keep such Python out of update().",
            ) from self.step_failure
        raise CannotCapture(
            f"{runner} ran no loop and no step that BrainPy traced.",
            "The run may have had no steps, or a subclass runs the model in another way.",
        )

    def _standalone_run(self) -> LoopRun | StepTrace:
        """Return the run of a call without a runner."""
        found = [run for is_step, run in self.candidates if is_step]
        if len(found) == 1:
            return found[0]
        raise CannotCapture(
            f"{self.runner.name} ran {len(found)} loops or compiled functions; none of them is the "
            "whole run.",
            "The probe does not support this version of brainstate.",
        )

    @property
    def has_ended_loop(self) -> bool:
        """Whether BrainPy's own loop ran to its end, even if the call failed later."""
        return bool(self.brainpy_predicts) and any(
            isinstance(r, LoopRun) for _, r in self.candidates
        )

    def may_compile(self, module: str) -> bool:
        """Return whether a module may be the compiled form of the upcoming run."""
        if isinstance(self.upcoming, LoopRun):
            return module == jax_tracing.LOOP_MODULE
        return self.upcoming is not None

    def compilation_since(self, count: int, name: str) -> Compilation | None:
        """Return the only compilation with a name after the first ``count``, or None."""
        found = [
            compilation for compilation in self.compilations[count:] if compilation.name == name
        ]
        return found[0] if len(found) == 1 else None

    def add_swap(self, array: Array, result: Array) -> None:
        """Record that a result is an array with its first two axes swapped; keep no reference."""
        known = isinstance(array, jax.Array) and isinstance(result, jax.Array)
        if known and self.candidates:
            self.swaps.append((weakref.ref(array), weakref.ref(result)))

    def is_swapped(self, array: Array, result: Array) -> bool:
        """Return whether ``jax.numpy.moveaxis`` made a result from an array."""
        return any(moved() is result and source() is array for source, moved in self.swaps)

    @contextlib.contextmanager
    def inside_trace(self) -> Iterator[InnerEvents]:
        """Mark a block as part of a trace or loop: loops within it are not outermost."""
        self.tracing = events = InnerEvents()
        try:
            yield events
        finally:
            self.tracing = None

    @contextlib.contextmanager
    def own_work(self, *, names: bool = False) -> Iterator[None]:
        """Do the probe's own work during the run: exclude its time, and record a failure.

        After a failure the call has no program. With ``names`` it only lacks a name.
        """
        watch = Stopwatch()
        token = CURRENT_WATCH.set(watch)
        phases = PENDING_PHASES.get()
        try:
            with Guard(self.add_name_failure if names else self.add_failure):
                yield
        finally:
            CURRENT_WATCH.reset(token)
            PENDING_PHASES.set(phases)
            watch.stop()
            self.preparation = add_timings(self.preparation, watch.timing())
            self.watch.exclude_interval(watch)

    def add_failure(self, error: Exception) -> None:
        """Record a failure of the probe's own work. The call will have no program."""
        self.problem = self.problem or error

    def add_name_failure(self, error: Exception) -> None:
        """Record that an object could not be named. The program will lack that name."""
        note = f"Some objects of the model could not be named: {describe_error(error)}"
        if note not in self.notes:
            self.notes.append(note)
