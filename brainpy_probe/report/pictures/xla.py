"""Draws graphs with pygraphviz: XLA's dot files, and the picture of a model as PNG.

pygraphviz includes Graphviz in its own wheel, and needs neither a network nor a system package.
Graphviz parses and lays out each file in a worker process with limits of time and memory. The
worker returns the picture to this process, which writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from brainpy_probe.errors import BadSetting, DamagedCapture, ProbeError, describe_error
from brainpy_probe.format.atomic import make_folders, write_atomically
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.format.manifest.records import ModuleRecord
from brainpy_probe.format.reading import read_file
from brainpy_probe.reader.capture import Capture
from brainpy_probe.reader.worker import Limits, Worker, requested
from brainpy_probe.report.pictures.xla_graph import make_readable

__all__ = ["DotFile", "Drawing", "dot_files", "draw", "draw_dot", "work", "write_next_to"]

Format = Literal["svg", "png"]

_ENTRY = "brainpy_probe.report.pictures.xla:work"
# A larger PNG is not drawn: viewers can't show it, and Graphviz needs 4 bytes for each pixel.
MAX_PIXELS = 30_000_000
# Graphviz measures in points (72 to an inch), and draws 96 pixels to an inch.
_PIXELS_PER_POINT = 96 / 72
# The number that XLA gives a module in the names of its dumps.
_DUMPED = re.compile(r"module_0*(\d+)\.")


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
    form : str
        The picture's format.
    content : bytes
        The picture; empty if there is none.
    problem : str
        Why there is no picture, or none in the requested format.
    """

    source: Path
    form: Format
    content: bytes = b""
    problem: str = ""


