"""The pages about IREE and verification: all commands run in order in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import brainpy_probe as probe
from tests import eras
from tests.docs.pages import WITH_OTHER_COMMANDS, assert_agrees, blocks
from tests.processes import ROOT


@pytest.mark.skipif(not eras.SINCE_2_7, reason="its network uses the API of BrainPy 2.7 and later")
def test_the_commands_of_the_pages_run_in_order(tmp_path: Path) -> None:
    commands = _command_folder(tmp_path / "bin")
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
    for block in [block for page in WITH_OTHER_COMMANDS for block in blocks(page)]:
        if block.kind == "file":
            (folder / block.detail).write_text(block.content)
        elif block.kind == "output":
            assert_agrees(printed, block)
        else:
            done = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", block.content],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block.content}\n{done.stdout}\n{done.stderr}"
            printed = done.stdout
    (run,) = (folder / "handoff").glob("run-*")
    (program,) = probe.load(run).programs
    # IREE and XLA continue from the same state.
    following = {k: v for k, v in program.data("results").items() if k.startswith("state/")}
    following["inputs/indices"] = program.data()["inputs/indices"] + np.int32(200)
    spikes = program.replay(overrides=following).results["monitors/spike"]
    assert spikes.any()
    np.testing.assert_array_equal(np.load(folder / "spikes.npy"), spikes)


def _command_folder(folder: Path) -> Path:
    """Create a folder with the shell command of this checkout."""
    folder.mkdir()
    command = folder / "brainpy-probe"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m brainpy_probe "$@"\n')
    command.chmod(0o755)
    return folder
