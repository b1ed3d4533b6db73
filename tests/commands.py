"""Runs the shell's commands in this process, on folders that may be damaged."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from brainpy_probe.cli import app

__all__ = ["OBEYED", "refused", "run"]

# The characters that a terminal obeys, except for the colours that rich writes.
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def run(*words: object) -> tuple[int, str]:
    """Run a command; return its exit code and its output. No exception leaves a command."""
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    assert not OBEYED.search(done.output)
    return done.exit_code, done.output


def refused(said: str, *words: object, exit_code: int = 1) -> None:
    """Assert that a command ends with this exit code and prints one line, which has these words."""
    code, output = run(*words)
    assert code == exit_code, output
    assert said in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1
