"""Runs the faults: ``python -m tests.mutants [WORD ...]`` takes those whose name has a word.

Each is put into a copy of this checkout, and the tests that it names are run there until one
fails. A test that fails without the fault as well catches nothing: those that failed are run once
more on an unchanged copy. The exit code is 1 if a fault was not caught.

Importing BrainPy and JAX takes longer than most tests: processes that have done so fork for each
fault. Neither has started a thread of its own by then, as XLA has no device yet.
"""

from __future__ import annotations

import importlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.mutants.faults import FAULTS
from tests.mutants.patching import Fault, broken

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "brainpy_probe"
WORKERS = 2
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?::.+?)(?: - .*)?$", re.MULTILINE)
_OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout=120"]


class Ran(NamedTuple):
    """What became of a fault."""

    fault: Fault
    outcome: Literal["caught", "SURVIVED", "BROKEN"]
    seconds: float
    by: str
    output: str


def _copied(folder: Path) -> Path:
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def _pytest(checkout: Path, arguments: list[str]) -> tuple[int, str]:
    """Run tests of a checkout in a forked process; return the exit code and what it printed."""
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if not child:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            os.chdir(checkout)
            sys.path.insert(0, str(checkout))
            for name in [
                name for name in sys.modules if name.partition(".")[0] in ("tests", PACKAGE)
            ]:
                del sys.modules[name]
            # What tests share is of this fault alone.
            shared = tempfile.mkdtemp(dir=checkout.parent)
            os.environ |= {"JAX_PLATFORMS": "cpu", "PROBE_TESTS_FOLDER": shared}
            code = pytest.main([*_OPTIONS, *arguments])
            sys.stdout.flush()
            os._exit(int(code))
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(status), printed.read().decode(errors="replace")


def _run(fault: Fault, checkout: Path) -> Ran:
    path, source = broken(checkout / PACKAGE, fault)
    original = path.read_text()
    begun = time.perf_counter()
    try:
        path.write_text(source)
        code, output = _pytest(checkout, ["-x", *fault.arguments])
    finally:
        path.write_text(original)
    seconds = time.perf_counter() - begun
    failed = _FAILED.search(output)
    if code == 1 and failed is not None:
        return Ran(fault, "caught", seconds, failed[1], output)
    return Ran(fault, "SURVIVED" if code == 0 else "BROKEN", seconds, "", output)


def _work(faults: Sequence[Fault], checkout: Path, results: Path) -> None:
    """Run some faults in this process's forks, and write what became of them."""
    done = []
    for fault in faults:
        ran = _run(fault, checkout)
        print(f"{ran.outcome:8} {ran.seconds:5.1f} s  {fault.name}: {ran.by}", flush=True)
        done.append(ran)
    results.write_bytes(pickle.dumps(done))


def _all_run(faults: Sequence[Fault], parent: Path) -> tuple[list[Ran], str]:
    """Run faults in some processes; return what became of them, and which tests fail anyway."""
    folders = [parent / str(number) for number in range(WORKERS)]
    children = []
    for number, folder in enumerate(folders):
        checkout = _copied(folder / "checkout")
        child = os.fork()
        if not child:
            try:
                _work(faults[number::WORKERS], checkout, folder / "results")
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)  # the folder is the parent's to remove
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    done: list[Ran] = []
    for folder in folders:
        if (folder / "results").exists():
            done += pickle.loads((folder / "results").read_bytes())  # noqa: S301
    by = sorted({ran.by for ran in done if ran.by})
    code, output = _pytest(folders[0] / "checkout", by) if by else (0, "")
    return done, output if code else ""


def main(words: list[str]) -> int:
    """Run the faults, print what became of them, and return the exit code."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    for fault in chosen:
        broken(ROOT / PACKAGE, fault)
    for name in ("jax", "brainpy", "typer.testing"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="brainpy-probe-mutants-") as folder:
        done, failing = _all_run(chosen, Path(folder))
    for ran in done:
        if ran.outcome != "caught":
            print(f"\n=== {ran.outcome}: {ran.fault}\n{ran.output[-1500:]}")
    if failing:
        print(f"\n=== these fail without a fault\n{failing[-3000:]}")
    caught = sum(ran.outcome == "caught" for ran in done)
    print(f"\n{caught} of {len(chosen)} faults were caught")
    return int(caught < len(chosen) or bool(failing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
