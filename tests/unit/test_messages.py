"""What is printed to stderr, whatever it is."""

from __future__ import annotations

import io
import sys
import warnings

import pytest

from brainpy_probe import user_warnings
from brainpy_probe.errors import print_to_stderr


def test_a_warning_that_is_an_error_is_said_instead(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        user_warnings.warn("what is wrong")
    assert capsys.readouterr().err == "brainpy-probe: what is wrong\n"


def test_what_stderr_can_not_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(content, encoding="ascii"))
    print_to_stderr("gr\u00f6\u00dfer\n  than")
    assert content.getvalue() == b"brainpy-probe: gr\\xf6\\xdfer than\n"
