"""The names of Variables, arrays and components are their paths in the model."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax.numpy as jnp
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.recording.calls import RunningCall
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.model.names import ModelNames, TraceNames
from brainpy_probe.recording.model.tree import children, walk
from tests import eras
from tests.eras import DynamicalSystem
from tests.networks import by_name


@pytest.fixture(scope="module")
def einet() -> tuple[Any, ModelNames]:
    """Return the network of excitatory and inhibitory neurons, and its names."""
    runner = by_name("einet").build()
    return runner.target, ModelNames(runner)


class Oddities(DynamicalSystem):
    """A model that holds Variables and arrays in unusual places."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = np.linspace(0.0, 1.0, 6).reshape(2, 3)
        self.same_values_other_shape = self.weights.ravel().copy()
        self.gain = jnp.arange(2.0)
        self.v = bm.Variable(bm.zeros(2))
        self.alias = self.v
        self.parts = {"a whole sentence, as a key": bm.Variable(bm.zeros(3))}
        self.rows = [bm.Variable(bm.zeros(4)), bm.Variable(bm.zeros(5))]
        setattr(self, f"delay_of_{id(self)}", bm.Variable(bm.zeros(6)))
        self.child = SimpleNamespace(owner=self, deep=SimpleNamespace(z=bm.Variable(bm.zeros(7))))
        if not eras.SINCE_2_4:
            self.register_implicit_vars(self.parts, self.rows, self.child.deep.z)

    def update(self) -> Any:
        rows = sum(row.value.sum() for row in (*self.rows, *self.parts.values()))
        late = next(value for name, value in vars(self).items() if name.startswith("delay_of_"))
        self.v.value = self.v.value * self.gain + self.weights.astype(np.float32).sum(1) + rows
        self.child.deep.z.value = self.child.deep.z.value + late.value.sum()
        return self.v.value


@pytest.fixture(scope="module")
def odd() -> tuple[Oddities, bp.DSRunner, ModelNames]:
    """Return a model of this kind with its runner and its names."""
    model = Oddities()
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False)
    return model, runner, ModelNames(runner)


def _names_of(
    runner: Any, states: list[Any], arrays: list[Any], earlier: ModelNames | None = None
) -> TraceNames:
    call = RunningCall(runner)
    call.name_readings += [earlier] if earlier else []
    return scopes.names_of(call, states, arrays)


def _array(names: ModelNames, array: Any) -> str | None:
    ((name,), _) = names.arrays([array])
    return name


def test_variables_have_the_names_that_the_user_gave_them(
    einet: tuple[Any, ModelNames],
) -> None:
    net, names = einet
    assert names.state(net.E.V) == "E.V"
    assert names.state(net.I.t_last_spike) == "I.t_last_spike"
    # Up to 2.4 the conductance is an attribute of the synapse itself.
    assert names.state(net.I2E.g) in ("I2E.g", "I2E.syn.g")
    assert names.state(bm.random.DEFAULT) == "random"
    assert names.state(bm.Variable(bm.zeros(1))) is None


def test_connectivity_has_the_name_of_its_synapse(einet: tuple[Any, ModelNames]) -> None:
    net, names = einet
    for synapse in ("E2E", "E2I", "I2E", "I2I"):
        held = getattr(net, synapse)
        if eras.SINCE_2_4:
            assert _array(names, held.comm.indices) == f"{synapse}.comm.indices"
            assert _array(names, held.comm.indptr) == f"{synapse}.comm.indptr"
        else:
            for number in (0, 1):
                name = f"{synapse}.conn_mask.{number}"
                assert _array(names, held.conn_mask[number]) == name


def test_copies_of_numpy_arrays_are_named_by_content(
    odd: tuple[Oddities, bp.DSRunner, ModelNames],
) -> None:
    model, _, names = odd
    assert _array(names, model.weights) == "weights"
    assert _array(names, model.weights.copy()) == "weights"
    assert _array(names, model.weights.astype(np.float32)) == "weights"
    assert _array(names, model.weights.ravel().copy()) == "same_values_other_shape"
    assert _array(names, model.weights + 1e-9) is None