def dot_files(capture: Capture, module: str | None = None) -> list[DotFile]:
    """Return a capture's dot files, the largest first.

    Parameters
    ----------
    capture : Capture
        The capture.
    module : str, optional
        A module's name, its number in the capture, or the number that XLA gave it in the names
        of its files: only that module's files.

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
        named = [record for record in records if module in (record.name, str(record.index))]
        records = named or [record for record in records if module in _xla_numbers(record)]
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


def _xla_numbers(record: ModuleRecord) -> set[str]:
    return {number for file in record.files for number in _DUMPED.findall(file.path)}


def draw(
    sources: Sequence[DotFile],
    form: Format,
    limits: Limits,
    *,
    groups: Mapping[str, str],
    collapses: bool = True,
) -> Iterator[Drawing]:
    """Draw dot files one after the other, with the components' names and colours.

    Parameters
    ----------
    sources : sequence of DotFile
        The dot files.
    form : str
        ``svg`` or ``png``. A PNG of more than 30 megapixels becomes an SVG.
    limits : Limits
        The limits of time and memory for each file.
    groups : mapping
        The group of each component, in the order of their colours.
    collapses : bool
        Whether each fusion is one node.

    Yields
    ------
    Drawing
        The picture, or why there is none.

    Raises
    ------
    ProbeError
        If pygraphviz is not installed.
    """
    _require_pygraphviz()
    for source in sources:
        request = _Request(form=form, source=source, groups=dict(groups), collapses=collapses)
        answer, picture = _draw_in_worker(request, limits)
        yield Drawing(source.path, answer.form, picture, answer.problem)


def write_next_to(drawing: Drawing, source: DotFile) -> Path:
    """Write a picture next to its dot file; return its path."""
    name = str(PurePosixPath(source.file.path).with_suffix(f".{drawing.form}"))
    make_folders(source.folder, name)  # refuses links, which may lead out of the capture
    write_atomically(source.folder / name, drawing.content)
    return source.folder / name


def draw_dot(dot: str, form: Format, limits: Limits) -> bytes:
    """Draw a graph with positioned nodes.

    Parameters
    ----------
    dot : str
        The graph in Graphviz's language.
    form : str
        ``svg`` or ``png``.
    limits : Limits
        The limits of time and memory.

    Raises
    ------
    ProbeError
        If pygraphviz is not installed, or can't draw the graph.
    """
    _require_pygraphviz()
    answer, picture = _draw_in_worker(_Request(form=form, dot=dot), limits)
    if not picture or answer.form != form:
        raise ProbeError(answer.problem, "Draw it as SVG.")
    return picture


def _require_pygraphviz() -> None:
    if find_spec("pygraphviz") is None:
        raise ProbeError(
            "Drawing needs pygraphviz.", "Install it with: pip install 'brainpy-probe[graph]'"
        )


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's task: a dot file, or a graph with positioned nodes."""

    form: Format
    source: DotFile | None = None
    dot: str = ""
    groups: dict[str, str] = {}
    collapses: bool = True


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Size and format of the picture, whose bytes follow; or why there is no picture."""

    form: Format
    size: int = 0
    problem: str = ""


def _draw_in_worker(request: _Request, limits: Limits) -> tuple[_Answer, bytes]:
    with Worker(_ENTRY, limits, msgspec.json.encode(request, enc_hook=str)) as worker:
        line = next(worker.lines(), None)
        if line is not None:
            answer = msgspec.json.decode(line, type=_Answer)
            picture = bytearray(answer.size)
            if not answer.size or worker.fill(memoryview(picture)):
                return answer, bytes(picture)
        problem = worker.ending().sentence("Drawing it", limits)[0]
    return _Answer(form=request.form, problem=problem), b""


def work() -> None:
    """Draw one graph and answer with the picture. The worker process runs this function."""
    with requested() as (content, _, answers):
        request = msgspec.json.decode(content, type=_Request, dec_hook=lambda _, path: Path(path))
        picture, answer = b"", _Answer(form=request.form)
        try:
            source = request.source
            dot = request.dot if source is None else read_file(source.folder, source.file).decode()
            picture, answer = _lay_out(dot, request)
        except DamagedCapture as error:
            answer = _Answer(form=request.form, problem=str(error))
        except Exception as error:  # pygraphviz raises many exception classes
            problem = f"Graphviz failed: {describe_error(error)}"
            answer = _Answer(form=request.form, problem=problem)
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.write(picture)


# Attributes, and an HTML element in labels, with which Graphviz reads other files (Graphviz
# 14.1.5). XLA's dot files have none of them (jaxlib 0.4.13 to 0.12.0).
_FILE_ATTRIBUTES = {"image", "imagepath", "shapefile", "fontpath", "_background"}
_IMAGE = re.compile(r"<\s*img\b", re.IGNORECASE)


def _lay_out(content: str, request: _Request) -> tuple[bytes, _Answer]:
    """Lay out a graph with Graphviz; return the picture, and its size and format."""
    import pygraphviz

    graph: Any = pygraphviz.AGraph(string=content)
    # If one node has an attribute, the attribute is declared for all nodes.
    declared = {*graph.graph_attr.keys(), *graph.node_attr.keys(), *graph.edge_attr.keys()}
    named = sorted(_FILE_ATTRIBUTES & declared) or (["<IMG>"] if _IMAGE.search(content) else [])
    if named:
        raise DamagedCapture(f"The file refers to other files by {', '.join(named)}.")
    if request.source is None:
        graph.layout(prog="nop")  # keeps the positions of the nodes
    else:
        make_readable(graph, request.groups, collapses=request.collapses)
        graph.layout(prog="dot")
    form, problem = request.form, ""
    if form == "png":
        _, _, width, height = (float(edge) for edge in graph.graph_attr["bb"].split(","))
        pixels = width * height * _PIXELS_PER_POINT**2
        if pixels > MAX_PIXELS:
            form = "svg"
            problem = (
                f"A PNG of it has {pixels / 1e6:.0f} megapixels; above "
                f"{MAX_PIXELS / 1e6:.0f} a picture is drawn as SVG only."
            )
    picture = bytes(graph.draw(format=form))
    return picture, _Answer(form=form, size=len(picture), problem=problem)
