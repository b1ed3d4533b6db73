"""The notebooks in examples/ have the outputs of a run, and still print them."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from docs.notebooks import NOTEBOOKS, executed, printed
from tests.docs.pages import Block, assert_agrees

NAMES = [file.name for file in NOTEBOOKS]


@pytest.mark.browser
@pytest.mark.parametrize("file", NOTEBOOKS, ids=NAMES)
def test_a_notebook_prints_its_stored_outputs(file: Path, tmp_path: Path) -> None:
    stored = import_module("nbformat").read(file, as_version=4)
    for cell, executed_cell in zip(stored.cells, executed(file, tmp_path).cells, strict=True):
        if cell.cell_type == "code":
            tags = cell.metadata.get("tags", [""])
            assert_agrees(printed(executed_cell), Block("output", tags[0], printed(cell)))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_small_and_names_no_machine(file: Path) -> None:
    assert file.stat().st_size < 50_000
    notebook = json.loads(file.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert not re.search(r'stderr|"error"|\\u001b|/(?:root|work|tmp)/|/home/(?!you/)', outputs)
