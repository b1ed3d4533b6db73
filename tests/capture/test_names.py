"""The names in a capture are correct, unique and the same in every dialect and process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.format.digests import digest_of
from brainpy_probe.ir import locations
from brainpy_probe.recording.model import pytrees
from brainpy_probe.recording.model.names import ModelNames
from tests import eras

_bp: Any = bp

# A Chinese word, a combining accent (which Python's re does not count as a word character), and a
# ligature that NFKC normalization changes.
_UNICODE_NAMES = ("兴奋", "e\u0301", "ﬁ")


class Chain(eras.Group):
    """A chain of neuron groups with the given names, each driven by the previous one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, eras.LifRef(4))
        self.parts = [getattr(self, name) for name in names]

    def update(self, *_: Any) -> Any:
        drive: Any = 20.0
        for part in self.parts:
            part(drive)
            drive = part.V.value
        return drive


def _costs(model: Any, out: Path, dialect: str) -> dict[str, tuple[int, int]]:
    with probe.capture(out, dialect=dialect, data="none", strict=True) as cap:
        bp.DSRunner(model, progress_bar=False).run(0.3)
    costs = cap.programs[0].costs
    return {row.component: (row.step.ops, row.state) for row in costs.components}


@pytest.mark.parametrize("dialect", ["stablehlo", "hlo"])
def test_components_with_unicode_names_have_costs(dialect: str, out: Path) -> None:
    plain = _costs(Chain(("a", "b", "c")), out / "plain", dialect)
    assert plain["a"][0] > 5
    cls = type("网络", (Chain,), {})
    found = _costs(cls(_UNICODE_NAMES), out / "unicode", dialect)
    for name, ascii_name in zip(_UNICODE_NAMES, "abc", strict=True):
        assert found[name] == plain[ascii_name]
    assert found["网络"] == plain["Chain"]
    assert len(found) == len(plain)


@pytest.mark.parametrize("name", ["兴奋", 'a"b', "a\\b", "a\\41", "tab\there", "", "plain"])
def test_strings_are_escaped_as_mlir_prints_them(name: str) -> None:
    from brainpy_probe.compat import bindings

    ir = bindings.take("mlir")
    with bindings.mlir_context():
        printed = str(ir.StringAttr.get(name))[1:-1]
    assert locations._escape(name) == printed
    assert locations._unescape(printed) == name


class Alike(eras.Group):
    """A model with equal arrays and with children that have no names."""

    def __init__(self) -> None:
        super().__init__(eras.LifRef(3), eras.LifRef(3), E=eras.LifRef(3))
        self.v = bm.Variable(bm.zeros(3))
        self.w_in, self.w_out = np.ones(3, np.float32), np.ones(3, np.float32)
        self.wide_in, self.wide_out = np.full(3, 2.0), np.full(3, 2.0)  # JAX converts to float32

    def update(self, *_: Any) -> Any:
        parts = self.nodes("relative", level=1, include_self=False).unique().values()
        for part in parts:
            part(20.0)
        v = self.v.value * self.w_out * self.wide_out
        self.v.value = v + self.w_in - self.wide_in
        return self.v.value


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Return a capture of two runs with monitors of similar names, and the first run's monitors."""
    model = Alike()
    monitors: Any = {
        "a": lambda *_: {"b": bm.as_jax(model.v)},
        "a.b": lambda *_: bm.as_jax(model.v) * 3.0,
    }
    runner = bp.DSRunner(model, monitors=monitors, progress_bar=False)
    with probe.capture(tmp_path_factory.mktemp("alike"), data="full", strict=True) as cap:
        runner.run(0.35)
        first_monitors = {
            k: np.asarray(jax.tree_util.tree_leaves(runner.mon[k])[0]) for k in ("a", "a.b")
        }
        for array in (model.w_in, model.wide_in):
            array += 1
        runner.run(0.35)
    return cap, first_monitors


def test_monitors_with_similar_names_are_all_recorded(alike: tuple[Any, Any]) -> None:
    cap, first_monitors = alike
    arrays = cap.programs[0].data("results")
    assert np.array_equal(arrays["monitors/a.b"], first_monitors["a.b"])
    assert np.array_equal(arrays["monitors/a['b']"], first_monitors["a"])


def test_equal_arrays_have_their_own_names(alike: tuple[Any, Any]) -> None:
    cap, _ = alike
    # Equal contents do not identify them: different values by name give the expected result.
    arrays = cap.programs[0].data()
    expected_names = {"w_in", "w_out", "wide_in", "wide_out"}
    assert {
        key.partition("/")[2] for key in arrays if key.startswith("constants/w")
    } == expected_names
    names = sorted(f"constants/{name}" for name in expected_names)
    overrides = {name: np.full(3, 10.0**n, np.float32) for n, name in enumerate(names)}
    made = cap.programs[0].replay(overrides={**arrays, **overrides}).results["state/v"]
    v = np.float32(0)
    for _ in range(3):
        v = v * np.float32(10) * np.float32(1000) + np.float32(1) - np.float32(100)
    assert np.array_equal(made, np.full(3, v))


