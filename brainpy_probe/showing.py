"""Lets what a user holds show itself: by ``print`` as text, and in a notebook as HTML."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TypeVar

__all__ = ["Listed", "Shown", "for_stdout"]

_T = TypeVar("_T")


class Shown:
    """An object whose text and HTML the package ``report`` makes, which is imported when needed."""

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
    """Return a text in which what stdout can't encode is escaped: a name may hold anything."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
