"""Runs the faults: ``python -m tests.mutants [WORD ...]`` takes those whose name has a word.

Each is put into a copy of this checkout, and the tests that it names are run there until one
fails. A test that fails without the fault as well catches nothing: those that failed are run once
more on an unchanged copy. The exit code is 1 if a fault was not caught.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Literal, NamedTuple

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
    # The copy of the package comes before the installed one.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *_OPTIONS, *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


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


def main(words: list[str]) -> int:
    """Run the faults, print what became of them, and return the exit code."""
    chosen = [one for one in FAULTS if not words or any(word in one.name for word in words)]
    for fault in chosen:
        broken(ROOT / PACKAGE, fault)
    with tempfile.TemporaryDirectory(prefix="brainpy-probe-mutants-") as folder:
        checkouts: Queue[Path] = Queue()
        for number in range(WORKERS):
            checkouts.put(_copied(Path(folder, str(number))))

        def work(fault: Fault) -> Ran:
            checkout = checkouts.get()
            try:
                ran = _run(fault, checkout)
            finally:
                checkouts.put(checkout)
            print(f"{ran.outcome:8} {ran.seconds:5.1f} s  {fault.name}: {ran.by}", flush=True)
            return ran

        with ThreadPoolExecutor(WORKERS) as threads:
            done = list(threads.map(work, chosen))
        by = sorted({ran.by for ran in done if ran.by})
        code, output = _pytest(checkouts.get(), by) if by else (0, "")
    wrong = [ran for ran in done if ran.outcome != "caught"]
    for ran in wrong:
        print(f"\n=== {ran.outcome}: {ran.fault}\n{ran.output[-1500:]}")
    if code != 0:
        print(f"\n=== these fail without a fault\n{output[-3000:]}")
    print(f"\n{len(done) - len(wrong)} of {len(done)} faults were caught")
    return int(bool(wrong) or code != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
