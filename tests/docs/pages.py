"""Runs the commands and code of the README and the documentation, and compares their outputs.

A comment before a fenced block defines its kind:

- ``<!-- file NAME -->``: the content of a file.
- ``<!-- run -->``: shell commands, ``python SCRIPT`` or ``brainpy-probe``; ``<!-- run 1 -->`` if
  their exit code is 1. A shell runs any other line, for scripts that need their own process.
- ``<!-- python -->``: Python that reads captures. Each page has one namespace.
- ``<!-- output -->``: the output of the previous block. ``...`` stands for omitted lines.
- ``<!-- output of COMMAND -->``: the output of another command of the pages, instead of a slower
  one.
- ``<!-- output, numbers vary -->``: an output of which times, sizes and versions are not compared.
- ``<!-- output, numbers and order vary -->``: nor is the order of the lines.
- ``<!-- output with JAX 0.12 -->``: an output that is compared only with this version.
- ``<!-- example -->``: code that does not run; ``<!-- layout -->``: text that no command prints.

All pages run in one folder, in the order of the site, so that a page can read the captures of an
earlier page.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tests.commands import run
from tests.processes import ROOT

__all__ = [
    "DOCS",
    "PAGES",
    "README",
    "WITH_OTHER_COMMANDS",
    "Block",
    "assert_agrees",
    "blocks",
    "capture_all",
    "run_page",
]

DOCS = ROOT / "docs"
README = ROOT / "README.md"
# Pages with commands of other programs, which have their own test.
WITH_OTHER_COMMANDS = (DOCS / "compilers" / "iree.md", DOCS / "guide" / "verification.md")

_BLOCK = re.compile(
    r"^<!-- (file \S+|run(?: \d)?|python"
    r"|output(?: of [^>,]+| with JAX [\d.]+)?(?:, [a-z ]+ vary)?) -->\n"
    r"```\w+\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# Runs all scripts in one process, so that BrainPy is imported once.
_DRIVER = """
import contextlib, io, json, runpy, shlex, sys
printed = {}
for line in json.load(open("lines.json")):
    sys.argv = shlex.split(line)[1:]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(sys.argv[0], run_name="__main__")
    printed[line] = out.getvalue()
json.dump(printed, open("printed.json", "w"))
"""


class Block(NamedTuple):
    """A fenced block of a page: its kind, the rest of its comment, and its content."""

    kind: str
    detail: str
    content: str

    @property
    def command(self) -> str:
        """The command whose output it shows; empty for the previous block."""
        return self.detail.removeprefix("of ").partition(",")[0] if "of " in self.detail else ""


def _pages() -> list[Path]:
    """Return the README and the English pages in the order of the site."""
    order = re.findall(
        r"^ +- (?:[\w ]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
    )
    return [README, *(DOCS / name for name in order)]


PAGES = {str(page.relative_to(ROOT)): page for page in _pages()}


def blocks(page: Path) -> list[Block]:
    """Return the marked blocks of a page."""
    found = _BLOCK.findall(page.read_text())
    return [Block(*re.match(r"(\w+),? ?(.*)", marker).groups(), text) for marker, text in found]


def capture_all(folder: Path) -> tuple[Path, dict[str, str]]:
    """Run the scripts of all pages in a folder; return the folder and each command's output."""
    (folder / "examples").symlink_to(ROOT / "examples")
    lines: list[str] = []
    for page in PAGES.values():
        for block in () if page in WITH_OTHER_COMMANDS else blocks(page):
            if block.kind == "file":
                file = folder / block.detail
                assert not file.exists() or file.read_text() == block.content, f"two {file.name}"
                file.write_text(block.content)
            elif block.kind == "run":
                scripts = [
                    line for line in block.content.splitlines() if line.startswith("python ")
                ]
                lines += [line for line in scripts if line not in lines]
    (folder / "lines.json").write_text(json.dumps(lines))
    subprocess.run(
        [sys.executable, "-c", _DRIVER],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    printed: dict[str, str] = json.loads((folder / "printed.json").read_text())
    return folder, printed


def run_page(page: Path, printed: dict[str, str]) -> None:
    """Run a page in the current folder, and compare each output that it shows."""
    namespace: dict[str, object] = {}
    actual = ""
    for block in blocks(page):
        if block.kind == "run":
            actual = "".join(
                printed[line] if line.startswith("python ") else _run(line, int(block.detail or 0))
                for line in block.content.splitlines()
            )
        elif block.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(block.content, namespace)  # noqa: S102
            actual = out.getvalue()
        elif block.kind == "output":
            assert_agrees(printed.get(block.command, actual), block)


def assert_agrees(printed: str, block: Block) -> None:
    """Assert that a printed output agrees with the output on a page."""
    needed = re.match(r"with JAX ([\d.]+)", block.detail)
    if needed is not None and not version("jax").startswith(f"{needed[1]}."):
        return
    expected, actual = (_comparable(text, block.detail) for text in (block.content, printed))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(expected, actual, flags):
        raise AssertionError(f"printed:\n{actual}\nshown on the page:\n{expected}")


def _run(line: str, code: int) -> str:
    program, *words = shlex.split(line)
    if program == "brainpy-probe":
        exit_code, printed = run(*words)
    else:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        with socket.create_server(("127.0.0.1", 0)) as free:
            line = re.sub(r"(?<=127\.0\.0\.1:)\d+", str(free.getsockname()[1]), line)
        shell = ["/bin/bash", "-c", line]
        done = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)
        exit_code, printed = done.returncode, done.stdout
    assert exit_code == code, printed
    return printed


def _without_varying_parts(text: str) -> str:
    """Return an output without the parts that vary: folders, kernels and compilation times."""
    # This finding depends on how long XLA compiles.
    text = re.sub(r"^slow-compile: .*\n(?:(?!\n|\S+: ).*\n)*", "", text, flags=re.MULTILINE)
    # The modules depend on what the process has compiled before.
    text = re.sub(r"^modules: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"(brainevent_numba_ffi_)\w+", r"\1#", text)
    text = re.sub(r"^in /.*", "in FOLDER", text, flags=re.MULTILINE)
    text = re.sub(r"(?:\S+/)?run-\d+T\d+Z\S*?(?=[:/\s]|\.html|$)", "RUN", text)
    return text.strip()


def _comparable(text: str, detail: str) -> str:
    """Return the part of an output that is compared."""
    text = _without_varying_parts(text)
    if detail.endswith("order vary"):
        text = "\n".join(sorted(_without_numbers(line) for line in text.splitlines()))
    return (_without_numbers(text) if detail.endswith("vary") else text) + "\n"


def _without_numbers(text: str) -> str:
    """Return an output without times, sizes and versions, and without the widths of columns."""
    text = re.sub(r"\b\d[\d,.]*(?:e[+-]?\d+)?[kMG]?\b", "#", text)
    text = re.sub(r"# (?:us|ms|s|B|KB|MB)\b", "#", text)
    # A table has a column for numba unless the process has compiled BrainPy's kernels before.
    return re.sub(r"#(?: #)+", "#", " ".join(text.replace(" numba", "").split()))
