"""The comparison of a program with the values after its call finds these deliberate faults.

Each fault alters the probe's record of a run. No other check of the probe would find it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.program.step import TracedStep
from brainpy_probe.recording.tracing.traces import LoopRun, NativeResults, StateUse, StepTrace
from tests import eras

Run = LoopRun | StepTrace
Fault = Callable[[Run], Run]

STEPS = 5


class Model(eras.DynamicalSystem):
    """A model with two Variables of one shape and one of another, noise and an input."""

    def __init__(self, num: int = 3) -> None:
        super().__init__()
        eras.hold_random_state(self)
        self.a = bm.Variable(bm.zeros(2))
        self.b = bm.Variable(bm.ones(2))
        self.gain = bm.Variable(bm.ones(2) * 0.5)
        self.n = bm.Variable(bm.zeros(num))

    def update(self, x: Any = 1.0) -> None:
        """Change all Variables but the gain."""
        self.a.value = self.a * 0.5 + x
        self.b.value = self.b + self.a * self.gain
        self.n.value = self.n + bm.random.rand(self.n.size)


def _runner(model: Any = None, **options: Any) -> bp.DSRunner:
    bm.random.seed(1)
    options = {"monitors": ["a", "b", "n"], "progress_bar": False, **options}
    return bp.DSRunner(Model() if model is None else model, **options)


def _trace(run: Run) -> StepTrace:
    return run.step if isinstance(run, LoopRun) else run


def _with(run: Run, **changes: Any) -> Run:
    """Return a run with an altered trace."""
    if isinstance(run, LoopRun):
        return replace(run, step=replace(run.step, **changes))
    return replace(run, **changes)


def _with_results(run: Run, alter: Callable[[list[Any], list[Any]], None]) -> Run:
    """Return a run with altered results or altered values after it."""
    assert run.native is not None
    results, after = list(run.native.results), list(run.native.after)
    alter(results, after)
    return replace(run, native=NativeResults(results, after))


def _with_states(run: Run, alter: Callable[[dict[str, StateUse]], None]) -> Run:
    """Return a run with altered uses of its Variables, by name: a, b, gain, n, random."""
    states = {_name(use): use for use in _trace(run).states}
    alter(states)
    return _with(run, states=list(states.values()))


def _name(use: StateUse) -> str:
    model = _CURRENT[0]
    for name in ("a", "b", "gain", "n"):
        if use.variable is getattr(model, name):
            return name
    return "random"


_CURRENT: list[Any] = []


def _position(run: Run, monitor: str) -> int:
    """Return the position of a monitor among the results."""
    trace = _trace(run)
    positions = trace.result_tree.unflatten(range(len(trace.result)))
    found: int = next(subtree[monitor] for subtree in _flat(positions) if isinstance(subtree, dict))
    return found


def _flat(tree: Any) -> list[Any]:
    if isinstance(tree, tuple):
        return [leaf for subtree in tree for leaf in _flat(subtree)]
    return [tree]


def _lose_monitor(run: Run) -> Run:
    trace = _trace(run)
    positions = trace.result_tree.unflatten(range(len(trace.result)))
    monitors = next(subtree for subtree in _flat(positions) if isinstance(subtree, dict))
    position = monitors.pop("n")
    result = [atom for number, atom in enumerate(trace.result) if number != position]
    run = _with(run, result=result, result_tree=jax.tree_util.tree_structure(positions))
    return _with_results(run, lambda results, _: results.__delitem__(position))


def _swap_monitors(run: Run) -> Run:
    a, b = _position(run, "a"), _position(run, "b")
    result = list(_trace(run).result)
    result[a], result[b] = result[b], result[a]

    def alter(results: list[Any], _: list[Any]) -> None:
        results[a], results[b] = results[b], results[a]

    return _with_results(_with(run, result=result), alter)


def _copy_monitor(run: Run) -> Run:
    position = _position(run, "a")

    def alter(results: list[Any], _: list[Any]) -> None:
        results[position] = results[position] + 0.0

    return _with_results(run, alter)


def _swap_variables(states: dict[str, StateUse]) -> None:
    a, b = states["a"], states["b"]
    states["a"], states["b"] = (
        replace(a, variable=b.variable),
        replace(b, variable=a.variable),
    )


def _swap_values(states: dict[str, StateUse]) -> None:
    a, b = states["a"], states["b"]
    states["a"], states["b"] = replace(a, value=b.value), replace(b, value=a.value)


def _swap_after(run: Run) -> Run:
    names = [_name(use) for use in _trace(run).states]

    def alter(_: list[Any], after: list[Any]) -> None:
        a, b = names.index("a"), names.index("b")
        after[a], after[b] = after[b], after[a]

    return _with_results(run, alter)


def _lose_write(states: dict[str, StateUse]) -> None:
    states["a"] = replace(states["a"], writes=None)


def _lose_variable(name: str) -> Fault:
    """Return a fault that records a Variable as a constant."""

    def fault(run: Run) -> Run:
        trace = _trace(run)
        remaining = [number for number, use in enumerate(trace.states) if _name(use) != name]
        (lost,) = [use for use in trace.states if _name(use) == name]
        constants = [*trace.constants, (lost.reads[0], lost.value)]
        run = _with(run, states=[trace.states[n] for n in remaining], constants=constants)
        if isinstance(run, LoopRun):
            carried = [remaining.index(n) for n in run.carried if n in remaining]
            run = replace(run, carried=carried)
        if run.native is None:
            return run
        return _with_results(
            run, lambda _, after: after.__setitem__(slice(None), [after[n] for n in remaining])
        )

    return fault


def _fewer_steps(run: Run) -> Run:
    if isinstance(run, LoopRun):
        xs = [x[:-1] for x in run.xs]
        return replace(run, xs=type(run.xs)(xs), options={**run.options, "length": STEPS - 1})
    return replace(run, args=tuple(x[:-1] for x in run.args))


def _change_input(run: Run) -> Run:
    if isinstance(run, LoopRun):
        return replace(run, xs=type(run.xs)([*run.xs[:-1], run.xs[-1] * 2]))
    return replace(run, args=(*run.args[:-1], run.args[-1] * 2))


FAULTS: dict[str, tuple[Fault, str]] = {
    "a monitor is missing": (_lose_monitor, "the program lacks monitor n"),
    "two monitors are swapped": (_swap_monitors, "monitor a is not the result"),
    "a monitor is a copy": (_copy_monitor, "monitor a is not the result"),
    "two Variables are swapped": (lambda run: _with_states(run, _swap_variables), "another value"),
    "two values before the run are swapped": (
        lambda run: _with_states(run, _swap_values),
        "before the run",
    ),
    "two values after the run are swapped": (_swap_after, "a has another value after the run"),
    "a Variable is recorded as a constant": (_lose_variable("b"), "changed b, which is not part"),
    "the random state is recorded as a constant": (
        _lose_variable("random"),
        "changed random, which is not part",
    ),
    "a step is missing": (_fewer_steps, "runs 4 steps, the call ran 5"),
    "an input is changed": (_change_input, "is not the user's array"),
}


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    """Return a function that injects a fault into the record of each run."""
    native = RunningCall.run

    def inject(fault: Fault) -> None:
        monkeypatch.setattr(RunningCall, "run", lambda call: fault(native(call)))

    return inject


def _run(runner: bp.DSRunner) -> None:
    _CURRENT[:] = [runner.target]
    runner.predict(inputs=np.arange(STEPS, dtype=np.float32))


def _run_each(runners: list[bp.DSRunner]) -> None:
    """Run each runner from one line, because JAX records the line in the module."""
    for runner in runners:
        runner.run(STEPS * 0.1)


def _assert_no_program(cap: probe.Capture, message: str) -> None:
    call = cap.calls[-1]
    assert call.program is None
    assert call.failure is not None
    assert call.failure.kind == "ProgramMismatch"
    assert message in call.failure.message
    assert len(list(cap.path.glob("programs/*"))) == len(cap.programs)


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_record_of_a_run_gives_no_program(
    name: str, inject: Callable[[Fault], None], out: Path
) -> None:
    fault, message = FAULTS[name]
    inject(fault)
    with pytest.warns(probe.ProbeWarning, match="values after the call"), probe.capture(out) as cap:
        _run(_runner())
    _assert_no_program(cap, message)


def test_a_run_without_a_fault_has_a_program(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        _run(_runner())
    assert cap.calls[0].program is not None


def test_a_program_that_lacks_a_write_is_rejected(
    inject: Callable[[Fault], None], out: Path
) -> None:
    inject(lambda run: _with_states(run, _lose_write))
    runner = _runner(eras.without_outputs(Model()), memory_efficient=True)
    _CURRENT[:] = [runner.target]
    with pytest.warns(probe.ProbeWarning, match="values after the call"), probe.capture(out) as cap:
        runner.run(STEPS * 0.1)
    _assert_no_program(cap, "changed a, which the program does not write")


@pytest.mark.parametrize("other", ["an earlier call", "another model", "a longer loop"])
def test_the_record_of_another_loop_is_rejected(
    other: str, inject: Callable[[Fault], None], out: Path
) -> None:
    seen: list[Run] = []
    runner = _runner()
    inject(lambda run: seen.append(run) or run)
    with probe.capture(out / "before", strict=True):
        match other:
            case "an earlier call":
                _run(runner)
            case "another model":
                _run(_runner(Model(7)))
            case "a longer loop":
                runner.predict(inputs=np.arange(9, dtype=np.float32))
    inject(lambda _: seen[0])
    with pytest.warns(probe.ProbeWarning, match="values after the call"), probe.capture(out) as cap:
        _run(runner)
    _assert_no_program(cap, "")


@pytest.mark.parametrize(
    ("differs", "message"),
    [("shape of a Variable", "in program 0"), ("monitors", "program 0 has different results")],
)
def test_another_known_program_is_rejected(
    differs: str, message: str, monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    monkeypatch.setattr(TracedStep, "fingerprint", lambda *_: "the same for all")
    first = _runner()
    second = _runner(Model(5)) if "shape" in differs else _runner(monitors=["a"])
    with probe.capture(out) as cap:
        _run(first)
        with pytest.warns(probe.ProbeWarning, match="values after the call"):
            _run(second)
    assert len(cap.programs) == 1
    _assert_no_program(cap, message)


class Subtracting(eras.DynamicalSystem):
    """A model that is lowered to the same module whichever Variable it subtracts."""

    def __init__(self, swapped: bool) -> None:
        super().__init__()
        self.a, self.b = bm.Variable(bm.ones(2) * 5.0), bm.Variable(bm.ones(2) * 2.0)
        self.x = bm.Variable(bm.zeros(2))
        self.swapped = swapped

    def update(self, *_: Any) -> None:
        """Subtract one Variable from the other."""
        a, b = self.a.value, self.b.value
        minuend, subtrahend = (b, a) if self.swapped else (a, b)
        self.x.value = minuend - subtrahend


@pytest.mark.skipif(not eras.SINCE_2_7, reason="before 2.7, a loop carries all of its Variables")
def test_a_program_of_swapped_variables_is_rejected_by_results(
    monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    monkeypatch.setattr(TracedStep, "_uses", lambda _: b"")
    # No program is rendered ahead: programs are then recognized by their module.
    monkeypatch.setattr("brainpy_probe.compat.jax_tracing.trace_settings", object)
    runners = [_runner(Subtracting(swapped), monitors=["x"]) for swapped in (False, True)]
    with pytest.warns(probe.ProbeWarning, match="values after the call"), probe.capture(out) as cap:
        _run_each(runners)
    assert len(cap.programs) == 1
    _assert_no_program(cap, "gave different results for the same")


@pytest.mark.parametrize("swaps", [True, False])
def test_a_wrong_order_of_axes_is_rejected(
    swaps: bool, monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    model = Model()
    runner = _runner(model, data_first_axis="B" if not swaps else "T")
    if not swaps:
        model.mode = bm.BatchingMode(1)
    monkeypatch.setattr("brainpy_probe.compat.brainpy_runner.swaps_axes", lambda _: swaps)
    with pytest.warns(probe.ProbeWarning, match="values after the call"), probe.capture(out) as cap:
        runner.run(STEPS * 0.1)
    _assert_no_program(cap, "monitor a is ")


def test_a_monitor_that_the_runner_changes_is_noted(out: Path) -> None:
    class Halving(bp.DSRunner):
        def _predict(self, *args: Any, **kwargs: Any) -> Any:
            outputs, monitors = super()._predict(*args, **kwargs)
            return outputs, {**monitors, "a": monitors["a"] * 0.5}

    runner = Halving(Model(), monitors=["a"], progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        _run(runner)
    (call,) = cap.calls
    assert call.record.notes == ("After the loop the runner changes a; the program does not.",)
    assert "the runner changes a" in str(cap).replace("\n", " ")
    assert call.program is not None
    assert np.array_equal(
        call.program.replay().results["monitors/a"] * 0.5, np.asarray(bm.as_jax(runner.mon["a"]))
    )


@pytest.mark.skipif(not eras.SINCE_2_4, reason="before 2.4, no function is compiled in such a run")
def test_nested_runs_keep_their_programs(out: Path) -> None:
    inner = _runner()

    class Outer(eras.DynamicalSystem):
        def update(self, *_: Any) -> None:
            _run(inner)

    runner = bp.DSRunner(Outer(), jit=False, memory_efficient=True, progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.2)
    assert [call.program is None for call in cap.calls] == [False, False, True]


def test_monitors_that_a_trainer_adds_are_in_its_program(out: Path) -> None:
    model = eras.layers.Dense(2, 1, mode=bm.training_mode)
    trainer = bp.RidgeTrainer(model, alpha=1e-6, progress_bar=False)
    xs, ys = bm.random.rand(1, STEPS, 2), bm.random.rand(1, STEPS, 1)
    with probe.capture(out, strict=True) as cap:
        trainer.fit([xs, ys])
    assert cap.calls
    assert all(call.failure is None for call in cap.calls)
