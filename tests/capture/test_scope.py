"""The scope that `capture` returns: its dialects, its folder, and a single use."""

from __future__ import annotations

from pathlib import Path

import pytest

import brainpy_probe as probe
from tests.networks import by_name


def test_the_text_of_a_capture_is_in_the_first_dialect(out: Path) -> None:
    case = by_name("lif")
    runner = case.build()
    with probe.capture(out, dialect=["mhlo", "hlo", "mhlo"], strict=True) as cap:
        case.run(runner)
    program = cap.programs[0]
    assert program.dialects == ("mhlo", "hlo")
    assert cap.text == program.text("mhlo") != program.text("hlo")
    assert sorted(path.name for path in cap.path.rglob("program.*")) == [
        "program.hlo.txt",
        "program.mhlo.mlir",
        "program.vhlo.mlirbc",
    ]
    with pytest.raises(probe.BadSetting, match="mhlo, hlo"):
        program.text("stablehlo")


def test_captures_are_below_the_working_directory_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with probe.capture() as cap:
        monkeypatch.chdir("/")
    assert cap.path.parent == tmp_path / "brainpy-probe"
    assert probe.load(cap.path).manifest.complete


def test_a_tilde_expands_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with probe.capture("~/captures") as cap:
        pass
    assert cap.path.parent == tmp_path / "captures"


def test_a_scope_can_be_used_once(out: Path) -> None:
    scope = probe.capture(out)
    with scope, pytest.raises(probe.BadSetting, match="used before"), scope:
        pass
    with pytest.raises(probe.BadSetting, match="used before"), scope:
        pass
    assert len(list(out.iterdir())) == 1
