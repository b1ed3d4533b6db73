"""Runs the faults: ``python -m tests.mutants [WORD ...]`` selects faults by words in their names.

Each fault is applied to a copy of this checkout, and its tests run there until one fails. The tests
that failed then run again on an unchanged copy: a test that also fails there does not catch a
fault. The exit code is 1 if a fault was not caught.

Importing BrainPy and JAX takes longer than most tests, so that processes that have imported them
fork for each fault. At that time neither has started a thread, because XLA has no device yet.
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
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.mutants.faults import FAULTS
from tests.mutants.patching import Fault, with_fault

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "brainpy_probe"
WORKERS = 2
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?::.+?)(?: - .*)?$", re.MULTILINE)
_OPTIONS = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout=120"]
# The longest time for the tests of a fault, and the exit code of a process that took longer.
_MAX_SECONDS, _NEVER_ENDED = 300.0, 124


class Result(NamedTuple):
    """The outcome of running the tests of a fault."""

    fault: Fault
    outcome: Literal["caught", "SURVIVED", "BROKEN"]
    seconds: float
    by: str
    output: str


def _copy_checkout(folder: Path) -> Path:
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
    """Run tests of a checkout in a forked process; return the exit code and the output."""
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
            # Shared captures of the tests are those of this fault only.
            shared = tempfile.mkdtemp(dir=checkout.parent)
            os.environ |= {"JAX_PLATFORMS": "cpu", "PROBE_TESTS_FOLDER": shared}
            # pytest-timeout can't end a test that waits for a thread.
            deadline = threading.Timer(_MAX_SECONDS, os._exit, [_NEVER_ENDED])
            deadline.daemon = True
            deadline.start()
            code = pytest.main([*_OPTIONS, *arguments])
            sys.stdout.flush()
            os._exit(int(code))
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(status), printed.read().decode(errors="replace")


def _run(fault: Fault, checkout: Path) -> Result:
    path, source = with_fault(checkout / PACKAGE, fault)
    original = path.read_text()
    begin = time.perf_counter()
    try:
        path.write_text(source)
        code, output = _pytest(checkout, ["-x", *fault.arguments])
    finally:
        path.write_text(original)
    seconds = time.perf_counter() - begin
    failed = _FAILED.search(output)
    if code == _NEVER_ENDED:
        return Result(fault, "caught", seconds, "", output)
    if code == 1 and failed is not None:
        return Result(fault, "caught", seconds, failed[1], output)
    return Result(fault, "SURVIVED" if code == 0 else "BROKEN", seconds, "", output)


def _work(faults: Sequence[Fault], checkout: Path, results: Path) -> None:
    """Run faults in forks of this process, and write their results to a file."""
    done = []
    for fault in faults:
        result = _run(fault, checkout)
        test = result.by or ("a test that never ended" if result.outcome == "caught" else "")
        print(f"{result.outcome:8} {result.seconds:5.1f} s  {fault.name}: {test}", flush=True)
        done.append(result)
    results.write_bytes(pickle.dumps(done))


def _run_all(faults: Sequence[Fault], parent: Path) -> tuple[list[Result], str]:
    """Run faults in several processes; return the results, and output of tests that fail anyway."""
    folders = [parent / str(number) for number in range(WORKERS)]
    children = []
    for number, folder in enumerate(folders):
        checkout = _copy_checkout(folder / "checkout")
        child = os.fork()
        if not child:
            try:
                _work(faults[number::WORKERS], checkout, folder / "results")
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)  # without cleanup: the parent removes the folder
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    done: list[Result] = []
    for folder in folders:
        if (folder / "results").exists():
            done += pickle.loads((folder / "results").read_bytes())  # noqa: S301
    by = sorted({result.by for result in done if result.by})
    code, output = _pytest(folders[0] / "checkout", by) if by else (0, "")
    return done, output if code else ""


def main(words: list[str]) -> int:
    """Run the faults, print the results, and return the exit code."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    for fault in chosen:
        with_fault(ROOT / PACKAGE, fault)
    for name in ("jax", "brainpy", "typer.testing"):
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="brainpy-probe-mutants-") as folder:
        done, failing = _run_all(chosen, Path(folder))
    for result in done:
        if result.outcome != "caught":
            print(f"\n=== {result.outcome}: {result.fault}\n{result.output[-1500:]}")
    if failing:
        print(f"\n=== tests that fail without a fault\n{failing[-3000:]}")
    caught = sum(result.outcome == "caught" for result in done)
    print(f"\n{caught} of {len(chosen)} faults were caught")
    return int(caught < len(chosen) or bool(failing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