def test_arrays_of_text_and_objects_are_skipped() -> None:
    model = Oddities()
    model.labels = np.asarray(["one", "two", "three"])
    model.objects = np.asarray([None, "clamp", 2.0], dtype=object)
    names = ModelNames(bp.DSRunner(model, progress_bar=False))
    assert names.arrays([np.ones(3, np.int32)]) == ([None], [])


def test_jax_arrays_are_named_by_identity(
    odd: tuple[Oddities, bp.DSRunner, ModelNames],
) -> None:
    model, _, names = odd
    assert _array(names, model.gain) == "gain"
    assert _array(names, jnp.arange(2.0)) is None
    assert _array(names, jnp.asarray(model.weights)) is None
    assert _array(names, model.v.value) == "v"


def test_names_are_identifiers_without_object_ids(
    odd: tuple[Oddities, bp.DSRunner, ModelNames],
) -> None:
    model, _, names = odd
    assert names.state(model.v) == "v"
    assert names.state(model.rows[1]) == "rows.1"
    assert names.state(model.child.deep.z) == "child.deep.z"
    assert names.state(*model.parts.values()) == "parts.a_whole_sentence_as_a_key"
    assert names.state(getattr(model, f"delay_of_{id(model)}")) == "delay_of_Oddities"


def test_names_are_read_again_when_the_model_changes() -> None:
    model = Oddities()
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False)
    first, second = model.v, model.rows[0]
    assert _names_of(runner, [first, second], [model.gain]).states == ["v", "rows.0"]
    model.late, model.gain = bm.Variable(bm.zeros(3)), jnp.arange(3.0)
    found = _names_of(runner, [model.late], [model.gain])
    assert (found.states, found.arrays) == (["late"], ["gain"])
    vars(model)["v"], model.rows[0] = second, first  # exchanged
    del model.alias
    assert _names_of(runner, [first, second], []).states == ["rows.0", "v"]
    assert _names_of(runner, [bm.Variable(bm.zeros(3))], []).states == [None]


def _renamed(model: Any) -> None:
    model.child.other = model.child.__dict__.pop("deep")


CHANGES = {
    "an attribute": lambda model: setattr(model, "late", jnp.zeros(3)),
    "an array that replaces a number": lambda model: setattr(model, "number", np.zeros(3)),
    "an equal array": lambda model: setattr(model, "gain", model.gain + 0),
    "an entry of an empty list": lambda model: model.empty.append(bm.Variable(bm.zeros(1))),
    "an entry of an empty dict": lambda model: model.nothing.update(w=np.zeros(3)),
    "a nested name": _renamed,
    "an order": lambda model: model.rows.reverse(),
    "a removed item": lambda model: model.rows.pop(),
    "other keys": lambda model: model.parts.update(x=model.parts.popitem()[1]),
    "a new list": lambda model: setattr(model, "rows", [*model.rows]),
}
NO_CHANGES = {
    "nothing": lambda _: None,
    "a number": lambda model: setattr(model, "number", 7.5),
    "a function": lambda model: setattr(model, "number", len),
    "a value": lambda model: setattr(model.v, "value", model.v.value + 1),
    "the content of an array": lambda model: model.weights.fill(3.0),
}


@pytest.mark.parametrize("change", [*CHANGES, *NO_CHANGES])
def test_a_change_of_the_models_structure_is_detected(change: str) -> None:
    model = Oddities()
    model.number, model.empty, model.nothing = 3, [], {}
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False)
    names = ModelNames(runner)
    assert names.is_unchanged(runner)
    (CHANGES | NO_CHANGES)[change](model)
    assert names.is_unchanged(runner) == (change in NO_CHANGES)


