"""How two texts differ."""

from __future__ import annotations

import pytest

from brainpy_probe.ir import identity


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ("a\nb", "a\nb", ""),
        ("a\nb", "a\nc", "line 2 differs: 'b' and 'c'"),
        ("a\nb", "a", "one text is longer than the other"),
        ("a", "a\n", "one text is longer than the other"),
    ],
)
def test_difference_names_the_first_line(left: str, right: str, said: str) -> None:
    assert identity.first_difference(left, right) == said
