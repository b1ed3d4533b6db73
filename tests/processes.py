"""Runs a script of a test's own in a fresh interpreter, and reads what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


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
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=ROOT,
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
