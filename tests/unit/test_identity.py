"""The first difference of two texts."""

from __future__ import annotations

import pytest

from brainpy_probe.ir import identity


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("a\nb", "a\nb", ""),
        ("a\nb", "a\nc", "line 2 differs: 'b' and 'c'"),
        ("a\nb", "a", "one text is longer than the other"),
        ("a", "a\n", "one text is longer than the other"),
    ],
)
def test_difference_names_the_first_line(left: str, right: str, message: str) -> None:
    assert identity.first_difference(left, right) == message
