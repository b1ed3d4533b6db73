"""Pictures of XLA's dot files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.errors import BadSetting, ProbeError
from brainpy_probe.format.digests import digest_of
from brainpy_probe.format.manifest.common_records import WrittenFile
from brainpy_probe.report.pictures import xla as pictures
from brainpy_probe.report.pictures.colours import Colours
from brainpy_probe.report.pictures.xla import DotFile, dot_files, draw, write_next_to


@pytest.fixture(scope="module")
def cap(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a capture of two small functions with their dot files."""

    def small(x: Any) -> Any:
        return x + 1

    def larger(x: Any) -> Any:
        for n in range(6):
            x = (x @ x.T) * n
        return x

    with probe.capture(tmp_path_factory.mktemp("graph"), xla_dump="dot", strict=True) as cap:
        jax.jit(small)(np.ones((3, 3), np.float32))
        jax.jit(larger)(np.ones((3, 3), np.float32))
    return cap


def test_the_largest_dot_file_comes_first(cap: Any) -> None:
    sizes = [source.path.stat().st_size for source in dot_files(cap)]
    assert len(sizes) >= 4
    assert sizes == sorted(sizes, reverse=True)


def test_dot_files_are_selected_by_module_name_or_number(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_small")
    by_name = dot_files(cap, "jit_small")
    assert by_name
    assert by_name == dot_files(cap, str(module.record.index))
    (xla,) = {str(int(number)) for number in re.findall(r"module_(\d+)\.", str(by_name))}
    assert by_name == dot_files(cap, xla)
    assert {source.path for source in by_name} <= set(module.dump_paths)


def test_an_unknown_module_is_an_error_with_the_known_ones(cap: Any) -> None:
    with pytest.raises(BadSetting, match="jit_small"):
        dot_files(cap, "jit_none")


def test_a_capture_without_dot_files_names_the_option(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        jax.jit(lambda x: x)(np.ones(2))
    with pytest.raises(ProbeError, match='xla_dump="dot"'):
        dot_files(cap)


@pytest.mark.parametrize(("image_format", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_picture_is_drawn_next_to_its_dot_file(cap: Any, image_format: Any, magic: bytes) -> None:
    source = dot_files(cap, "jit_small")[0]
    (drawing,) = draw([source], image_format, probe.Limits(), groups={})
    assert drawing.problem == ""
    path = write_next_to(drawing, source)
    assert path == source.path.with_suffix(f".{image_format}")
    assert path.read_bytes().startswith(magic)
    assert list(source.path.parent.glob(".*")) == []


FUSED = """digraph G { stylesheet=<data:text/css, @import url(https://x.invalid/);>;
subgraph cluster_1 { label=<Fused expression for <b>add_fusion</b><br/>kind=kLoop>;
1 [label=<<b>add.1</b>>, tooltip="jit(f)/~Net/~E/add\n/a/file.py"];
2 [label=<<b>mul.1</b>>, tooltip="jit(f)/~Net/~E/mul"]; 1 -> 2; }
3 [label=<<b>p</b>>]; 3 -> 1; 4 [label=<<b>out</b>>, tooltip="~E2E.comm/x"]; 2 -> 4; }"""


@pytest.mark.parametrize("collapses", [True, False])
def test_a_picture_has_components_and_fusions_as_nodes(collapses: bool, tmp_path: Path) -> None:
    (tmp_path / "a.dot").write_text(FUSED)
    file = WrittenFile(path="a.dot", kind="xla", size=len(FUSED), digest=digest_of(FUSED.encode()))
    source = DotFile(tmp_path, file)
    groups = {"E": "E", "E2E": "E2E", "E2E.comm": "E2E"}
    (drawing,) = draw([source], "svg", probe.Limits(), groups=groups, collapses=collapses)
    shown = drawing.content.decode()
    assert ("fusion of 2 ops" in shown) == collapses
    assert ("mul.1" in shown) != collapses
    assert ">E</text>" in shown
    assert ">E2E.comm</text>" in shown
    assert Colours(groups).fill("E2E") in shown
    assert "x.invalid" not in shown
    assert "file.py" not in shown


def test_a_png_that_is_too_large_becomes_an_svg(
    cap: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot = dot_files(cap, "jit_small")[0].path.read_text()
    monkeypatch.setattr(pictures, "MAX_PIXELS", 10)
    request = pictures._Request(form="png", source=dot_files(cap, "jit_small")[0])
    content, answer = pictures._lay_out(dot, request)
    assert answer.form == "svg"
    assert "megapixels" in answer.problem
    assert content.startswith(b"<?xml")


NODES = range(1200)
LARGE = " ".join(f"n{a} -> n{(a * k + 7) % 1200};" for a in NODES for k in range(2, 12))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"digraph {{ {LARGE} }}", "did not end within 1 s"),
        ("digraph { a -> ", "Graphviz failed: "),
        ('digraph { a [image="/etc/passwd"] }', "refers to other files by image."),
        ('digraph { subgraph x { a [shapefile="x"] } }', "refers to other files by shapefile."),
        ('digraph { a [label=<<b/><IMG SRC="x"/>>] }', "refers to other files by <IMG>."),
    ],
    ids=["large", "broken", "image", "shape", "label"],
)
def test_a_dot_file_that_cannot_be_drawn_has_a_problem(
    content: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "a.dot").write_text(content)
    file = WrittenFile(
        path="a.dot", kind="xla", size=len(content), digest=digest_of(content.encode())
    )
    limits = probe.Limits(seconds=1 if "1 s" in problem else 60)
    (drawing,) = draw([DotFile(tmp_path, file)], "svg", limits, groups={})
    assert drawing.content == b""
    assert problem in drawing.problem
    assert [path.name for path in tmp_path.iterdir()] == ["a.dot"]


def test_a_missing_pygraphviz_names_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    with pytest.raises(ProbeError, match=r"pip install 'brainpy-probe\[graph\]'"):
        list(draw([], "svg", probe.Limits(), groups={}))
