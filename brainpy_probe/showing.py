"""Base classes of public objects: ``print`` shows them as text, a notebook shows them as HTML."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TypeVar

__all__ = ["Listed", "Shown", "for_stdout"]

_T = TypeVar("_T")


class Shown:
    """An object that the package ``report`` renders as text and HTML when asked."""

    __slots__ = ()

    def __str__(self) -> str:
        return for_stdout(import_module("brainpy_probe.report.text.objects").as_text(self))

    def _repr_html_(self) -> str:
        html: str = import_module("brainpy_probe.report.page.notebook").as_html(self)
        return html


class Listed(Shown, tuple[_T, ...]):
    """A tuple with a short repr, a readable print, and HTML in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self))}{',' if len(self) == 1 else ''})"

    def __str__(self) -> str:
        return super().__str__() if self else "()"


def for_stdout(text: str) -> str:
    """Escape the characters of a text that stdout can't encode; names may have any character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