def test_a_reused_address_does_not_hide_a_new_array() -> None:
    model = Oddities()
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False)
    names = ModelNames(runner)
    for _ in range(200):  # until the new array has the same address
        before = id(model.weights)
        model.weights = None
        model.weights = np.ones((2, 3))
        if id(model.weights) == before:
            break
    assert not names.is_unchanged(runner)
    assert ModelNames(runner).is_unchanged(runner)


def test_components_have_names_and_the_model_has_its_class(
    einet: tuple[Any, ModelNames],
) -> None:
    net, names = einet
    named = [(name, reference()) for name, reference in names.components]
    assert named[0] == ("EINet", net)
    assert dict(named)["E"] is net.E
    assert dict(named)["E2E"] is net.E2E
    assert len({id(component) for _, component in named}) == len(named)


def test_other_objects_of_a_runner_are_no_components() -> None:
    runner = bp.DSRunner(Oddities(), monitors=["v"], progress_bar=False)
    runner.other_model = Oddities()
    names = ModelNames(runner)
    assert [reference() for _, reference in names.components] == [runner.target]
    assert _array(names, runner.other_model.gain) == "runner.other_model.gain"


def test_names_from_the_start_of_a_call_hold_for_it() -> None:
    """A step may replace an array, with which it was traced, by a Variable."""
    model = Oddities()
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False)
    earlier = ModelNames(runner)
    gain, model.gain = model.gain, bm.Variable(bm.zeros(2))
    found = _names_of(runner, [model.v, model.gain], [gain], earlier)
    assert (found.states, found.arrays) == (["v", "gain"], ["gain"])


def test_names_keep_no_array_and_no_model_alive() -> None:
    model = Oddities()
    runner = bp.DSRunner(model, monitors=["v"], progress_bar=False)
    _names_of(runner, [model.v], [model.gain])
    references = weakref.ref(model.gain), weakref.ref(model.weights), weakref.ref(runner)
    del model, runner
    gc.collect()
    assert [reference() for reference in references] == [None, None, None]


def test_names_in_a_program_are_unique_and_stable(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        for _ in range(2):
            bp.DSRunner(Oddities(), monitors=["v"], progress_bar=False).run(0.5)
    (program,) = cap.programs
    for specs in (program.arguments, program.results):
        named = [(spec.role, spec.name) for spec in specs]
        assert len(set(named)) == len(named)
    states = {spec.name for spec in program.arguments if spec.role == "state"}
    assert states >= {"v", "rows.0", "rows.1", "delay_of_Oddities", "child.deep.z"}
    assert {spec.name for spec in program.arguments if spec.role == "constant"} >= {"gain"}
    assert not re.search(r"\d{9,}", program.text())


def test_a_walk_visits_each_object_once_by_its_public_path() -> None:
    leaf = SimpleNamespace()
    root = SimpleNamespace(_private=leaf, deep=SimpleNamespace(leaf=leaf), number=3, text="x")
    root.deep.back = root
    visited = list(walk(root))
    assert [(step.parent, step.key, step.obj) for step in visited] == [
        (-1, "", root),
        (0, "deep", root.deep),
        (1, "leaf", leaf),
    ]


def test_the_children_are_attributes_items_and_entries() -> None:
    assert children({"a": 1, 2: "b"}) == [("a", 1), (2, "b")]
    assert children([5, 6]) == [(0, 5), (1, 6)]
    assert children(SimpleNamespace(x=1)) == [("x", 1)]
    assert children(np.zeros(3)) == children(jnp.zeros(3)) == children(len) == children("ab") == []
    assert children([0] * 5000) == []
    assert len(children([leaf := SimpleNamespace()] * 5000)) == 5000, leaf


def test_a_walk_ends_on_objects_that_create_new_ones() -> None:
    class Endless:
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name)

        @property
        def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
            return {"next": Endless()}

    assert len(list(walk(Endless()))) < 1_000
