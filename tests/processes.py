"""Runs a script of a test's own in another process, and reads what it prints.

Most of the seconds of such a script go into importing what BrainPy imports. A script that depends
neither on how an interpreter starts nor on variables that JAX reads at its import is run by a fork
of an interpreter that has imported it.
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

# What would reach a script from the environment of whoever runs the tests.
_NOT_INHERITED = ("XLA_", "JAX_", "BRAINPY_PROBE", "LOGURU_", "PYTHON")


def _environment(added: dict[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    flags = os.environ["XLA_FLAGS"]
    return {**inherited, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **added}


def start_python(source: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a script in the repository's root, with ``sys.argv[1:]``."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Have the system refuse to write more than so many bytes to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def killed_capture() -> Path:
    """Return the capture of a process that was killed after one run.

    It is made once in a test run: a test that alters it copies the folder.
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


def told_by(
    source: str, *arguments: str | Path, without_jax: bool = False, **environment: str
) -> Any:
    """Run a script, and return the JSON of its last line.

    Parameters
    ----------
    source : str
        The script.
    arguments : str or Path
        Its ``sys.argv[1:]``.
    without_jax : bool
        Whether the script begins before JAX is imported.
    environment : str
        What is added to the environment.
    """
    here = Interpreter(Path(sys.executable))
    # JAX reads its own variables when it is imported.
    if without_jax or any(name.startswith("JAX_") for name in environment):
        done = here.run(["-c", source, *arguments], ROOT, **environment)
    else:
        done = here.fork(source, ROOT, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Interpreter:
    """A Python with this checkout and everything that the tests' own Python has.

    Parameters
    ----------
    python : Path
        Its executable.
    """

    python: Path

    @classmethod
    def make(cls, folder: Path, *, with_pth: bool) -> Interpreter:
        """Make a virtual environment, and install brainpy_probe.pth or not."""
        venv.create(folder, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        paths = [ROOT, *map(Path, site.getsitepackages())]
        # Its name stands before ours: Python goes through them in this order.
        (packages / "a_paths.pth").write_text("".join(f"{path}\n" for path in paths))
        if with_pth:
            shutil.copy(ROOT / "brainpy_probe.pth", packages)
        return cls(folder / "bin" / "python")

    @classmethod
    def bare(cls, folder: Path) -> Interpreter:
        """Make a virtual environment of jaxlib and what this package needs, no BrainPy, no JAX.

        Its packages are links to those of the tests' own Python.
        """
        venv.create(folder, symlinks=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        names = [Requirement(one).name for one in requires("brainpy-probe") or () if ";" not in one]
        for found in _required([*names, "jaxlib"], leaving_out={"brainpy", "jax"}):
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(Path(str(found.locate_file(top))))
        (packages / "brainpy_probe").symlink_to(ROOT / "brainpy_probe")
        return cls(folder / "bin" / "python")

    def start(
        self, words: Sequence[str | Path], cwd: Path, **environment: str
    ) -> subprocess.Popen[str]:
        """Start it with these arguments."""
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
        """Run it with these arguments to its end."""
        return ended(self.start(words, cwd, **environment))

    def fork(
        self, source: str, cwd: Path, *arguments: str | Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end where all is imported that BrainPy imports, but not BrainPy.

        The fork reads the .pth files of its interpreter, as each interpreter does at its start.
        """
        return _forking(self.python).run(source, cwd, arguments, _environment(environment))


# What BrainPy imports, as far as this stack has it, but for what imports brainstate, with which a
# capture begins. No device and no thread is there afterwards.
_IMPORTED = (
    "jax.numpy", "jax.experimental.sparse", "optax", "saiunit", "brainevent",
    "matplotlib.pyplot", "numba",
)  # fmt: skip

_FORKING = """
import contextlib, gc, importlib, json, os, selectors, site, sys
gc.disable()
for name in json.loads(sys.argv[1]):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert "brainpy" not in sys.modules
gc.freeze()  # no collection in a fork copies the pages of what was imported
gc.enable()

def ended(child, *pipes):
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
    print(json.dumps(ended(child, out, err)), flush=True)
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


class _Forking:
    """An interpreter that forks for each script.

    Parameters
    ----------
    python : Path
        Its executable.
    """

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _FORKING, json.dumps(_IMPORTED)],
            env=_environment({"OPENBLAS_NUM_THREADS": "1"}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.communicate)

    def run(
        self, source: str, cwd: Path, arguments: Sequence[str | Path], environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [str(word) for word in arguments]
        self._process.stdin.write(f"{json.dumps([source, words, str(cwd), environment])}\n")
        self._process.stdin.flush()
        return subprocess.CompletedProcess(words, *json.loads(self._process.stdout.readline()))


@functools.cache
def _forking(python: Path) -> _Forking:
    return _Forking(python)


def _required(names: Iterable[str], leaving_out: Set[str]) -> list[Distribution]:
    """Return distributions and all that they require, at any depth."""
    found: dict[str, Distribution] = {}
    pending = list(names)
    while pending:
        name = canonicalize_name(pending.pop())
        if name in found or name in leaving_out:
            continue
        found[name] = distribution(name)
        for word in found[name].requires or ():
            requirement = Requirement(word)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return list(found.values())


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a process, and return what it said."""
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
