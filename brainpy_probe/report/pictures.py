"""Draws XLA's dot files with pygraphviz.

pygraphviz brings Graphviz in its own wheel, and needs neither a network nor a system package.
Graphviz parses and lays out each file in a worker process with a limit of time and memory. The
worker returns the picture to this process, which writes it.
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
        """The path of the file."""
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
    records = [compiled.record for compiled in capture.modules]
    if module is not None:
        names = sorted({record.name for record in records})
        records = [record for record in records if module in (record.name, str(record.index))]
        if not records:
            raise BadSetting(
                f"{capture.path.name} has no module {module!r}.",
                f"Allowed: {', '.join(names) or 'none'}, or a module's number.",
            )
    files = [file for record in records for file in record.files if file.kind == "xla"]
    found = [DotFile(capture.path, file) for file in files if file.path.endswith(".dot")]
    if not found:
        raise ProbeError(
            f"{capture.path.name} has no dot files{f' of {module}' if module else ''}.",
            'Capture with xla_dump="dot"; a module from JAX\'s persistent cache has none.',
        )
    return sorted(found, key=lambda dot: (-dot.file.size, dot.file.path))


def draw(sources: Sequence[DotFile], form: Format, limits: Limits) -> Iterator[Drawing]:
    """Draw dot files one after the other, each picture next to its dot file.

    Parameters
    ----------
    sources : sequence of DotFile
        The dot files.
    form : str
        ``svg`` or ``png``.
    limits : Limits
        The limits of time and memory for each file.

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
        yield _draw_in_worker(source, form, limits)


class _Request(msgspec.Struct, frozen=True):
    """The worker's task."""

    source: DotFile
    form: Format


class _Answer(msgspec.Struct, frozen=True):
    """The size of the picture, whose bytes follow; or why there is no picture."""

    size: int = 0
    problem: str = ""


def _draw_in_worker(source: DotFile, form: Format, limits: Limits) -> Drawing:
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
        request = msgspec.json.decode(content, type=_Request, dec_hook=lambda _, path: Path(path))
        picture, answer = b"", _Answer()
        try:
            picture = _lay_out(read_file(request.source.folder, request.source.file), request.form)
            answer = _Answer(size=len(picture))
        except DamagedCapture as error:
            answer = _Answer(problem=str(error))
        except Exception as error:  # pygraphviz raises many classes
            answer = _Answer(problem=f"Graphviz failed: {describe_error(error)}")
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.write(picture)


# Attributes, and an HTML element of labels, with which Graphviz reads other files (Graphviz
# 14.1.5). XLA's dot files have none of them (jaxlib 0.4.13 to 0.12.0).
_FILE_ATTRIBUTES = {"image", "imagepath", "shapefile", "fontpath", "_background"}
_IMAGE = re.compile(rb"<\s*img\b", re.IGNORECASE)


def _lay_out(content: bytes, form: Format) -> bytes:
    import pygraphviz

    graph: Any = pygraphviz.AGraph(string=content.decode())
    # An attribute that one node has is declared for all of them.
    declared = {*graph.graph_attr.keys(), *graph.node_attr.keys(), *graph.edge_attr.keys()}
    named = sorted(_FILE_ATTRIBUTES & declared) or (["<IMG>"] if _IMAGE.search(content) else [])
    if named:
        raise DamagedCapture(f"The file refers to other files by {', '.join(named)}.")
    return bytes(graph.draw(format=form, prog="dot"))
