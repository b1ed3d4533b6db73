"""The arguments of capture(): they are checked before the block runs and before any write."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import brainpy_probe as probe
from brainpy_probe.recording.patches import ACTIVE
from brainpy_probe.settings import ARGUMENTS, DIALECTS, DUMPS, Settings, variable


@pytest.mark.parametrize(
    "dialect",
    ["llvm", "", "mhlo,,hlo", ["stablehlo", "llvm"], [["hlo"]], b"hlo", [], (), None, 3],
    ids=repr,
)
def test_an_unknown_dialect_is_refused_at_the_call(dialect: Any, out: Path) -> None:
    with pytest.raises(probe.UnknownDialect) as error:
        probe.capture(out, dialect=dialect)
    assert all(allowed in str(error.value) for allowed in DIALECTS)
    assert isinstance(error.value, ValueError)
    assert error.value.slug == "unknown-dialect"
    assert not out.exists()


def test_the_error_names_the_unknown_dialect(out: Path) -> None:
    with pytest.raises(probe.UnknownDialect, match="'llvm'") as error:
        probe.capture(out, dialect=["stablehlo", "llvm"])
    assert "llvm" not in error.value.remedy


@pytest.mark.parametrize(
    "argument",
    [
        *({"data": data} for data in ("all", "", None, ["none"], True)),
        *({"strict": strict} for strict in (1, 0, "yes", None)),
        *({"out": out} for out in (3, b"x", "", "  ", "a\0b", "a\udcff", ["x"])),
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
    (tmp_path / "file").write_text("content")
    with pytest.raises(probe.BadSetting, match="is a file"):
        probe.capture(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "content"


def test_calling_capture_writes_and_patches_nothing(out: Path) -> None:
    probe.capture(out)
    assert not out.exists()
    assert ACTIVE.users == ()


@pytest.mark.parametrize("words", ["mhlo,hlo", "MHLO, hlo", ["MHLO", "hlo"]], ids=repr)
def test_values_are_the_same_in_python_and_in_the_shell(words: Any) -> None:
    settings = Settings.of_arguments(dialect=words, xla_dump="Text,dot", data="Full")
    assert settings.dialects == ("mhlo", "hlo")
    assert settings.xla_dump == ("text", "dot")
    assert settings.data == "full"


def test_dialects_keep_their_order_without_duplicates() -> None:
    dialects = (dialect for dialect in ["mhlo", "hlo", "mhlo", "stablehlo", "hlo"])
    assert Settings.of_arguments(dialect=dialects).dialects == (
        "mhlo",
        "hlo",
        "stablehlo",
    )


def test_arguments_and_fields_come_from_one_table() -> None:
    assert list(inspect.signature(probe.capture).parameters) == list(ARGUMENTS)
    assert [argument.field for argument in ARGUMENTS.values()] == list(Settings.__struct_fields__)


@pytest.mark.parametrize("value", [None, "", "0", "OFF", "False", "no"], ids=repr)
def test_the_environment_is_off_by_default(value: str | None) -> None:
    other = {"BRAINPY_PROBE_DIALECT": "llvm", "BRAINPY_PROBE_FOO": "1"}
    environment = {} if value is None else {"BRAINPY_PROBE": value}
    assert Settings.of_environment(other | environment) is None


def test_the_environment_mirrors_the_arguments(tmp_path: Path) -> None:
    words = {
        "BRAINPY_PROBE": str(tmp_path),
        "BRAINPY_PROBE_DIALECT": "mhlo, hlo",
        "BRAINPY_PROBE_XLA_DUMP": "dot,text",
        "BRAINPY_PROBE_DATA": "full",
        "BRAINPY_PROBE_STRICT": "1",
        "OTHERS": "x",
    }
    assert Settings.of_environment(words) == Settings.of_arguments(
        out=tmp_path, dialect=["mhlo", "hlo"], xla_dump=["text", "dot"], data="full", strict=True
    )
    for value in ("1", "on", "True", "YES"):
        empty = dict.fromkeys(words, "") | {"BRAINPY_PROBE": value}
        assert Settings.of_environment(empty) == Settings()
    settings = Settings.of_environment({"BRAINPY_PROBE": "nothing-else"})
    assert settings is not None
    assert settings.out == "nothing-else"


@pytest.mark.parametrize(
    ("word", "dumps"),
    [("1", DUMPS), ("true", DUMPS), ("0", ()), ("False", ()), ("html", ("html",))],
)
def test_dumps_can_be_all_none_or_some(word: str, dumps: tuple[str, ...]) -> None:
    found = Settings.of_environment({"BRAINPY_PROBE": "1", "BRAINPY_PROBE_XLA_DUMP": word})
    assert found is not None
    assert found.xla_dump == dumps


@pytest.mark.parametrize(
    ("argument", "word", "allowed"),
    [
        ("dialect", "mhlo,,hlo", "stablehlo, mhlo, hlo"),
        ("xla_dump", "2", "text, dot, html, proto"),
        ("data", "1", "none, inputs, full"),
        ("strict", "maybe", "1, 0"),
        ("out", "/dev/null/x", "Give another path"),
        ("out", " ", "Give a non-empty str"),
    ],
)
def test_a_bad_value_is_refused_with_its_variable(argument: str, word: str, allowed: str) -> None:
    with pytest.raises(probe.BadSetting) as error:
        Settings.of_environment({"BRAINPY_PROBE": "1", variable(argument): word})
    assert str(error.value).startswith(f"{variable(argument)}={word!r}: ")
    assert allowed in str(error.value)


def test_an_unknown_variable_is_refused() -> None:
    environment = {"BRAINPY_PROBE": "1", "BRAINPY_PROBE_DIALECTS": "mhlo"}
    with pytest.raises(
        probe.BadSetting, match="Unknown environment variable BRAINPY_PROBE_DIALECTS"
    ) as error:
        Settings.of_environment(environment)
    assert all(variable(argument) in str(error.value) for argument in ARGUMENTS)
