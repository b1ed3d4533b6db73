"""Draws XLA's dot files with pygraphviz, the largest first; knows no XLA.

pygraphviz brings Graphviz in its own wheel: neither a network nor a system package is needed.
Each file is laid out in a process of its own, so that one which takes too long can be given up.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.reader.capture import Capture

__all__ = ["Drawing", "dot_files", "draw"]

Format = Literal["svg", "png"]


@dataclass(frozen=True)
class Drawing:
    """One dot file and its picture.

    Attributes
    ----------
    source : Path
        The dot file.
    picture : Path or None
        Where the picture is, or None if there is none.
    problem : str
        Why there is none.
    """

    source: Path
    picture: Path | None
    problem: str = ""


def dot_files(capture: Capture, module: str | None = None) -> list[Path]:
    """Return a capture's dot files, the largest first.

    Parameters
    ----------
    capture : Capture
        The capture.
    module : str, optional
        A module's name or its number in the capture: only that module's files.

    Raises
    ------
    BadSetting
        If there is no such module.
    ProbeError
        If the capture has no dot files.
    """
    modules = capture.modules
    if module is not None:
        modules = tuple(m for m in modules if module in (m.name, str(m.record.index)))
        if not modules:
            names = sorted({one.name for one in capture.modules})
            raise BadSetting(
                f"{capture.path.name} has no module {module!r}.",
                f"It has {', '.join(names) or 'none'}; numbers from 0 are allowed too.",
            )
    found = [path for one in modules for path in one.dump_paths if path.suffix == ".dot"]
    if not found:
        raise ProbeError(
            f"{capture.path.name} has no dot files{f' of {module}' if module else ''}.",
            'Capture with xla_dump="dot"; a module from JAX\'s persistent cache has none.',
        )
    return sorted(found, key=lambda path: (-path.stat().st_size, path))


def draw(sources: Sequence[Path], form: Format = "svg", seconds: float = 60.0) -> Iterator[Drawing]:
    """Draw dot files one after the other, each beside its source.

    Parameters
    ----------
    sources : sequence of Path
        The dot files.
    form : str
        ``svg`` or ``png``.
    seconds : float
        How long one file may take; one that takes longer is given up.

    Yields
    ------
    Drawing
        The picture, or why there is none.

    Raises
    ------
    ProbeError
        If pygraphviz is not installed.
    """
    if find_spec("pygraphviz") is None:
        raise ProbeError(
            "Drawing needs pygraphviz.", "Install it with: pip install 'brainpy-probe[graph]'"
        )
    for source in sources:
        yield _drawn_in_time(source, form, seconds)


def _drawn_in_time(source: Path, form: Format, seconds: float) -> Drawing:
    # With its own name for the file while it is written, so that no half picture stays.
    target = source.with_suffix(f".{form}")
    half = source.with_suffix(f".{os.getpid()}.half.{form}")
    worker = multiprocessing.get_context("spawn").Process(target=_lay_out, args=(source, half))
    worker.start()
    worker.join(seconds)
    try:
        if worker.is_alive():
            worker.kill()
            worker.join()
            return Drawing(source, None, f"too large: not laid out in {seconds:g} s")
        if worker.exitcode != 0 or not half.exists():
            return Drawing(source, None, f"Graphviz failed (exit code {worker.exitcode})")
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
    return Drawing(source, target)


def _lay_out(source: Path, target: Path) -> None:
    import pygraphviz

    graph = pygraphviz.AGraph(str(source))
    graph.draw(str(target), prog="dot")
