"""With trace_eager, the additional trace of a step leaves no side effect of the model's code."""

from __future__ import annotations

import functools
import itertools
import random
import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from tests.eras import DynamicalSystem

LOG: list[int] = []
HELPER_CALLS: list[int] = []
INNER_CALLS: list[int] = []
TABLE: dict[str, list[int]] = {"steps": []}
RNG = np.random.default_rng(0)
COUNT = 0
LAST: Any = None


class Stepping(DynamicalSystem):
    """A model whose step has a side effect."""

    def __init__(self) -> None:
        super().__init__()
        self.v = bm.Variable(bm.zeros(3))
        self.begin()

    def begin(self) -> None: ...

    def touch(self) -> None: ...

    def observed(self) -> Any: ...

    def monitors(self) -> dict[str, Any]:
        return {}

    def update(self) -> Any:
        self.v.value = self.v + 1.0
        self.touch()
        return self.v.value


class Everything(Stepping):
    """A model whose step has all common side effects."""

    def begin(self) -> None:
        LOG.clear()
        self.history: list[int] = []
        self.last: Any = None
        self.steps = np.zeros(2, dtype=int)
        self.generator = np.random.default_rng(1)
        np.random.seed(2)
        random.seed(3)
        self.monitored = 0

    def touch(self) -> None:
        self.history.append(len(self.history))
        self.last = self.v.value * 2.0
        self.steps += 1
        LOG.append(len(LOG))
        self.drawn = [self.generator.random(), np.random.random(), random.random()]  # noqa: S311
        print("step", len(self.history))  # noqa: T201

    def monitors(self) -> dict[str, Any]:
        count, seen = 0, []

        def monitor(*_: Any) -> Any:
            nonlocal count
            count += 1
            seen.append(count)
            self.monitored = count
            return self.v.value * count

        return {"count": monitor}

    def observed(self) -> Any:
        after = [self.generator.random(), np.random.random(), random.random()]  # noqa: S311
        return self.history, self.last, self.steps, LOG, self.drawn, self.monitored, after


def _record_step() -> None:
    HELPER_CALLS.append(len(HELPER_CALLS))


class HelperFunction(Stepping):
    """Calls a function of its module that appends to a global list."""

    def begin(self) -> None:
        globals()["HELPER_CALLS"].clear()

    def touch(self) -> None:
        _record_step()

    def observed(self) -> Any:
        return globals()["HELPER_CALLS"]


class InnerFunction(Stepping):
    """Appends to a global list in a nested function."""

    def begin(self) -> None:
        globals()["INNER_CALLS"].clear()

    def touch(self) -> None:
        def inner() -> None:
            INNER_CALLS.append(len(INNER_CALLS))

        inner()

    def observed(self) -> Any:
        return globals()["INNER_CALLS"]


class GlobalContainers(Stepping):
    """Appends to a list in a global dictionary, and draws from a global generator."""

    def begin(self) -> None:
        global RNG
        TABLE["steps"], RNG = [], np.random.default_rng(0)

    def touch(self) -> None:
        TABLE["steps"].append(1)
        self.drawn = RNG.random()

    def observed(self) -> Any:
        return TABLE["steps"], self.drawn, RNG.random()


class GlobalNumber(Stepping):
    """Counts in a global."""

    def begin(self) -> None:
        global COUNT
        COUNT = 0

    def touch(self) -> None:
        global COUNT
        COUNT += 1

    def observed(self) -> Any:
        return COUNT


class GlobalNone(Stepping):
    """Sets a global that was None, and records in which step."""

    def begin(self) -> None:
        global LAST
        LAST = None
        self.first = 0
        self.steps = 0

    def touch(self) -> None:
        global LAST
        self.steps += 1
        if LAST is None:
            LAST = self.v.value
            self.first = self.steps

    def observed(self) -> Any:
        return LAST, self.first


class ClassAttributes(Stepping):
    """Counts in its class."""

    history: ClassVar[list[int]] = []
    count: ClassVar[int] = 0

    def begin(self) -> None:
        self.history.clear()
        type(self).count = 0

    def touch(self) -> None:
        self.history.append(1)
        type(self).count += 1

    def observed(self) -> Any:
        return self.history, self.count


class DefaultArgument(Stepping):
    """Appends to the default value of an argument."""

    def begin(self) -> None:
        self.calls = self.count() - 1

    def count(self, seen: list[int] = []) -> int:  # noqa: B006
        seen.append(1)
        return len(seen)

    def touch(self) -> None:
        self.counted = self.count() - self.calls

    def observed(self) -> Any:
        return self.counted


class _Slots:
    __slots__ = ("items", "n")

    def __init__(self) -> None:
        self.n, self.items = 0, [0]


class Slots(Stepping):
    """Counts in an object with `__slots__`."""

    def begin(self) -> None:
        self.slots = _Slots()

    def touch(self) -> None:
        self.slots.n += 1
        self.slots.items.append(1)

    def observed(self) -> Any:
        return self.slots.n, self.slots.items


