"""Draws XLA's dot files with pygraphviz, the largest first; knows no XLA.

pygraphviz brings Graphviz in its own wheel: neither a network nor a system package is needed.
Graphviz parses and lays out each file in a worker process, which has a limit of time and memory,
and gives the picture to this process, which writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from brainpy_probe.errors import BadSetting, DamagedCapture, ProbeError, describe_error
from brainpy_probe.format.atomic import make_folders, write_atomically
from brainpy_probe.format.common_records import WrittenFile
from brainpy_probe.format.reading import read_file
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.worker import Limits, Worker, requested

__all__ = ["DotFile", "Drawing", "dot_files", "draw", "work"]

Format = Literal["svg", "png"]

_ENTRY = "brainpy_probe.report.pictures:work"


class DotFile(msgspec.Struct, frozen=True):
    """A dot file of a capture.

    Attributes
    ----------
    folder : Path
        The capture folder.
    file : WrittenFile
        The file's entry in the manifest.
    """

    folder: Path
    file: WrittenFile

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.folder / self.file.path


@dataclass(frozen=True)
class Drawing:
    """A dot file and its picture.

    Attributes
    ----------
    source : Path
        The dot file.
    picture : Path or None
        The picture, or None if there is none.
    problem : str
        Why there is none.
    """

    source: Path
    picture: Path | None
    problem: str = ""


def dot_files(capture: Capture, module: str | None = None) -> list[DotFile]:
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
    records = [one.record for one in capture.modules]
    if module is not None:
        names = sorted({one.name for one in records})
        records = [one for one in records if module in (one.name, str(one.index))]
        if not records:
            raise BadSetting(
                f"{capture.path.name} has no module {module!r}.",
                f"It has {', '.join(names) or 'none'}; numbers from 0 are allowed too.",
            )
    files = [file for one in records for file in one.files if file.kind == "xla"]
    found = [DotFile(capture.path, file) for file in files if file.path.endswith(".dot")]
    if not found:
        raise ProbeError(
            f"{capture.path.name} has no dot files{f' of {module}' if module else ''}.",
            'Capture with xla_dump="dot"; a module from JAX\'s persistent cache has none.',
        )
    return sorted(found, key=lambda one: (-one.file.size, one.file.path))


def draw(sources: Sequence[DotFile], form: Format, limits: Limits) -> Iterator[Drawing]:
    """Draw dot files one after the other, each picture next to its dot file.

    Parameters
    ----------
    sources : sequence of DotFile
        The dot files.
    form : str
        ``svg`` or ``png``.
    limits : Limits
        The seconds and the memory that one file may take.

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
        yield _drawn(source, form, limits)


class _Request(msgspec.Struct, frozen=True):
    """What the worker is to draw."""

    source: DotFile
    form: Format


class _Answer(msgspec.Struct, frozen=True):
    """The size of the picture, whose bytes follow; or why there is none."""

    size: int = 0
    problem: str = ""


def _drawn(source: DotFile, form: Format, limits: Limits) -> Drawing:
    request = msgspec.json.encode(_Request(source, form), enc_hook=str)
    with Worker(_ENTRY, limits, request) as worker:
        line = next(worker.lines(), None)
        answer = _Answer() if line is None else msgspec.json.decode(line, type=_Answer)
        if answer.problem:
            return Drawing(source.path, None, answer.problem)
        picture = bytearray(answer.size)
        if line is None or not worker.fill(memoryview(picture)):
            return Drawing(source.path, None, worker.ending().sentence("Drawing it", limits)[0])
    name = str(PurePosixPath(source.file.path).with_suffix(f".{form}"))
    make_folders(source.folder, name)  # refuses links, which may lead out of the capture
    write_atomically(source.folder / name, bytes(picture))
    return Drawing(source.path, source.folder / name)


def work() -> None:
    """Draw one dot file and answer with the picture. The worker process runs this function."""
    with requested() as (content, _, answers):
        request = msgspec.json.decode(content, type=_Request, dec_hook=lambda _, given: Path(given))
        picture, answer = b"", _Answer()
        try:
            picture = _laid_out(read_file(request.source.folder, request.source.file), request.form)
            answer = _Answer(size=len(picture))
        except DamagedCapture as error:
            answer = _Answer(problem=str(error))
        except Exception as error:  # pygraphviz raises many classes
            answer = _Answer(problem=f"Graphviz failed: {describe_error(error)}")
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.write(picture)


# The attributes, and the element of a label, that have Graphviz read or name another file
# (Graphviz 14.1.5). XLA's dot files have none of them (jaxlib 0.4.13 to 0.12.0).
_OF_FILES = {"image", "imagepath", "shapefile", "fontpath", "_background"}
_IMAGE = re.compile(rb"<\s*img\b", re.IGNORECASE)


def _laid_out(content: bytes, form: Format) -> bytes:
    import pygraphviz

    graph: Any = pygraphviz.AGraph(string=content.decode())
    # An attribute that one node has is declared for all of them.
    declared = {*graph.graph_attr.keys(), *graph.node_attr.keys(), *graph.edge_attr.keys()}
    named = sorted(_OF_FILES & declared) or (["<IMG>"] if _IMAGE.search(content) else [])
    if named:
        raise DamagedCapture(f"The file refers to other files by {', '.join(named)}.")
    return bytes(graph.draw(format=form, prog="dot"))
