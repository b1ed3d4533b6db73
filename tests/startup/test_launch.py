"""``brainpy-probe run``: the script runs as with ``python``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe.cli import app
from tests.processes import Interpreter

PRINT_ENVIRONMENT = """
import json, os, sys
if __name__ == "__main__":
    spec = __spec__ and __spec__.name
    hidden = ("BRAINPY_PROBE", "PYTHONPATH")
    print(json.dumps({
        "argv": sys.argv, "path": sys.path, "file": __file__, "spec": spec, "flags": sys.flags[:],
        "package": __package__, "main": sys.modules["__main__"].__name__, "cwd": os.getcwd(),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith(hidden)},
    }))
"""
OWN_ARGUMENTS = ["--help", "-v", "--", "--data", "x"]


@pytest.fixture(scope="module", params=[True, False], ids=["with-pth", "without-pth"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter with and one without brainpy_probe.pth."""
    return Interpreter.make(tmp_path_factory.mktemp("python"), with_pth=request.param)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter without brainpy_probe.pth."""
    return Interpreter.make(tmp_path_factory.mktemp("python"), with_pth=False)


def _run(
    python: Interpreter, cwd: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return python.run(["-m", "brainpy_probe", "run", *words], cwd, **environment)


@pytest.mark.parametrize("words", [["sub/script.py"], ["-m", "package"], ["-m", "package.inner"]])
def test_a_script_has_the_same_environment_as_with_python(
    python: Interpreter, tmp_path: Path, words: list[str]
) -> None:
    for folder in ("sub", "package"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sub" / "script.py").write_text(PRINT_ENVIRONMENT)
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(f"from . import inner\n{PRINT_ENVIRONMENT}")
    (tmp_path / "package" / "inner.py").write_text(PRINT_ENVIRONMENT)
    plain = python.run([*words, *OWN_ARGUMENTS], tmp_path)
    probed = _run(python, tmp_path, *words, *OWN_ARGUMENTS)
    assert probed.returncode == 0, probed.stderr
    assert json.loads(probed.stdout) == json.loads(plain.stdout)
    assert json.loads(probed.stdout)["argv"][1:] == OWN_ARGUMENTS


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("import sys; sys.exit(3)", 3),
        ("def inner():\n    raise ValueError('its own')\n\ninner()", 1),
        ("x = = 1", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_exit_codes_and_tracebacks_are_those_of_python(
    python: Interpreter, tmp_path: Path, source: str, code: int
) -> None:
    (tmp_path / "script.py").write_text(source)
    plain, probed = python.run(["script.py"], tmp_path), _run(python, tmp_path, "script.py")
    assert probed.returncode == plain.returncode == code
    assert probed.stderr == plain.stderr


def test_a_missing_module_gives_the_error_of_python(python: Interpreter, tmp_path: Path) -> None:
    done = _run(python, tmp_path, "-m", "nowhere")
    assert done.returncode == 1
    assert "No module named nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "There is no script nowhere.py. Give a Python file"),
        (["--data", "all", "script.py"], "--data='all': data='all' is not allowed"),
        (["--data", "", "script.py"], "--data='': data='' is not allowed"),
        (["--dialect", "mhlo", "--dialect", "llvm", "script.py"], "Unknown dialect 'llvm'"),
        (["--xla-dump", "pdf", "script.py"], "--xla-dump='pdf'"),
        (["--out", "/dev/null", "script.py"], "/dev/null is a file"),
        (["--nonsense", "script.py"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_wrong_options_are_reported_before_the_script_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    (tmp_path / "script.py").write_text("print('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("the script was started"))
    done = CliRunner().invoke(app, ["run", *words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_wrong_variable_is_reported(bare: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('ran')")
    done = _run(bare, tmp_path, "script.py", BRAINPY_PROBE_DATA="all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "BRAINPY_PROBE_DATA='all'" in done.stderr


def test_options_override_environment_variables(bare: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import json, os\n"
        "print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('BRAINPY_')}))"
    )
    dialects = ["--dialect", "mhlo", "--dialect", "hlo,stablehlo"]
    words = ["--out", "here", *dialects, "--xla-dump", "1", "--strict", "script.py"]
    variables = {"BRAINPY_PROBE_DIALECT": "hlo", "BRAINPY_PROBE_DATA": "none"}
    done = _run(bare, tmp_path, *words, BRAINPY_PROBE="0", **variables)
    assert json.loads(done.stdout) == {
        "BRAINPY_PROBE": str(tmp_path / "here"),
        "BRAINPY_PROBE_DIALECT": "mhlo,hlo,stablehlo",
        "BRAINPY_PROBE_XLA_DUMP": "1",
        "BRAINPY_PROBE_DATA": "none",
        "BRAINPY_PROBE_STRICT": "1",
    }


def test_the_users_own_sitecustomize_is_run(bare: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "sitecustomize.py").write_text(
        "import builtins; builtins.mine = 'its own'"
    )
    (tmp_path / "script.py").write_text("print(mine)")
    done = _run(bare, tmp_path, "script.py", PYTHONPATH=str(tmp_path / "user"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "its own\n", "")


NETWORK = """
import multiprocessing, sys
import brainpy as bp

class Result:
    def __init__(self, values):
        self.values = values

def run(_=None):
    runner = bp.DSRunner(bp.neurons.LIF(4), inputs=("input", 20.0), progress_bar=False)
    return Result(runner.run(5.0))

if __name__ == "__main__":
    run()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (result,) = pool.map(run, [None])
        pool.close()
        pool.join()
    assert type(result) is Result
    sys.exit(5)
"""


def test_a_script_and_its_child_processes_are_captured(bare: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(NETWORK)
    done = _run(bare, tmp_path, "--dialect", "mhlo", "script.py")
    assert done.returncode == 5, done.stderr
    captures = [probe.load(run) for run in (tmp_path / "brainpy-probe").glob("run-*")]
    assert [captured.manifest.complete for captured in captures] == [True, True]
    assert [captured.programs[0].dialects for captured in captures] == [("mhlo",)] * 2
    assert len({captured.manifest.environment.pid for captured in captures}) == 2
    shown = bare.run(["-m", "brainpy_probe", "show"], tmp_path)
    assert shown.returncode == 0
    assert "mhlo " in shown.stdout
