"""What is noted of one predict call while it runs; knows neither how it is seen nor what for."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jax

from brainpy_probe.compat import jax_tracing
from brainpy_probe.errors import CannotCapture, InsideTransformation, describe_error
from brainpy_probe.format.common_records import Timing
from brainpy_probe.recording.guard import Guard
from brainpy_probe.recording.modules.compilation import PENDING_PHASES, SERIALS, Compilation
from brainpy_probe.recording.modules.timing import Stopwatch, add_timings
from brainpy_probe.recording.patches import LEDGER
from brainpy_probe.recording.snapshot import Snapshot
from brainpy_probe.recording.tracing.traces import InnerEvents, LoopRun, StepTrace

__all__ = [
    "CURRENT_CALL",
    "CURRENT_WATCH",
    "OPEN_CALLS",
    "OWN_WORK",
    "RunningCall",
    "guard",
    "kept",
    "left_running",
    "name_guard",
]


@dataclass(eq=False)
class RunningCall:
    """One call of ``predict``, from its begin to its end.

    Attributes
    ----------
    trace_eager : bool
        Whether the step is to be traced where BrainPy does not compile it.
    nested : bool
        Whether it began within another JAX transformation.
    step : StepTrace or None
        The step, where BrainPy does not compile it and the probe traced it.
    predicts, own_predicts : int
        How often the runner's ``_predict`` was called, and BrainPy's own.
    overlaps : bool
        Whether another call went on at the same time, which may have changed Variables as well.
    swaps_axes : bool
        Whether the runner swaps the first two axes of each result after its loop.
    given, returned : tree of arrays or None
        What BrainPy's own ``_predict`` returned, and what the runner's did.
    monitors : dict or None
        What the runner holds by the names of its monitors when BrainPy's own ``predict`` has ended.
    clock : int or None
        How many times of steps it holds then.
    snapshot : Snapshot or None
        The values of the model's Variables before and after BrainPy's own ``_predict``.
    repeats : int
        How often a function that was noted ran again.
    candidates : list of (bool, LoopRun or StepTrace)
        What may be the run: the outermost loops and compiled functions, and for each whether its
        function is the step of this runner, over the indices of this call.
    readings : list of ModelNames
        The names in the model, as they were read in the call.
    numba : list of str
        The functions that numba has compiled for it.
    unfinished : bool
        Whether XLA went on running it when the native call had returned.
    notes : list of str
        What a reader of the call's program must know.
    first_states : dict
        The values of a jitted step's Variables after the first step, in the order of its trace, by
        the ``id`` of the candidate (BrainPy 2.7 and later).
    coming : LoopRun, StepTrace or None
        What is the run as far as is known, traced and about to be compiled.
    ahead : dict
        What each session made of it meanwhile, by the session's ``id``.
    """

    runner: Any
    trace_eager: bool = False
    serial: int = field(default_factory=SERIALS.__next__)
    watch: Stopwatch = field(default_factory=Stopwatch)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    thread: str = field(default_factory=lambda: threading.current_thread().name)
    i0: int = 0
    jit: bool = True
    indices: Any = None
    xs: tuple[Any, ...] = ()
    shared_args: Any = None
    preparation: Timing = field(default_factory=Timing)
    step: StepTrace | None = None
    step_failure: Exception | None = None
    problem: Exception | None = None
    predicts: int = 0
    own_predicts: int = 0
    candidates: list[tuple[bool, LoopRun | StepTrace]] = field(default_factory=list)
    repeats: int = 0
    noted: dict[int, Any] = field(default_factory=dict)
    coming: LoopRun | StepTrace | None = None
    first_states: dict[int, list[Any]] = field(default_factory=dict)
    ahead: dict[int, Any] = field(default_factory=dict)
    given: Any = None
    returned: Any = None
    monitors: dict[str, Any] | None = None
    clock: int | None = None
    snapshot: Snapshot | None = None
    overlaps: bool = False
    swaps_axes: bool = False
    swaps: list[tuple[weakref.ref[Any], weakref.ref[Any]]] = field(default_factory=list)
    error: BaseException | None = None
    tracing: InnerEvents | None = None
    nested: bool = False
    compilations: list[Compilation] = field(default_factory=list)
    components: Any = None
    component: str = ""
    readings: list[Any] = field(default_factory=list)
    numba: list[str] = field(default_factory=list)
    unfinished: bool = False
    notes: list[str] = field(default_factory=list)
    _predicting: int = 0
    _within_own: bool = False

    _ending: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False

    def end(self) -> None:
        """Note that the native call has returned or raised, and whether XLA still runs it."""
        with self._ending:
            self._ended = True
        self.watch.stop()
        with self.noting():
            values = None if self.snapshot is None else self.snapshot.ended_with()
            held = jax.tree_util.tree_leaves((self.given, self.returned, values))
            running = [leaf for leaf in held if _is_running(leaf)]
            _LEFT_RUNNING[:] = [weakref.ref(leaf) for leaf in running]
            self.unfinished = bool(running)
        if self.unfinished:
            self.watch.mark_unmeasured("numba")

    def settle(self) -> float:
        """Wait until XLA has run the call, and return the seconds: they are not the probe's."""
        begun = time.perf_counter()
        if self.unfinished:
            arrays: list[Any] = [there() for there in _LEFT_RUNNING]
            for array in arrays:
                if array is not None and not array.is_deleted():
                    array.block_until_ready()
        return time.perf_counter() - begun

    def forget(self) -> None:
        """Let go of all that was traced, so that it lives no longer than without the probe.

        Not for the memory alone: from 0.10 on, JAX keeps what it has made of a NumPy array as long
        as a trace holds it, and gives a next run the same again, even if the array was changed in
        place meanwhile (``canonicalize_value``; jax 0.10.2, 0.12.0).
        """
        self.candidates.clear()
        self.noted.clear()
        self.ahead.clear()
        self.first_states.clear()
        self.step = self.coming = self.given = self.returned = None
        self.xs, self.monitors, self.snapshot, self.error = (), None, None, None

    @property
    def is_over(self) -> bool:
        """Whether the native call has returned or raised."""
        return self._ended

    def takes(self, compilation: Compilation) -> bool:
        """Note a module, unless the call has ended: a thread that it started goes on compiling."""
        with self._ending:
            if not self._ended:
                self.compilations.append(compilation)
            return not self._ended

    @property
    def user_inputs(self) -> int | None:
        """How many inputs the user gave, beside the step indices; None if it gave no indices."""
        return None if self.indices is None else len(self.xs)

    @contextlib.contextmanager
    def predicting(self, *, own: bool) -> Iterator[bool]:
        """Mark a block as the runner's ``_predict``, or as BrainPy's own; say if it is outermost.

        What ran before the block, such as a warm-up in ``reset_state()``, is not the run; neither
        is what runs after it.
        """
        outermost = not self._predicting
        self.predicts += outermost
        self.own_predicts += own
        self._predicting += 1
        self._within_own = own
        self.candidates.clear()
        self.noted.clear()
        self.first_states.clear()
        self.repeats = 0
        self.coming = None
        try:
            yield outermost
        finally:
            self._predicting -= 1
            self._within_own = False
            self.coming = None

    def may_be_run(self, is_step: bool) -> bool:
        """Whether a loop or function that now runs outermost may be the run.

        Within BrainPy's own ``_predict``, that is the step of this runner alone. A runner of the
        user's may run its model without that method.
        """
        if self._within_own:
            return is_step
        return not self.own_predicts and bool(self._predicting or not self.predicts)

    def scans_its_indices(self, xs: Any) -> bool:
        """Whether what a loop is scanned over begins with the indices of this call themselves."""
        return self.indices is not None and any(
            x is self.indices for x in jax.tree_util.tree_leaves(xs)[:2]
        )

    def run(self) -> LoopRun | StepTrace:
        """Return the loop or the step that is the run, decided by what it is.

        Raises
        ------
        CannotCapture
            If there is none, or several of which none is the whole.
        """
        if self.nested:
            raise InsideTransformation
        if self.problem is not None:
            raise self.problem
        runner = type(self.runner).__qualname__
        times = max(self.predicts, self.own_predicts)
        if times > 1:
            raise CannotCapture(
                f"{runner} ran its model {times} times within one call.",
                "Capture calls of predict each of which runs the model once.",
            )
        if self.step is not None:
            return self.step
        found = [ran for is_step, ran in self.candidates if is_step]
        if not found:
            found = [ran for _, ran in self.candidates]
        if len(found) > 1:
            raise CannotCapture(
                f"{runner} ran {len(found)} loops or compiled functions outside of "
                "BrainPy's own DSRunner._predict; none of them is the whole run.",
                "Run the model by super().predict() or super()._predict(), or in one bm.for_loop.",
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
            "The run may have had no steps, or a subclass runs the model in its own way.",
        )

    @property
    def ended_its_loop(self) -> bool:
        """Whether BrainPy's own loop ran to its end, whatever failed after it."""
        return bool(self.own_predicts) and any(isinstance(r, LoopRun) for _, r in self.candidates)

    def compiles(self, module: str) -> bool:
        """Whether a module may be what is traced and about to run."""
        if isinstance(self.coming, LoopRun):
            return module == jax_tracing.LOOP_MODULE
        return self.coming is not None

    def compiled_since(self, count: int, name: str) -> Compilation | None:
        """Return the only module of a name since that many were compiled, or None."""
        found = [one for one in self.compilations[count:] if one.name == name]
        return found[0] if len(found) == 1 else None

    def swapped(self, array: Any, result: Any) -> None:
        """Note an array and the same with its first two axes swapped; neither is kept alive."""
        known = isinstance(array, jax.Array) and isinstance(result, jax.Array)
        if known and self.candidates:
            self.swaps.append((weakref.ref(array), weakref.ref(result)))

    def is_swapped(self, array: Any, result: Any) -> bool:
        """Whether a result is what ``jax.numpy.moveaxis`` made of this very array."""
        return any(made() is result and source() is array for source, made in self.swaps)

    @contextlib.contextmanager
    def inside(self) -> Iterator[InnerEvents]:
        """Mark a block as the inside of a trace or loop: what is traced there is not outermost."""
        self.tracing = inside = InnerEvents()
        try:
            yield inside
        finally:
            self.tracing = None

    @contextlib.contextmanager
    def noting(self, *, names: bool = False) -> Iterator[None]:
        """Do work of ours amid the run: a failure is for the record, the time not the run's.

        What fails costs the call its program; ``names`` says that it costs no more than a name.
        """
        watch = Stopwatch()
        token = CURRENT_WATCH.set(watch)
        phases = PENDING_PHASES.get()
        try:
            with Guard(self.has_no_name if names else self.failed):
                yield
        finally:
            CURRENT_WATCH.reset(token)
            PENDING_PHASES.set(phases)
            watch.stop()
            self.preparation = add_timings(self.preparation, watch.timing())
            self.watch.exclude_interval(watch)

    def failed(self, error: Exception) -> None:
        """Note what failed in the probe's own work: the call will have no program."""
        self.problem = self.problem or error

    def has_no_name(self, error: Exception) -> None:
        """Note that something could not be named: the program goes without that name."""
        note = f"Not all of the model has its name: {describe_error(error)}"
        if note not in self.notes:
            self.notes.append(note)


