"""Progress on stderr, for work that takes more than two seconds.

The line appears only on a terminal outside of notebooks, and disappears when the work ends.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from brainpy_probe.characters import in_one_line
from brainpy_probe.output import Output
from brainpy_probe.quantities import shortened

__all__ = ["Steps", "progress"]

_DELAY = 2.0
_WIDTH = 48


class Steps:
    """The content of the progress line: the current step, and the number of finished steps."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._line: Progress | None = None
        self._lock = threading.Lock()

    def step(self, title: str, *, done: int | None = None, total: int | None = None) -> None:
        """Show the current step.

        Parameters
        ----------
        title : str
            The name of the step.
        done, total : int, optional
            The number of finished steps, and of all steps.
        """
        with self._lock:
            self._title = title
            self._done = self._done if done is None else done
            self._total = self._total if total is None else total
            self._update()

    def _appear(self, console: Output) -> None:
        with self._lock:
            columns = [TextColumn("{task.description}"), TimeElapsedColumn()]
            if self._total is not None:
                columns[1:1] = [BarColumn(bar_width=20), MofNCompleteColumn()]
            self._line = Progress(*columns, console=console, transient=True)
            self._line.add_task("", total=self._total)
            self._update()
            self._line.start()

    def _update(self) -> None:
        if self._line is not None:
            title = shortened(in_one_line(self._title), _WIDTH)
            self._line.update(
                self._line.task_ids[0],
                description=title,
                completed=self._done,
                total=self._total,
            )

    def _disappear(self) -> None:
        with self._lock:
            if self._line is not None:
                self._line.stop()
                self._line = None


@contextlib.contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Steps]:
    """Show progress on stderr while the block runs, from its third second on.

    Parameters
    ----------
    title : str
        The name of the work.
    total : int, optional
        The number of steps, if it is known.
    """
    steps = Steps(title, total)
    console = Output(stderr=True)
    # The command !brainpy-probe in a notebook's cell has a terminal that can't replace a line.
    # Jupyter sets the variable for the processes of a kernel (jupyter_client 8: launcher.py).
    if not console.is_terminal or "JPY_PARENT_PID" in os.environ:
        yield steps
        return
    timer = threading.Timer(_DELAY, steps._appear, [console])
    timer.daemon = True
    timer.start()
    try:
        yield steps
    finally:
        timer.cancel()
        timer.join()
        steps._disappear()
