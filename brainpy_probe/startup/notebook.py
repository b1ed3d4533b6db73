"""The cell magic ``%%probe``, which ``%load_ext brainpy_probe`` adds to IPython."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack
from typing import Any

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.recording.api import capture
from brainpy_probe.report.api import report
from brainpy_probe.report.page.html import Html, tag
from brainpy_probe.settings import ARGUMENTS

__all__ = ["load"]


def load(shell: Any) -> None:
    """Add the magic to a shell."""

    def probe(line: str, cell: str) -> _Result | None:
        """Capture the networks that a cell runs: %%probe [--dialect mhlo] [--profile] ...

        The options are the arguments of capture(). The capture is then the variable cap.
        --no-report leaves out the report.
        """
        with ExitStack() as stack:
            try:
                settings, reports = _settings(line)
                cap = stack.enter_context(capture(**settings))
            except ProbeError as error:
                sys.stderr.write(f"%%probe: {in_one_line(str(error))}\n")
                return None
            ran = _run(shell, line, cell)
        shell.push({"cap": cap})
        page = ""
        if reports and cap.programs:
            page = os.path.relpath(report(cap, cap.path.parent / f"{cap.path.name}.html"))
        return _Result(cap, page) if ran.success or cap.calls else None

    shell.register_magic_function(probe, "cell", "probe")


def _run(shell: Any, line: str, cell: str) -> Any:
    """Run the code below the magic, with the cell's number and the line numbers that the user sees.

    IPython names code by the number of cells, which IPython 9 increments before a cell runs, and
    IPython 8 afterwards.
    """
    count = shell.execution_count
    shell.execution_count = max(len(shell.history_manager.input_hist_raw) - 1, 1)
    # The magic is in the first line.
    code = cell if cell.startswith("%%") else f"# %%probe {line}\n{cell}"
    try:
        return shell.run_cell(code)
    finally:
        shell.execution_count = count


class _Result:
    """The value that the magic shows: the capture, and a link to its report."""

    def __init__(self, cap: Any, page: str) -> None:
        self._cap, self._page = cap, page

    def __repr__(self) -> str:
        return f"{self._cap}\nreport: {in_one_line(self._page)}" if self._page else f"{self._cap}"

    def _repr_html_(self) -> str:
        link = tag("p", tag("a", "report", href=self._page, target="_blank"), f": {self._page}")
        return Html(self._cap._repr_html_() + (link if self._page else ""))


def _settings(line: str) -> tuple[dict[str, Any], bool]:
    """Return the arguments of ``capture`` that a line of options sets, and whether to report."""
    words = shlex.split(line)
    settings: dict[str, Any] = {}
    reports = True
    while words:
        option, _, value = words.pop(0).partition("=")
        name = option.removeprefix("--").replace("-", "_")
        argument = ARGUMENTS.get(name)
        if option == "--no-report":
            reports = False
        elif argument is None or not option.startswith("--"):
            known = ", ".join(f"--{known.replace('_', '-')}" for known in [*ARGUMENTS, "no_report"])
            raise BadSetting(f"{option!r} is not an option of %%probe.", f"Allowed: {known}.")
        elif argument.form == "switch":
            settings[name] = True
        else:
            if not value and not words:
                raise BadSetting(f"{option} has no value.", argument.help)
            settings[name] = argument.read(value or words.pop(0))
    return settings, reports
