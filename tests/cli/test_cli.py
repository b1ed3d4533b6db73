"""The shell commands: their output and their exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe.cli import app
from brainpy_probe.compat import versions
from brainpy_probe.report.pictures import xla as graph
from tests.networks import LOOP_MODULES, by_name, compiling_runners
from tests.processes import ROOT, Interpreter


@pytest.fixture(scope="module")
def cap(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a capture of two runs with XLA's dot files."""
    case = by_name("lif")
    runners = compiling_runners("lif", 2)
    parent = tmp_path_factory.mktemp("cli") / "brainpy-probe"
    with probe.capture(parent, xla_dump="dot", strict=True) as cap:
        for runner in runners:
            case.run(runner)
    return cap


def _run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_show_prints_the_same_as_print(cap: Any) -> None:
    shown = _run("show", cap.path)
    assert shown.exit_code == 0
    assert shown.stdout == f"{cap}\n"


def test_the_summary_has_modules_reasons_and_findings(cap: Any) -> None:
    text, details = str(cap), cap.details()
    assert "of the calls: 1 for the first time, 1 the same program again" in text
    assert "recompiled-identical: 1 module of" in text
    assert "->" not in text
    for words in ("module  name", "first time", "the same program again", "->"):
        assert words in details
    assert f"XLA dumped {len(cap.dump_paths)} files" in details
    assert max(map(len, f"{text}\n{details}".splitlines())) <= 80


def test_a_capture_without_a_run_still_shows_its_modules(out: Path) -> None:
    import jax

    with probe.capture(out, strict=True) as cap:
        jax.jit(lambda x: x + 21)(1.0)
    assert "No model was run." in str(cap)
    assert re.search(r"1 module, .*, outside of the calls", str(cap))
    assert "jit__lambda" in cap.details()


def test_show_with_all_prints_the_details(cap: Any) -> None:
    assert _run("show", cap.path, "--all").stdout == f"{cap.details()}\n"


def test_show_prints_the_manifest_and_findings_as_json(cap: Any) -> None:
    found = json.loads(_run("show", cap.path, "--json").stdout)
    assert [module["reason"] for module in found["manifest"]["modules"]] == ["first", "same"]
    assert "recompiled-identical" in [finding["slug"] for finding in found["findings"]]


def test_show_takes_the_newest_run_by_default(cap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cap.path.parent.parent)
    assert cap.path.name in _run("show").stdout
    assert cap.path.name in _run("show", cap.path.parent).stdout


