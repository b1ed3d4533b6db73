"""What docs/handoff.md says, done word for word and in order in a fresh folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import brainpy_probe as probe
from tests import eras
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "handoff.md").read_text()
_BLOCK = re.compile(r"^<!-- (file (\S+)|run) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_command_and_every_script_of_the_page_is_marked() -> None:
    fenced = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    marked = [language for _, _, language, _ in _BLOCK.findall(PAGE)]
    assert [one for one in fenced if one in ("sh", "python")] == marked
    assert len(marked) > 5


@pytest.mark.skipif(not eras.SINCE_2_7, reason="its network is in the spelling of today's BrainPy")
def test_the_page_works_from_top_to_bottom(tmp_path: Path) -> None:
    commands = _command(tmp_path / "bin")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(
            [str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PYTHONPATH": str(ROOT),
    }
    folder = tmp_path / "work"
    folder.mkdir()
    printed = ""
    for what, name, _, content in _BLOCK.findall(PAGE):
        if what != "run":
            (folder / name).write_text(content)
            continue
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", content],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{content}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    (run,) = (folder / "handoff").glob("run-*")
    (program,) = probe.load(run).programs
    assert re.search(r"^MLRStableHLO_v[\d.]+$", printed, re.MULTILINE)
    assert len(re.findall(r"agrees with the simulation$", printed, re.MULTILINE)) >= len(
        program.results
    )
    # What IREE went on with is what XLA goes on with.
    following = {k: v for k, v in program.data("results").items() if k.startswith("state/")}
    following["inputs/indices"] = program.data()["inputs/indices"] + np.int32(200)
    spikes = program.replay(overrides=following).results["monitors/spike"]
    assert spikes.any()
    np.testing.assert_array_equal(np.load(folder / "spikes.npy"), spikes)


def _command(folder: Path) -> Path:
    """Make a folder with the shell command of this checkout."""
    folder.mkdir()
    command = folder / "brainpy-probe"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m brainpy_probe "$@"\n')
    command.chmod(0o755)
    return folder
