"""The arguments of capture(): checked before anything runs or is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import brainpy_probe as probe
from brainpy_probe.live.patching import LEDGER
from brainpy_probe.settings import DIALECTS, Settings
from tests.networks import by_name


@pytest.mark.parametrize(
    "dialect",
    ["llvm", "", "HLO", ["stablehlo", "llvm"], [["hlo"]], b"hlo", [], (), None, 3],
    ids=repr,
)
def test_an_unknown_dialect_is_refused_at_the_call(dialect: Any, out: Path) -> None:
    with pytest.raises(probe.UnknownDialect) as refusal:
        probe.capture(out, dialect=dialect)
    assert all(allowed in str(refusal.value) for allowed in DIALECTS)
    assert isinstance(refusal.value, ValueError)
    assert refusal.value.slug == "unknown-dialect"
    assert not out.exists()


def test_the_refusal_names_the_one_unknown_dialect_among_several(out: Path) -> None:
    with pytest.raises(probe.UnknownDialect, match="'llvm'") as refusal:
        probe.capture(out, dialect=["stablehlo", "llvm"])
    assert "llvm" not in refusal.value.remedy


@pytest.mark.parametrize(
    "argument",
    [
        *({"data": data} for data in ("all", "", None, ["none"], True)),
        *({"strict": strict} for strict in (1, 0, "yes", None)),
        *({"out": out} for out in (3, b"x", "", "  ", "a\0b", ["x"])),
        {"out": "~nobody-of-this-name/x"},
    ],
    ids=repr,
)
def test_a_bad_argument_is_refused_at_the_call(
    argument: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(probe.BadSetting):
        probe.capture(**argument)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_folder_below_a_file_is_refused_at_the_call(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(probe.BadSetting, match="is a file"):
        probe.capture(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_call_alone_writes_and_patches_nothing(out: Path) -> None:
    probe.capture(out)
    assert not out.exists()
    assert LEDGER.users == ()


def test_dialects_keep_their_order_and_come_once() -> None:
    asked = (dialect for dialect in ["mhlo", "hlo", "mhlo", "stablehlo", "hlo"])
    assert Settings.of_arguments(dialect=asked).dialects == (
        "mhlo",
        "hlo",
        "stablehlo",
    )


def test_the_first_dialect_is_that_of_the_text_and_no_other_is_written(out: Path) -> None:
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


def test_captures_go_below_the_working_directory_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with probe.capture() as cap:
        monkeypatch.chdir("/")
    assert cap.path.parent == tmp_path / "brainpy-probe"
    assert probe.load(cap.path).manifest.complete


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with probe.capture("~/captures") as cap:
        pass
    assert cap.path.parent == tmp_path / "captures"


def test_a_scope_opens_once(out: Path) -> None:
    scope = probe.capture(out)
    with scope, pytest.raises(probe.BadSetting, match="used already"), scope:
        pass
    with pytest.raises(probe.BadSetting, match="used already"), scope:
        pass
    assert len(list(out.iterdir())) == 1
