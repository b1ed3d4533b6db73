"""Runs the commands of a page of the documentation, and compares what they print."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from tests.commands import run
from tests.processes import ROOT

__all__ = ["played"]

_BLOCK = re.compile(
    r"^<!-- (?:(file) (\S+)|(run)(?: (\d))?|(output)) -->\n```\w+\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# What differs between processes: the modules that were compiled before.
_MODULES = re.compile(r"^modules: .*\n", re.MULTILINE)


def played(page: str, folder: Path, patch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Run a page's commands in a folder and in this process.

    Returns
    -------
    list of (str, str)
        For each output on the page, what the command prints and what the page has.
    """
    patch.chdir(folder)
    (folder / "examples").symlink_to(ROOT / "examples")
    printed, found = "", []
    for file, name, command, code, _, content in _BLOCK.findall((ROOT / "docs" / page).read_text()):
        if file:
            (folder / name).write_text(content)
        elif command:
            printed = "".join(_run(line, int(code or 0), patch) for line in content.splitlines())
        else:
            found.append((_plain(printed), _plain(content)))
    return found


def _run(line: str, code: int, patch: pytest.MonkeyPatch) -> str:
    program, *words = shlex.split(line)
    if program == "python":
        patch.setattr(sys, "argv", words)
        runpy.run_path(words[0], run_name="__main__")
        return ""
    assert program == "brainpy-probe"
    ended, printed = run(*words)
    assert ended == code, printed
    return printed


def _plain(text: str) -> str:
    return _MODULES.sub("", text).strip()
