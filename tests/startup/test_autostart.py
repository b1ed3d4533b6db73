"""Activation by environment variables: unchanged scripts in real interpreters."""

from __future__ import annotations

import socket
from importlib.metadata import version
from pathlib import Path

import pytest

import brainpy_probe as probe
from tests import eras
from tests.processes import Interpreter

pytestmark = pytest.mark.every_stack

# A network that every BrainPy since 2.3 has. Importing this module imports BrainPy.
NET = """
import brainpy as bp

def runner(kind=bp.DSRunner, **options):
    return kind(bp.neurons.LIF(4), inputs=("input", 20.0), progress_bar=False, **options)

def run(duration=5.0):
    return runner(monitors=["V"]).run(duration)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter that has brainpy_probe.pth in its site-packages."""
    return Interpreter.make(tmp_path_factory.mktemp("active"), with_pth=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter that lacks only brainpy_probe.pth."""
    return Interpreter.make(tmp_path_factory.mktemp("bare"), with_pth=False)


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Return a working directory with the network in it."""
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def _captures(folder: Path) -> list[probe.Capture]:
    return [probe.load(run) for run in sorted(folder.glob("run-*"))]


def _only(folder: Path) -> probe.Capture:
    (capture,) = _captures(folder)
    return capture


def _imported_modules(interpreter: Interpreter, cwd: Path, **environment: str) -> set[str]:
    done = interpreter.run(["-X", "importtime", "-c", "pass"], cwd, **environment)
    lines = done.stderr.splitlines()
    assert all(line.startswith("import time:") for line in lines), done.stderr
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("value", [None, "", "0", "Off"], ids=repr)
def test_a_probe_that_is_off_imports_nothing(
    python: Interpreter, bare: Interpreter, tmp_path: Path, value: str | None
) -> None:
    environment = {} if value is None else {"BRAINPY_PROBE": value}
    assert _imported_modules(python, tmp_path, **environment) == _imported_modules(bare, tmp_path)


def test_the_start_imports_no_module_that_reads_variables(
    python: Interpreter, tmp_path: Path
) -> None:
    imported = _imported_modules(python, tmp_path, BRAINPY_PROBE="1")
    assert "brainpy_probe.startup.autostart" in imported
    assert not imported & {"jax", "jaxlib", "brainpy", "brainstate", "numpy", "loguru", "rich"}
    assert not list(tmp_path.iterdir())


UNCHANGED_SCRIPT = """
import io, os, sys, threading, types
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
os.environ["LOGURU_LEVEL"] = "WARNING"
sys.stderr = own = io.StringIO()
from loguru import logger
import jax
jax.config.update("jax_enable_x64", True)
assert sys.argv[1:] == ["--its", "own"], sys.argv
assert __name__ == "__main__"
assert jax.device_count() == 3
import net
assert not os.path.exists("captures"), "the folder exists before the first run"
del os.environ["BRAINPY_PROBE"]
os.mkdir("elsewhere")
os.chdir("elsewhere")

net.run()
# BrainPy 2.8 can't run in a thread; the failed call is recorded all the same.
thread = threading.Thread(target=net.runner().run, args=(5.0,), name="worker")
thread.start()
thread.join()

# A runner with copies of BrainPy's methods, as in scripts that modify them.
copies = {}
for name in ("predict", "_predict"):
    method = vars(net.bp.DSRunner)[name].__wrapped__
    copies[name] = types.FunctionType(
        method.__code__, method.__globals__, name, method.__defaults__, method.__closure__
    )
net.runner(type("Own", (net.bp.DSRunner,), copies)).run(1.0)

import brainpy_probe
with brainpy_probe.capture("inner") as inner:
    net.run()
assert len(inner.calls) == 1
logger.info("not shown")
logger.warning("the script's own")
sys.stdout.write(own.getvalue())
"""


def test_an_unchanged_script_is_captured_without_side_effects(
    python: Interpreter, cwd: Path
) -> None:
    (cwd / "script.py").write_text(UNCHANGED_SCRIPT)
    done = python.run(
        ["script.py", "--its", "own"],
        cwd,
        BRAINPY_PROBE="captures",
        BRAINPY_PROBE_DIALECT="mhlo,hlo",
        BRAINPY_PROBE_XLA_DUMP="text",
        BRAINPY_PROBE_DATA="none",
    )
    assert done.returncode == 0, done.stderr
    assert "the script's own" in done.stdout
    assert "not shown" not in done.stdout + done.stderr
    captured = _only(cwd / "captures")
    assert captured.manifest.complete
    threads = [call.record.thread for call in captured.calls]
    assert threads == ["MainThread", "worker", "MainThread", "MainThread"]
    assert [call.error for call in captured.calls if call.record.thread != "worker"] == [None] * 3
    assert captured.programs[0].dialects == ("mhlo", "hlo")
    assert captured.programs[0].fidelity.proved
    assert captured.dump_paths
    inner = _only(cwd / "elsewhere" / "inner")
    assert [call.steps for call in inner.calls] == [50]
    assert not list(captured.path.rglob("*.safetensors"))
    assert list(inner.path.rglob("*.safetensors"))


# As in a test runner: stderr is replaced while the script runs, and the replacement is closed.
PACKAGE = """
import io, sys
sys.stderr, original = io.StringIO(), sys.stderr
from loguru import logger
from . import net
net.run()
sys.stderr.close()
sys.stderr = original
sys.exit(3)
"""
ENDS = {
    "raises": ("raise ValueError('its own')", 1),
    "interrupted": ("raise KeyboardInterrupt", -2),
}


def _assert_complete(folder: Path, printed: str) -> probe.Capture:
    captured = _only(folder / "brainpy-probe")
    assert captured.manifest.complete
    assert len(captured.calls) == 1
    assert "1 call, 1 program, 1 module for them" in printed
    assert f"brainpy-probe show {captured.path}" in printed
    return captured


@pytest.mark.parametrize("end", ENDS)
def test_a_capture_is_complete_however_python_ends(
    python: Interpreter, cwd: Path, end: str
) -> None:
    source, code = ENDS[end]
    done = python.fork(f"import net; net.run(); {source}", cwd, BRAINPY_PROBE="1")
    assert done.returncode == code, done.stderr
    _assert_complete(cwd, done.stderr)
    assert done.stderr.count("Traceback") == 1


def test_the_summary_goes_to_the_final_stderr(python: Interpreter, cwd: Path) -> None:
    """The summary is printed to sys.stderr as it is at exit, even if that encodes only ASCII."""
    package = cwd / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import net\n")
    (package / "__main__.py").write_text(PACKAGE)
    only_ascii = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = python.run(["-m", "package"], cwd, BRAINPY_PROBE="1", **only_ascii)
    assert done.returncode == 3, done.stderr
    _assert_complete(cwd, done.stderr)
    (line,) = (line for line in done.stderr.splitlines() if "probe" in line)
    assert line.startswith("brainpy-probe: 1 call, 1 program, 1 module for them")
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


KILLED = """
import os, signal, threading, net
net.run()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
net.runner().run(1e6)
"""
KILLS = {"killed": (KILLED, -15), "exits at once": ("import net, os; net.run(); os._exit(4)", 4)}


@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_process_keeps_the_calls_that_had_ended(
    python: Interpreter, cwd: Path, kill: str
) -> None:
    source, code = KILLS[kill]
    done = python.fork(source, cwd, BRAINPY_PROBE="1")
    assert done.returncode == code, done.stderr
    captured = _only(cwd / "brainpy-probe")
    assert not captured.manifest.complete
    (call,) = captured.calls
    assert call.program is not None
    assert "func.func public @main" in call.program.text()
    assert call.program.data()
    assert "was killed, or is still running" in str(captured)


EXEC_SCRIPT = """
import os, sys, net
net.run()
if sys.argv[1:] != ["again"]:
    os.execv(sys.executable, [sys.executable, "exec.py", "again"])
"""


def test_a_process_that_calls_exec_keeps_its_finished_calls(python: Interpreter, cwd: Path) -> None:
    (cwd / "exec.py").write_text(EXEC_SCRIPT)
    done = python.fork(EXEC_SCRIPT, cwd, BRAINPY_PROBE="1")
    assert done.returncode == 0, done.stderr
    before, after = sorted(
        _captures(cwd / "brainpy-probe"), key=lambda captured: captured.manifest.complete
    )
    assert not before.manifest.complete
    assert after.manifest.complete
    assert before.manifest.environment.pid == after.manifest.environment.pid
    assert [len(captured.calls) for captured in (before, after)] == [1, 1]


CHILDREN = """
import multiprocessing, os, sys, work

forked = os.fork()
if not forked:
    work.work()
    sys.exit(0)
multiprocessing.set_forkserver_preload(["jax.numpy", "matplotlib.pyplot", "numba"])
children = [
    multiprocessing.get_context(method).Process(target=work.work)
    for method in ("fork", "spawn", "forkserver", "fork", "forkserver", "forkserver", "fork")
]
for child in children:
    child.start()
for child in children:
    child.join()
print([child.exitcode for child in children], os.waitpid(forked, 0)[1])
"""
WORK = """
def work():
    import net
    net.run()
"""


def test_eight_processes_of_all_start_methods_are_captured(python: Interpreter, cwd: Path) -> None:
    (cwd / "work.py").write_text(WORK)
    done = python.fork(CHILDREN, cwd, BRAINPY_PROBE="1")
    assert done.stdout == "[0, 0, 0, 0, 0, 0, 0] 0\n", done.stderr
    captures = _captures(cwd / "brainpy-probe")
    assert [captured.manifest.complete for captured in captures] == [True] * 8
    assert [len(captured.calls) for captured in captures] == [1] * 8
    assert len({captured.manifest.environment.pid for captured in captures}) == 8
    for captured in captures:
        # BrainPy 2.4 to 2.6 order the Variables of a loop by address.
        if not eras.ORDERS_BY_IDS:
            assert captured.programs[0].text() == captures[0].programs[0].text()
        assert f"brainpy-probe show {captured.path}\n" in done.stderr
    assert "no model was run" not in done.stderr


FORK_AFTER_CAPTURE = """
import multiprocessing, os, net
import brainpy_probe as probe
from brainpy_probe.recording.patches import ACTIVE

net.run()
worker = multiprocessing.get_context("fork").Process(target=lambda: ACTIVE.users[0]._opened())
worker.start()
worker.join()
try:
    with probe.capture("inner") as inner:
        net.run()
        child = os.fork()
        if not child:
            whole, _ = ACTIVE.users
            assert f"-{os.getpid()}" in str(whole._opened().folder.path)
            print("own folder", flush=True)
            raise InterruptedError
        os.waitpid(child, 0)
        assert not probe.load(inner.path).manifest.complete, "finished by the child"
        net.run()
except InterruptedError:
    os._exit(0)  # JAX can't shut down in a forked process
"""


def test_a_forked_process_does_not_touch_its_parents_captures(
    python: Interpreter, cwd: Path
) -> None:
    done = python.fork(FORK_AFTER_CAPTURE, cwd, BRAINPY_PROBE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "own folder\n"
    assert done.stderr.count("brainpy-probe show") == 2
    captures = [_only(cwd / "inner"), *_captures(cwd / "brainpy-probe")]
    assert sorted(len(capture.calls) for capture in captures if capture.manifest.complete) == [
        0,
        2,
        3,
    ]
    assert [len(capture.calls) for capture in captures if not capture.manifest.complete] == [0]


def _blocked(name: str) -> str:
    return f"import sys; sys.modules[{name!r}] = None; import net; net.run(); print('continued')"


NO_PRIVATE_NAME = """
import dataclasses
from brainpy_probe.compat import versions
from brainpy_probe.compat.lookup import NAMES
NAMES["compiler"] = dataclasses.replace(NAMES["compiler"], places=("jax.nowhere:compiler",))
import net; net.run(); print("continued")
"""
FULL = """
import net, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
net.run(); net.run(); print("continued")
"""
# The first run precedes close(): JAX 0.4.13 writes to stderr when its backend starts.
CLOSED = "import net, sys; net.run(); sys.stderr.close(); net.run(); print('continued')"

# The script, BRAINPY_PROBE, and the line on stderr. None: stderr is closed, which is no failure, so
# that the script runs with BRAINPY_PROBE_STRICT=1.
FAILURES: dict[str, tuple[str, str, str | None]] = {
    "unwritable": (
        "import net; net.run(); net.run(); print('continued')",
        "/proc/nowhere",
        "No capture can be written in /proc/nowhere: No such file or directory. Give a folder in "
        "which you may write, with capture(out=...) or BRAINPY_PROBE. The simulation went on.",
    ),
    "full": (FULL, "1", "File too large"),
    "no private name": (NO_PRIVATE_NAME, "1", "Tried: jax.nowhere:compiler"),
    "no loguru": (_blocked("loguru"), "1", "import of loguru halted"),
    "closed stderr": (CLOSED, "1", None),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_probe_does_not_stop_the_script(
    python: Interpreter, cwd: Path, name: str
) -> None:
    source, place, message = FAILURES[name]
    variables = {"BRAINPY_PROBE": place, "BRAINPY_PROBE_STRICT": "01"[message is None]}
    done = python.fork(source, cwd, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "continued\n"
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "probe: " in line or "Warning: " in line]
    again = [line for line in lines if "The probe failed" in line and " times: " in line]
    assert len(lines) == (0 if message is None else 1 + len(again))
    assert len(again) == (name in ("unwritable", "full"))
    if message is not None:
        assert message in done.stderr
    assert "no model was run" not in done.stderr
    runs = list(cwd.glob("brainpy-probe/*"))
    assert len(runs) == (name == "closed stderr")
    assert all((run / "manifest.json").exists() for run in runs)


def test_a_script_without_stderr_is_captured(python: Interpreter, cwd: Path) -> None:
    words = ["-c", f"{python.python} -c 'import net; net.run(); print(1)' 2>&-"]
    done = Interpreter(Path("/bin/sh")).run(words, cwd, BRAINPY_PROBE="1")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert len(_only(cwd / "brainpy-probe").calls) == 1


def test_a_process_that_runs_no_model_creates_no_folder(python: Interpreter, cwd: Path) -> None:
    done = python.fork("import net", cwd, BRAINPY_PROBE="1")
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "probe" in line]
    assert "no model was run in process" in line
    assert not (cwd / "brainpy-probe").exists()


def test_a_process_without_brainpy_prints_nothing(python: Interpreter, tmp_path: Path) -> None:
    done = python.run(["-c", "print(1)"], tmp_path, BRAINPY_PROBE="1", BRAINPY_PROBE_DATA="full")
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert not list(tmp_path.iterdir())


BAD_VARIABLES = [
    ({"BRAINPY_PROBE_DIALECT": "mhlo,llvm"}, "BRAINPY_PROBE_DIALECT='mhlo,llvm': Unknown dialect"),
    ({"BRAINPY_PROBE_XLA_DUMP": "pdf"}, "Allowed: one or several of text, dot, html, proto"),
    ({"BRAINPY_PROBE_DATA": "all"}, "Allowed: none, inputs, full"),
    ({"BRAINPY_PROBE_STRIKT": "1"}, "Unknown environment variable BRAINPY_PROBE_STRIKT. Allowed:"),
    ({"BRAINPY_PROBE": "/dev/null"}, "/dev/null is a file"),
]


@pytest.mark.parametrize(("environment", "message"), BAD_VARIABLES, ids=lambda value: str(value))
def test_a_bad_value_gives_one_line_and_the_script_runs(
    python: Interpreter, tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    done = python.run(["-c", "print(1)"], tmp_path, **{"BRAINPY_PROBE": "1", **environment})
    assert (done.returncode, done.stdout) == (0, "1\n")
    (line,) = done.stderr.splitlines()
    assert message in line
    assert line.endswith("The script runs without the probe.")


@pytest.mark.parametrize(("environment", "message"), BAD_VARIABLES, ids=lambda value: str(value))
def test_a_strict_bad_value_stops_the_script_before_it_starts(
    python: Interpreter, tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    variables = {"BRAINPY_PROBE": "1", "BRAINPY_PROBE_STRICT": "1", **environment}
    done = python.run(["-c", "print(1)"], tmp_path, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_missing_dependency_at_the_start_gives_one_line(tmp_path: Path) -> None:
    name = "msgspec"
    broken = Interpreter.make(tmp_path / "broken", with_pth=True)
    (packages,) = (tmp_path / "broken").glob("lib/python*/site-packages")
    (packages / "a_block.pth").write_text(f"import sys; sys.modules[{name!r}] = None\n")
    done = broken.run(["-c", "print(1)"], tmp_path, BRAINPY_PROBE="1")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert set(done.stderr.splitlines()) == {done.stderr.splitlines()[0]}
    assert f"import of {name} halted" in done.stderr


TWO_RANKS = """
import os, sys, jax
other = os.fork()  # at exit JAX waits for the other process
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(not other))
import net
net.run()
print(jax.process_count(), flush=True)
"""


def test_each_rank_of_a_distributed_run_has_its_folder(python: Interpreter, cwd: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = python.fork(TWO_RANKS, cwd, address, BRAINPY_PROBE="1")
    assert done.returncode == 0, done.stderr
    counts = [int(line) for line in done.stdout.splitlines()]
    # The CPU client of JAX 0.4.13 has no other processes.
    numbered = counts == [2, 2]
    assert numbered or version("jax").startswith("0.4.")
    captures = _captures(cwd / "brainpy-probe")
    found = {captured.manifest.environment.rank: captured.path.name for captured in captures}
    ranks = {rank and rank.index: name for rank, name in found.items()}
    assert set(ranks) == ({0, 1} if numbered else {None})
    if numbered:
        assert all(name.endswith(f"-rank{rank}") for rank, name in ranks.items())
    assert [captured.manifest.complete for captured in captures] == [True, True]
    assert [len(captured.calls) for captured in captures] == [1, 1]


UNTESTED = """
import warnings
warnings.simplefilter("always")
from brainpy_probe.compat import versions
versions.TESTED = (versions.TestedStack("other", "2.9.1", "", "0.12.1"),)
import net
net.run()
import brainpy_probe as probe
with probe.capture("inner"):
    net.run()
"""


def test_an_untested_combination_works_and_is_reported_once(python: Interpreter, cwd: Path) -> None:
    done = python.fork(UNTESTED, cwd, BRAINPY_PROBE="1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("was not tested with the probe") == 1
    for folder in ("inner", "brainpy-probe"):
        captured = _only(cwd / folder)
        assert captured.calls
        assert "Tested: 2.9.1 on 0.12.1" in captured.manifest.environment.untested
        assert "was not tested with the probe" in str(captured)


# Compiles a function while BrainPy is imported, as 2.8.2 does on JAX 0.10.2.
COMPILING = """
import contextlib
from brainpy_probe.compat.import_hooks import around_import

@contextlib.contextmanager
def compiling():
    yield
    import jax
    def compiled_early(x): return x * 3.0
    jax.jit(compiled_early)(2.0)

around_import("brainpy.math", compiling)
import brainpy
"""


def test_a_module_compiled_in_the_import_of_brainpy_is_recorded(
    python: Interpreter, cwd: Path
) -> None:
    no_run = python.fork(COMPILING, cwd, BRAINPY_PROBE="1")
    assert no_run.returncode == 0, no_run.stderr
    assert not (cwd / "brainpy-probe").exists(), "a folder without a run"
    script = f"{COMPILING}\nimport net; net.run()"
    done = python.fork(script, cwd, BRAINPY_PROBE="1", BRAINPY_PROBE_STRICT="1")
    assert done.returncode == 0, done.stderr
    modules = _only(cwd / "brainpy-probe").modules
    (early,) = (module for module in modules if module.name == "jit_compiled_early")
    assert early.record.call is None
    assert all(path.is_file() for path in early.paths.values())
