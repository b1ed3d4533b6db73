"""Runs the scripts of tests in other processes, and reads their output.

Most of the time of such a script goes into importing the dependencies of BrainPy. A script that
depends neither on the start of an interpreter nor on variables that JAX reads at its import runs in
a fork of an interpreter that has already imported them.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import resource
import shutil
import signal
import site
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.sharing import made_once

ROOT = Path(__file__).parent.parent

# Environment variables of the test run that a script must not inherit.
_NOT_INHERITED = ("XLA_", "JAX_", "BRAINPY_PROBE", "LOGURU_", "PYTHON")


def _environment(added: dict[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    flags = os.environ["XLA_FLAGS"]
    return {**inherited, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **added}


def start_python(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a script in the repository's root; `arguments` are its ``sys.argv[1:]``."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make the system refuse to write more than `size` bytes to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def killed_capture() -> Path:
    """Return the capture of a process that was killed after one run.

    It is created once per test run: a test that alters it must copy the folder.
    """
    return made_once("killed-capture", _killed_capture)


def _killed_capture(folder: Path) -> Path:
    source = (
        "import os, signal, sys\n"
        "import brainpy_probe as probe\n"
        "from tests.networks import by_name\n"
        "case = by_name('lif'); runner = case.build()\n"
        "with probe.capture(sys.argv[1]):\n"
        "    case.run(runner)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = start_python(source, folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    (run,) = folder.glob("run-*")
    return run


def run_script(
    source: str, *arguments: str | Path, without_jax: bool = False, **environment: str
) -> Any:
    """Run a script, and return the JSON object in its last line of output.

    Parameters
    ----------
    source : str
        The script.
    arguments : str or Path
        Its ``sys.argv[1:]``.
    without_jax : bool
        Whether the script begins before JAX is imported.
    environment : str
        Variables that are added to the environment.
    """
    interpreter = Interpreter(Path(sys.executable))
    # JAX reads its environment variables when it is imported.
    if without_jax or any(name.startswith("JAX_") for name in environment):
        done = interpreter.run(["-c", source, *arguments], ROOT, **environment)
    else:
        done = interpreter.fork(source, ROOT, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter with this checkout and all packages of the tests' own interpreter.

    Parameters
    ----------
    python : Path
        Its executable.
    """

    python: Path

    @classmethod
    def make(cls, folder: Path, *, with_pth: bool) -> Interpreter:
        """Create a virtual environment, with or without brainpy_probe.pth."""
        venv.create(folder, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        paths = [ROOT, *map(Path, site.getsitepackages())]
        # Its name sorts before brainpy_probe.pth: Python reads .pth files in this order.
        (packages / "a_paths.pth").write_text("".join(f"{path}\n" for path in paths))
        if with_pth:
            shutil.copy(ROOT / "brainpy_probe.pth", packages)
        return cls(folder / "bin" / "python")

    @classmethod
    def bare(cls, folder: Path) -> Interpreter:
        """Create a virtual environment with jaxlib and our dependencies, without BrainPy and JAX.

        Its packages are links to those of the tests' own interpreter.
        """
        venv.create(folder, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        lines = requires("brainpy-probe") or ()
        names = [Requirement(line).name for line in lines if ";" not in line]
        for found in _required([*names, "jaxlib"], excluded={"brainpy", "jax"}):
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(Path(str(found.locate_file(top))))
        (packages / "brainpy_probe").symlink_to(ROOT / "brainpy_probe")
        return cls(folder / "bin" / "python")

    def start(
        self, words: Sequence[str | Path], cwd: Path, **environment: str
    ) -> subprocess.Popen[str]:
        """Start the interpreter with these arguments."""
        return subprocess.Popen(
            [self.python, *words],
            cwd=cwd,
            env=_environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, words: Sequence[str | Path], cwd: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the interpreter with these arguments, and wait for its end."""
        return completed(self.start(words, cwd, **environment))

    def fork(
        self, source: str, cwd: Path, *arguments: str | Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in a fork of an interpreter that has imported BrainPy's dependencies.

        The fork reads the .pth files of its interpreter, as an interpreter does at its start.
        """
        return _fork_server(self.python).run(source, cwd, arguments, _environment(environment))


# The dependencies of BrainPy that this stack has, except those that import brainstate, whose import
# starts a capture. Importing them creates no device and no thread.
_PRELOADED = (
    "jax.numpy", "jax.experimental.sparse", "optax", "saiunit", "brainevent",
    "matplotlib.pyplot", "numba",
)  # fmt: skip

_FORK_SERVER = """
import contextlib, gc, importlib, json, os, selectors, site, sys
gc.disable()
for name in json.loads(sys.argv[1]):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert "brainpy" not in sys.modules
gc.freeze()  # otherwise a collection in a fork would copy the pages of the imported modules
gc.enable()

def wait_for(child, *pipes):
    printed = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                more = os.read(key.fd, 1 << 16)
                printed[key.fd] += more
                if not more:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [code, *(text.decode() for text in printed.values())]

for line in sys.stdin:
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        break
    os.close(to_out)
    os.close(to_err)
    print(json.dumps(wait_for(child, out, err)), flush=True)
else:
    sys.exit()
source, arguments, cwd, environment = json.loads(line)
for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), to_out, to_err)):
    os.dup2(file, number)
for pipe in (out, to_out, err, to_err):
    os.close(pipe)
os.chdir(cwd)
os.environ.update(environment)
for folder in site.getsitepackages():
    site.addsitedir(folder)
sys.argv = ["-c", *arguments]
exec(compile(source, "<string>", "exec"), {"__name__": "__main__"})
"""


class _ForkServer:
    """An interpreter that forks for each script.

    Parameters
    ----------
    python : Path
        Its executable.
    """

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _FORK_SERVER, json.dumps(_PRELOADED)],
            env=_environment({"OPENBLAS_NUM_THREADS": "1"}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.communicate)

    def run(
        self, source: str, cwd: Path, arguments: Sequence[str | Path], environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in a fork, and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [str(word) for word in arguments]
        self._process.stdin.write(f"{json.dumps([source, words, str(cwd), environment])}\n")
        self._process.stdin.flush()
        return subprocess.CompletedProcess(words, *json.loads(self._process.stdout.readline()))


@functools.cache
def _fork_server(python: Path) -> _ForkServer:
    return _ForkServer(python)


def _required(names: Iterable[str], excluded: Set[str]) -> list[Distribution]:
    """Return distributions with all of their direct and indirect requirements."""
    found: dict[str, Distribution] = {}
    pending = list(names)
    while pending:
        name = canonicalize_name(pending.pop())
        if name in found or name in excluded:
            continue
        found[name] = distribution(name)
        for word in found[name].requires or ():
            requirement = Requirement(word)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return list(found.values())


def completed(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a process, and return its exit code and output."""
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
