"""Runs a script of a test's own in a fresh interpreter, and reads what it prints."""

from __future__ import annotations

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
    return {**inherited, "JAX_PLATFORMS": "cpu", **added}


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


def told_by(source: str, *arguments: str | Path, **environment: str) -> Any:
    """Run a script, and return the JSON of its last line.

    Parameters
    ----------
    source : str
        The script.
    arguments : str or Path
        Its ``sys.argv[1:]``.
    environment : str
        What is added to the environment.
    """
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=ROOT,
        env=_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )
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
