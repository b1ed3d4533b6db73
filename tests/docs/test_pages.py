"""The outputs on the pages about the explanation and about differences are today's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import eras
from tests.docs.pages import played


@pytest.mark.skipif(not eras.SINCE_2_7, reason="the outputs are those of today's BrainPy")
@pytest.mark.parametrize("page", ["explanation.md", "diff.md"])
def test_the_page_has_what_its_commands_print(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = played(page, tmp_path, monkeypatch)
    assert len(outputs) == 3
    for printed, shown in outputs:
        assert printed == shown
