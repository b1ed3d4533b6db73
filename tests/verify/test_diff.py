"""The difference of two captures: the changes and their levels."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import brainpy as bp
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.analysis.difference.marking import changed_numbers, mark
from brainpy_probe.errors import BadSetting
from tests import eras
from tests.commands import assert_error, run
from tests.replaying import captured
from tests.sharing import made_once

pytestmark = pytest.mark.every_stack


class Pair(eras.Group):
    """Two LIF groups with the given names; the first drives the second."""

    def __init__(self, names: tuple[str, str] = ("pre", "post"), gain: float = 1.0) -> None:
        super().__init__()
        self.names = names
        for name in names:
            setattr(self, name, eras.LifRef(4, tau=20.0, V_th=5.0))
        self.weights = np.full((4, 4), 1.5 * gain, np.float32)

    def update(self, *_: Any) -> Any:
        first, second = (getattr(self, name) for name in self.names)
        first(12.0)
        second(first.spike.value.astype("float32") @ self.weights)
        return second.spike.value


_MODELS: dict[str, Any] = {
    "base": Pair,
    "again": Pair,
    "renamed": functools.partial(Pair, ("source", "post")),
    "weights": functools.partial(Pair, gain=2.0),
    "single": functools.partial(eras.LifRef, 4, tau=20.0, V_th=5.0),
}


def _capture(kind: str, folder: Path) -> Path:
    if kind == "single":
        runner = bp.DSRunner(
            bp.neurons.LIF(4), inputs=("input", 25.0), monitors=["V"], progress_bar=False
        )
    else:
        runner = bp.DSRunner(_MODELS[kind](), progress_bar=False)
    with probe.capture(folder, strict=True) as capture:
        runner.run(0.5)
    return capture.path


def _path(kind: str) -> Path:
    return made_once(f"diff-{kind}", functools.partial(_capture, kind))


def test_the_same_model_has_the_same_program() -> None:
    found = probe.diff(_path("base"), _path("again"))
    assert found.same
    assert found.same_program
    assert found.old_identity == found.new_identity != ""
    assert (found.signature, found.updates, found.components, found.data) == ((), (), (), ())
    code, printed = run("diff", _path("base"), _path("again"))
    assert code == 0
    assert printed.startswith("same program: 0 of ")


def test_a_renamed_component_is_reported_as_renamed() -> None:
    found = probe.diff(_path("base"), _path("renamed"), ignore=["costs"])
    assert [(c.kind, c.old, c.new) for c in found.components] == [("renamed", "pre", "source")]
    assert found.same_program
    assert not found.same


def test_changed_weights_are_data_and_can_be_ignored() -> None:
    found = probe.diff(_path("base"), _path("weights"), ignore=["costs"])
    assert (found.same_program, found.same) == (True, False)
    assert found.data == ("weights",)
    code, printed = run("diff", _path("base"), _path("weights"), "--ignore", "data,costs", "--json")
    assert code == 0
    assert json.loads(printed)["data"] == ["weights"]


def test_a_changed_constant_is_named_with_both_values() -> None:
    found = probe.diff(captured("lif").path, _path("single"), ignore=["costs"])
    (update,) = (update for update in found.updates if "state/V" in update.results)
    assert ("20.5", "25") in update.constants or "shapes" in update.levels
    assert "[-20.5-]" in str(found)
    assert "{+25+}" in str(found)
    assert run("diff", captured("lif").path, _path("single"), "--ignore", "costs")[0] == 1


def test_an_unknown_level_to_ignore_is_an_error() -> None:
    with pytest.raises(BadSetting, match="Allowed: data, constants, shapes, costs"):
        probe.diff(_path("base"), _path("again"), ignore=["dates"])
    assert_error(
        "has no program 7", "diff", _path("base"), _path("again"), "--program", 7, exit_code=2
    )


def test_marks_enclose_the_differences() -> None:
    assert mark("V + 20 * x1", "V + 25 * x1") == ("V + [-20-] * x1", "V + {+25+} * x1")
    assert changed_numbers("exp(-0.1 * V - 60)", "exp(-0.2 * V - 60)") == [("-0.1", "-0.2")]
