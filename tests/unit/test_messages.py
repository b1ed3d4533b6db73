"""Messages on stderr: progress and warnings."""

from __future__ import annotations

import io
import sys
import time
import warnings

import pytest

from brainpy_probe import user_warnings
from brainpy_probe.errors import print_to_stderr
from brainpy_probe.progress import progress


@pytest.mark.parametrize("notebook", [False, True])
def test_progress_appears_only_on_a_terminal(
    notebook: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("brainpy_probe.progress._DELAY", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats the stream as a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    if notebook:
        monkeypatch.setenv("JPY_PARENT_PID", "1")
    with progress("Reading the ops"):
        time.sleep(0.3)
    assert ("Reading the ops" in capsys.readouterr().err) is not notebook


def test_a_warning_that_is_an_error_is_printed_instead(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        user_warnings.warn("the message")
    assert capsys.readouterr().err == "brainpy-probe: the message\n"


def test_characters_that_stderr_cannot_encode_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(content, encoding="ascii"))
    print_to_stderr("gr\u00f6\u00dfer\n  than")
    assert content.getvalue() == b"brainpy-probe: gr\\xf6\\xdfer than\n"