class OtherObjects(Stepping):
    """Counts in containers and in objects that it holds."""

    def begin(self) -> None:
        self.deque: deque[int] = deque([0, 1], maxlen=2)
        self.set = {-1}
        self.nested = SimpleNamespace(deep=SimpleNamespace(table={"n": 0}, array=np.zeros(2)))

    def touch(self) -> None:
        self.set.add(len(self.set))
        self.deque.append(len(self.set))
        self.nested.deep.table["n"] += 1
        self.nested.deep.array[:] += 1
        self.nested.new = len(self.set)

    def observed(self) -> Any:
        deep = self.nested.deep
        return list(self.deque), sorted(self.set), deep.table, deep.array, self.nested.new


class OldGenerators(Stepping):
    """Draws from its own RandomState of NumPy and Random of Python."""

    def begin(self) -> None:
        self.numpy, self.python = np.random.RandomState(1), random.Random(1)  # noqa: S311

    def touch(self) -> None:
        self.drawn = self.numpy.rand(), self.python.random()

    def observed(self) -> Any:
        return self.drawn, self.numpy.rand(), self.python.random()


class Iterators(Stepping):
    """Advances iterators that it holds."""

    def begin(self) -> None:
        self.count, self.items = itertools.count(), iter(range(100))

    def touch(self) -> None:
        self.drawn = next(self.count), next(self.items)

    def observed(self) -> Any:
        return self.drawn


class PlainArray(Stepping):
    """Sets a BrainPy array that is not a Variable."""

    def begin(self) -> None:
        self.array = bm.Array(np.zeros(3, dtype=np.float32))

    def touch(self) -> None:
        self.array.value = self.array.value + self.v.value

    def observed(self) -> Any:
        return self.array.value


class _Recorder:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def record(self, *_: Any) -> Any:
        self.seen.append(len(self.seen))
        return bm.zeros(1)

    __call__ = record


def _record_in(recorder: _Recorder, *_: Any) -> Any:
    return recorder.record()


class Monitoring(Stepping):
    """Monitors with an object that only the monitor references."""

    def begin(self) -> None:
        globals()["RECORDER"] = _Recorder()

    def observed(self) -> Any:
        return globals()["RECORDER"].seen


class MonitoringObject(Monitoring):
    """Monitors with a callable object."""

    def monitors(self) -> dict[str, Any]:
        return {"seen": globals()["RECORDER"]}


class MonitoringMethod(Monitoring):
    """Monitors with an object's method."""

    def monitors(self) -> dict[str, Any]:
        return {"seen": globals()["RECORDER"].record}


class MonitoringPartial(Monitoring):
    """Monitors with a functools.partial."""

    def monitors(self) -> dict[str, Any]:
        return {"seen": functools.partial(_record_in, globals()["RECORDER"])}


class Errors(Stepping):
    """Prints to standard error."""

    def touch(self) -> None:
        print("step", file=sys.stderr)  # noqa: T201


def _run(model_class: type[Stepping], out: Path | None) -> Any:
    """Run a new model twice, and return all values after the runs."""
    model = model_class()
    runner = bp.DSRunner(model, monitors={"v": model.v, **model.monitors()}, jit=False)
    runner.progress_bar = False
    if out is None:
        first, second = runner.run(0.2), runner.run(0.4)
    else:
        with probe.capture(out, strict=True, trace_eager=True) as cap:
            first, second = runner.run(0.2), runner.run(0.4)
        assert [call.steps for call in cap.calls] == [2, 4]
        assert {program.kind for program in cap.programs} == {"step"}
    values = [first, second, dict(runner.mon), model.v.value, model.observed()]
    return jax.tree_util.tree_map(lambda leaf: np.asarray(leaf).tolist(), values)


KINDS = [
    Everything, HelperFunction, InnerFunction, GlobalContainers, GlobalNumber, GlobalNone,
    ClassAttributes, DefaultArgument, Slots, OtherObjects, OldGenerators, Iterators, PlainArray,
    MonitoringObject, MonitoringMethod, MonitoringPartial, Errors,
]  # fmt: skip


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.__name__)
def test_a_captured_run_has_the_side_effects_of_a_plain_run(
    model: type[Stepping], out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain, printed = _run(model, None), capfd.readouterr()
    captured = _run(model, out)
    assert captured == plain
    assert capfd.readouterr() == printed


def test_a_second_step_would_change_every_side_effect(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Shows that the test above would detect an additional step."""
    model = Everything()
    model.update()
    once = model.history[:], model.steps.tolist(), LOG[:], capfd.readouterr().out
    model.update()
    twice = model.history[:], model.steps.tolist(), LOG[:], capfd.readouterr().out
    assert all(first != second for first, second in zip(once, twice, strict=True))