def test_an_array_changed_in_place_is_read_again(alike: tuple[Any, Any]) -> None:
    cap, _ = alike
    first, second = (call.digests for call in cap.calls)
    changed = {key for key in first if first[key] != second[key] and "constants/w" in key}
    assert changed == {"in/constants/w_in", "in/constants/wide_in"}
    assert second["in/constants/w_in"] == digest_of(np.full(3, 2, np.float32).tobytes())
    assert second["in/constants/wide_in"] == digest_of(np.full(3, 3, np.float32).tobytes())
    names = {spec.name for spec in cap.calls[1].program.arguments}
    assert names == {spec.name for spec in cap.calls[0].program.arguments}


def test_children_are_named_as_given_or_after_their_class(alike: tuple[Any, Any]) -> None:
    cap, _ = alike
    lif = type(eras.LifRef(1)).__name__
    assert set(cap.programs[0].record.components) == {"Alike", "E", lif, f"{lif}_2"}
    states = {spec.name for spec in cap.programs[0].arguments if spec.role == "state"}
    assert states >= {"v", "E.V", f"{lif}.V", f"{lif}_2.V"}


def test_leaves_with_similar_paths_have_unique_names() -> None:
    tree = {"a": {"b": 1, "c": [2]}, "a.b": 3, "a['b']": 4, "": 5, "value": 6}
    named = pytrees.named_leaves(("", tree))
    assert {"a.b": 3, "a['b']": 4, "a.c.0": 2}.items() <= named.items()
    assert sorted(named.values()) == [1, 2, 3, 4, 5, 6]
    assert pytrees.named_leaves(("", dict(reversed(tree.items())))) == named
    several = pytrees.named_leaves(("s", {"b": 1}), ("s.b", 2))
    assert several == {"s['b']": 1, "s.b": 2}
    assert pytrees.leaf_names([("s", {"b": 1}), ("s.b", 2)]) == [["s['b']"], ["s.b"]]


def test_a_copy_of_two_equal_arrays_has_no_name() -> None:
    model = Alike()
    model.wide_in[:] = model.wide_out[:] = 1, 2, 4
    names = ModelNames(bp.DSRunner(model, progress_bar=False))
    copied = np.array([1, 2, 4], np.float32)
    found, (note,) = names.arrays([model.w_in, model.w_out, copied, np.ones(3)])
    assert found == ["w_in", "w_out", None, None]
    assert "wide_in, wide_out" in note
    assert names.arrays([copied]) == ([None], [note])
    model.wide_in[:] = 7, 7, 1
    assert names.arrays([model.wide_in.copy()]) == (["wide_in"], [])
    # Equal values that do not identify a copy: another dtype, and a constant array.
    assert names.arrays([np.array([1, 2, 4])]) == ([None], [])
    model.wide_in[:] = 7
    assert names.arrays([model.wide_in.copy()]) == ([None], [])


class Projected(eras.Group):
    """Projections for which BrainPy stores children under generated names in the neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.A, self.B = eras.LifRef(4), eras.LifRef(4)
        options: Any = {"comm": _bp.dnn.AllToAll(4, 4, 0.1), "out": _bp.dyn.COBA(E=0.0)}
        self.early = _bp.dyn.FullProjAlignPreSD(
            pre=self.A, post=self.B, delay=1.0, syn=_bp.dyn.Expon(4, tau=5.0), **options
        )
        options = {"comm": _bp.dnn.AllToAll(4, 4, 0.1), "out": _bp.dyn.COBA.desc(E=0.0)}
        self.late = _bp.dyn.FullProjAlignPostMg(
            pre=self.B, post=self.A, delay=2.0, syn=_bp.dyn.Expon.desc(4, tau=5.0), **options
        )

    def update(self) -> Any:
        self.early()
        self.late()
        self.A(20.0)
        return self.B(20.0)


@pytest.mark.skipif(not eras.SINCE_2_4, reason="BrainPy 2.4 added these projections")
def test_names_have_no_counter_and_links_name_both_ends(out: Path) -> None:
    with probe.capture(out, data="none", strict=True) as cap:
        for _ in range(2):
            bp.DSRunner(Projected(), progress_bar=False).run(0.3)
    (program,) = cap.programs
    states = {spec.name for spec in program.arguments if spec.role == "state"}
    assert {"early.refs.syn.g", "early.refs.delay.data", "late.refs.syn.g"} <= states
    names = [*states, *program.record.components]
    assert not [name for name in names if re.search(r"[A-Za-z]\d|\d{2}", name)]
    assert program.record.links == {"early": ("A", "B"), "late": ("B", "A")}
    assert any(name.endswith("after_updates.early") for name in names)
