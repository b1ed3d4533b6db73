"""Writes HTML in which every text is escaped.

A string is text. Only :class:`Html`, the result of :func:`tag`, is markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from brainpy_probe.characters import in_one_line

__all__ = ["Html", "escaped", "join", "table", "tag"]

_VOID = {"br", "col", "hr", "img", "input", "link", "meta"}


class Html(str):
    """A piece of HTML."""

    __slots__ = ()


Content = Html | str | int | float | None


def escaped(value: Content) -> Html:
    """Return a value as HTML: text is escaped, and its control characters are made visible."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else html.escape(in_one_line(str(value))))


def join(parts: Iterable[Content]) -> Html:
    """Return several pieces as one."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, /, *content: Content, **attributes: Content) -> Html:
    """Return an element.

    Parameters
    ----------
    name : str
        The element's name.
    *content : Html, str or number
        The content; strings are escaped.
    **attributes : str or number
        Its attributes. A trailing underscore is dropped (``class_``), and other underscores become
        hyphens (``data_value``). An attribute with the value None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def table(heads: Iterable[Content], rows: Iterable[Iterable[Content]], *, figures: int = 0) -> Html:
    """Return a sortable table.

    Parameters
    ----------
    heads : iterable
        The headers of the columns.
    rows : iterable of iterable
        The cells; a cell that :func:`tag` made is used unchanged.
    figures : int
        The number of columns, from the right, that have figures.
    """
    heads = list(heads)
    first = len(heads) - figures

    def cell(name: str, number: int, content: Content) -> Html:
        if isinstance(content, Html) and content.startswith((f"<{name}>", f"<{name} ")):
            return content
        return tag(name, content, class_="n" if number >= first else None)

    head = join(cell("th", number, content) for number, content in enumerate(heads))
    body = join(
        row
        if isinstance(row, Html)
        else tag("tr", *(cell("td", number, content) for number, content in enumerate(row)))
        for row in rows
    )
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", head)), tag("tbody", body), class_="sortable"),
        class_="wide",
    )