def kept(tree: Any) -> Any:
    """Copy a tree's containers, not its leaves: predict adds ``ts`` to the monitors' own dict."""
    return jax.tree_util.tree_map(lambda leaf: leaf, tree)


# The calls whose native run goes on, in all threads, by their serial numbers.
OPEN_CALLS: dict[int, RunningCall] = {}
# What the last call left that XLA had not made yet when it returned.
_LEFT_RUNNING: list[weakref.ref[Any]] = []


def left_running() -> bool:
    """Whether XLA still runs what a call left."""
    return any(_is_running(there()) for there in _LEFT_RUNNING)


def _is_running(array: Any) -> bool:
    """Whether XLA has not made an array yet: JAX hands programs to XLA, and does not wait."""
    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return False
    there: Any = array
    # A typed random key can't be asked; what was drawn with it can.
    return hasattr(there, "is_ready") and not there.is_deleted() and not there.is_ready()


CURRENT_CALL: ContextVar[RunningCall | None] = ContextVar("brainpy_probe_call", default=None)
CURRENT_WATCH: ContextVar[Stopwatch | None] = ContextVar("brainpy_probe_watch", default=None)
# Whether what runs in this thread is the probe's own work on what has ended: nobody watches that.
OWN_WORK: ContextVar[bool] = ContextVar("brainpy_probe_own_work", default=False)


def _failed(error: Exception) -> None:
    call = CURRENT_CALL.get()
    if call is not None:
        call.failed(error)
        return
    for user in LEDGER.users:
        user.failed_within(error)


def _has_no_name(error: Exception) -> None:
    call = CURRENT_CALL.get()
    if call is not None:
        call.has_no_name(error)


# What fails under the first costs the call that goes on its program, under the second a name.
guard, name_guard = Guard(_failed), Guard(_has_no_name)