def test_python_m_brainpy_probe_imports_no_brainpy(cap: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "brainpy_probe", "show", str(cap.path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{cap}\n"
    assert not [line for line in done.stderr.splitlines() if line.endswith((" jax", " brainpy"))]


def test_a_folder_without_a_capture_is_an_error(tmp_path: Path) -> None:
    result = _run("show", tmp_path)
    assert result.exit_code == 1
    assert "There is no capture in" in result.stderr


def test_graph_draws_the_largest_files_of_a_module(cap: Any) -> None:
    result = _run("graph", cap.path, "--xla", "--largest", 2, "--module", "0", "--format", "svg")
    assert result.exit_code == 0, result.stderr
    pictures = [Path(line) for line in result.stdout.splitlines()]
    assert len(pictures) == 2
    assert all(picture.read_text().startswith("<?xml") for picture in pictures)
    sizes = [picture.with_suffix(".dot").stat().st_size for picture in pictures]
    assert sizes == sorted(sizes, reverse=True)


def test_graph_puts_xlas_pictures_on_one_page(cap: Any, tmp_path: Path) -> None:
    page = tmp_path / "xla.html"
    result = _run("graph", cap.path, "--xla", "--largest", 2, "--out", page)
    assert result.stdout == f"{page}\n"
    content = page.read_text()
    assert "img-src data:; " in content
    assert content.count('"packed"') == 2


def test_graph_draws_the_model_by_default(cap: Any, tmp_path: Path) -> None:
    target = tmp_path / "model.svg"
    result = _run("graph", cap.path, "--out", target)
    assert result.stdout == f"{target}\n"
    assert target.read_text().startswith("<svg")
    assert _run("graph", cap.path, "--largest", 1).exit_code == 2


def test_graph_rejects_an_unknown_module(cap: Any) -> None:
    result = _run("graph", cap.path, "--xla", "--module", "jit_none")
    assert result.exit_code == 2
    assert re.search(f"Allowed: ({'|'.join(LOOP_MODULES)})", result.stderr)


def test_graph_prints_the_command_that_installs_its_extra(
    cap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "find_spec", lambda _: None)
    result = _run("graph", cap.path, "--xla")
    assert result.exit_code == 1
    assert "pip install 'brainpy-probe[graph]'" in result.stderr


def test_the_help_names_every_command() -> None:
    printed = _run("--help").stdout
    assert all(f" {name} " in printed for name in ("run", "show", "graph", "doctor"))
    assert "--install-completion" in printed


def test_the_help_of_graph_names_its_extra() -> None:
    assert "brainpy-probe[graph]" in _run("graph", "-h").stdout


def test_the_version_is_printed() -> None:
    assert _run("--version").stdout == f"brainpy-probe {version('brainpy-probe')}\n"


def test_an_option_of_run_after_the_script_gets_a_hint(tmp_path: Path) -> None:
    result = _run("run", tmp_path / "none.py", "--dialect=mhlo", "--other")
    assert "hint: --dialect=mhlo after" in result.stderr
    assert "--other" not in result.stderr


def test_an_unknown_command_is_wrong_usage() -> None:
    assert _run("shwo").exit_code == 2


# --- doctor: in real interpreters, because it examines its own process --------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter that has brainpy_probe.pth in its site-packages."""
    return Interpreter.make(tmp_path_factory.mktemp("python"), with_pth=True)


def _doctor(
    python: Interpreter, before: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    source = f"import sys\n{before}\nfrom brainpy_probe.cli import app\napp()"
    return python.run(["-c", source, "doctor", *options], ROOT, **environment)


def test_doctor_lists_private_names_and_passes_its_trial(python: Interpreter, out: Path) -> None:
    done = _doctor(python, "", "--json", BRAINPY_PROBE=str(out))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problem"] == ""
    places = {private["name"]: private["place"] for private in found["private_names"]}
    assert set(places) == set(versions.expected())
    assert places["runner"] == "brainpy:DSRunner"
    assert all(private["holds"] and private["what"] for private in found["private_names"])
    assert found["versions"]["brainpy"] == version("brainpy")
    assert found["stack"] in {tested.name for tested in versions.TESTED}
    assert found["activation"]["variable"] == str(out)
    assert not out.exists(), "the trial left a folder"


def test_doctor_fails_where_a_private_name_is_missing(python: Interpreter) -> None:
    done = _doctor(
        python,
        "import dataclasses\n"
        "from brainpy_probe.compat.versions import NAMES\n"
        "NAMES['runner'] = dataclasses.replace(NAMES['runner'], places=('brainpy:Nope',))",
    )
    assert done.returncode == 1, done.stderr
    assert "runner: NOT FOUND; tried brainpy:Nope (module 'brainpy' has no attribute" in done.stdout
    assert "can capture here: NO: The probe can't find BrainPy's DSRunner" in done.stdout
    assert "compiler: jax._src." in done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_reports_that_brainpy_and_jax_are_missing(python: Interpreter) -> None:
    without_packages = "sys.modules.update(brainpy=None, jax=None, jaxlib=None, brainstate=None)"
    done = _doctor(python, without_packages)
    assert done.returncode == 1
    assert "NO: brainpy and jax can't be imported here: pip install" in done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_reports_wrong_variables_and_the_pth_file(
    tmp_path: Path,
) -> None:
    python = Interpreter.make(tmp_path / "venv", with_pth=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    block = "import sys; sys.modules.update(brainpy=None, jax=None)\n"
    (packages / "a_block.pth").write_text(block)
    words = ["-m", "brainpy_probe", "doctor"]
    done = python.run(words, tmp_path, BRAINPY_PROBE="1", BRAINPY_PROBE_DATA="all")
    assert f"brainpy_probe.pth: {packages / 'brainpy_probe.pth'}" in done.stdout
    assert "BRAINPY_PROBE: '1'" in done.stdout
    assert "started in this process: yes" in done.stdout
    assert "BRAINPY_PROBE_DATA='all'" in done.stdout
    (packages / "brainpy_probe.pth").unlink()
    done = python.run(words, tmp_path)
    assert "brainpy_probe.pth: not in this interpreter's site-packages" in done.stdout
    assert "started in this process: no" in done.stdout
