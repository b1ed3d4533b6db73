"""Runs the shell commands in this process, on folders that may be damaged."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from brainpy_probe.cli import app

__all__ = ["CONTROL_CHARACTERS", "assert_error", "run"]

# The control characters that a terminal interprets, except for the colour codes of rich.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def run(*words: object) -> tuple[int, str]:
    """Run a command; return its exit code and its output. A command raises no exception."""
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output
    assert not CONTROL_CHARACTERS.search(done.output)
    return done.exit_code, done.output


def assert_error(message: str, *words: object, exit_code: int = 1) -> None:
    """Assert that a command exits with this code and prints one error line with this message."""
    code, output = run(*words)
    assert code == exit_code, output
    assert message in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1
