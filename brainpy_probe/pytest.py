"""A pytest plugin that compares the programs that a model runs with a stored snapshot.

pytest loads this module wherever brainpy-probe is installed. Therefore it imports nothing else
until a test uses it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from brainpy_probe.analysis.difference.compare import Side
    from brainpy_probe.analysis.explanation.records import Explanation
    from brainpy_probe.format.manifest.program_records import ProgramRecord
    from brainpy_probe.reader.program import Program

__all__ = ["ProbeSnapshot", "probe_snapshot"]

_FOLDER = "probe_snapshots"
# Number of steps of a runner that is given instead of a function.
_STEPS = 10


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--probe-update``."""
    group = parser.getgroup("brainpy-probe")
    group.addoption(
        "--probe-update",
        action="store_true",
        help="Write the snapshots of probe_snapshot instead of comparing with them.",
    )


@pytest.fixture
def probe_snapshot(request: pytest.FixtureRequest) -> ProbeSnapshot:
    """Return a function that captures a run and compares its programs with a snapshot."""
    folder = Path(request.path).parent / _FOLDER
    return ProbeSnapshot(folder, bool(request.config.getoption("--probe-update")))


@dataclass(frozen=True)
class ProbeSnapshot:
    """Captures a run, and fails the test if its programs differ from the stored snapshot.

    Parameters
    ----------
    folder : Path
        The folder of the snapshots, next to the test file.
    update : bool
        Whether to write snapshots instead of comparing.
    """

    folder: Path
    update: bool

    def __call__(self, run: Any, name: str) -> None:
        """Capture a run and compare it.

        It compares the identity and the signature of each program: the operations, constants,
        names, shapes and dtypes. It does not compare the values of arrays.

        Parameters
        ----------
        run : callable or DSRunner
            A function that runs the model, or a runner, which runs for 10 steps.
        name : str
            The name of the snapshot.
        """
        path = self.folder / f"{_checked_name(name)}.json"
        if not (self.update or path.exists()):
            pytest.fail(f"There is no snapshot {path}. Run pytest --probe-update.", pytrace=False)
        with tempfile.TemporaryDirectory() as folder:
            programs = _captured_programs(run, folder)
            if self.update:
                _write(path, programs)
                return
            difference = _difference(path, programs)
        if difference:
            pytest.fail(
                f"The run differs from the snapshot {path}.\n{difference}\n"
                "If this is intended, run pytest --probe-update.",
                pytrace=False,
            )


def _checked_name(name: str) -> str:
    from brainpy_probe.format.folder import safe_name

    if safe_name(name) != name:
        pytest.fail(
            f"{name!r} can't be the name of a snapshot. Allowed: letters, digits, _ and -.",
            pytrace=False,
        )
    return name


def _captured_programs(run: Any, folder: str) -> list[Program]:
    """Return the programs of a run."""
    from brainpy_probe.recording.api import capture

    call: Callable[[], Any] = (
        run if callable(run) and not hasattr(run, "predict") else _stepping(run)
    )
    with capture(folder, data="none", strict=True) as cap:
        call()
    if not cap.programs:
        pytest.fail("The run has no program: BrainPy compiled nothing.", pytrace=False)
    return [program.within(None) for program in cap.programs]


def _stepping(runner: Any) -> Callable[[], Any]:
    """Return a function that runs a runner for some steps."""
    if not hasattr(runner, "predict"):
        pytest.fail(
            f"{type(runner).__name__} is neither a function nor a runner of BrainPy.", pytrace=False
        )
    return lambda: runner.run(_STEPS * runner.dt)


def _side(program: Program) -> Side:
    from brainpy_probe.analysis.difference.compare import Side

    return Side(program.record, program.explain())


def _write(path: Path, programs: list[Program]) -> None:
    from brainpy_probe.analysis.difference.snapshot import snapshot_of, write_snapshot

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_snapshot(snapshot_of([_side(program) for program in programs])))


def _difference(path: Path, programs: list[Program]) -> str:
    """Return the differences from a snapshot as text; empty if there are none."""
    from brainpy_probe.analysis.difference.programs import compare
    from brainpy_probe.analysis.difference.snapshot import read_snapshot
    from brainpy_probe.errors import ProbeError

    try:
        stored = read_snapshot(path.read_bytes()).sides
    except ProbeError as error:
        return str(error)
    if len(stored) != len(programs):
        return f"The run has {len(programs)} programs; the snapshot has {len(stored)}."
    found = []
    for old, program in zip(stored, programs, strict=True):
        if old.record.identity == program.record.identity != "":
            continue

        def explain(record: ProgramRecord, program: Program = program) -> Explanation:
            return replace(program, record=record).explain()

        difference, _ = compare(old, _side(program), explain, ("data",))
        if not difference.same:
            found.append(str(difference))
    return "\n".join(found)
