"""The names in a capture: each right, each its own, in every dialect, in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brainpy as bp
import pytest

import brainpy_probe as probe
from brainpy_probe.xla import locations
from tests import eras

# A Chinese word, an accent that combines with its letter (no word character of Python's re), and a
# letter that NFKC would change if it were written in a script.
_ABROAD = ("兴奋", "e\u0301", "ﬁ")


class Abroad(eras.Group):
    """Neurons under given names, each fed by the one before."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, eras.LifRef(4))
        self.parts = [getattr(self, name) for name in names]

    def update(self, *_: Any) -> Any:
        given: Any = 20.0
        for part in self.parts:
            part(given)
            given = part.V.value
        return given


def _costs(model: Any, out: Path, dialect: str) -> dict[str, tuple[int, int]]:
    with probe.capture(out, dialect=dialect, data="none", strict=True) as cap:
        bp.DSRunner(model, progress_bar=False).run(0.3)
    costs = cap.programs[0].costs
    return {row.component: (row.step.ops, row.state) for row in costs.components}


@pytest.mark.parametrize("dialect", ["stablehlo", "hlo"])
def test_costs_go_to_components_of_any_alphabet(dialect: str, out: Path) -> None:
    plain = _costs(Abroad(("a", "b", "c")), out / "plain", dialect)
    assert plain["a"][0] > 5
    cls = type("网络", (Abroad,), {})
    found = _costs(cls(_ABROAD), out / "abroad", dialect)
    for ours, theirs in zip(_ABROAD, "abc", strict=True):
        assert found[ours] == plain[theirs]
    assert found["网络"] == plain["Abroad"]
    assert len(found) == len(plain)


@pytest.mark.parametrize("name", ["兴奋", 'a"b', "a\\b", "a\\41", "tab\there", "", "plain"])
def test_strings_are_read_as_mlir_prints_them(name: str) -> None:
    from brainpy_probe.xla import bindings

    ir = bindings.take("mlir")
    with bindings.mlir_context():
        printed = str(ir.StringAttr.get(name))[1:-1]
    assert locations._printed(name) == printed
    assert locations._read(printed) == name
