"""Text output for the terminal, for ``print()`` and for notebooks.

Names, messages and paths of a capture may hold any character. On a terminal a control character
moves the cursor, sets the window title or hides text; a bidirectional mark changes the order in
which text is shown; rich reads ``[red]`` in a name as markup. Therefore every such character is
replaced by a visible one, and markup is off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from brainpy_probe.characters import visible

__all__ = ["FittingTable", "Output", "plain_table", "visible_json"]

# In JSON these can occur only within strings; characters below a space are escaped anyway.
_HIDDEN = re.compile(
    "[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


class Output(Console):
    """A console that shows each character of a text literally."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to rich's Text."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render an object into segments."""
        if isinstance(renderable, Text) and visible(renderable.plain) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = visible(renderable.plain)
        return super().render(renderable, options)


def plain_table(*columns: Column) -> Table:
    """Return a table without borders, two spaces between its columns."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


class FittingTable:
    """A table that leaves out columns where it would be wider than the terminal.

    Parameters
    ----------
    *titles : str
        The heads of the columns.
    names : int
        How many columns, from the left, have names; the others have figures.
    spare : sequence of str
        The columns that may be left out, in the order in which they are.
    longest : int, optional
        Names that are longer than this are folded, so that they do not cost columns. By default,
        half of the width.
    """

    def __init__(
        self, *titles: str, names: int = 1, spare: Sequence[str] = (), longest: int | None = None
    ) -> None:
        self._titles, self._names, self._spare = titles, names, spare
        self._longest = longest
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row of a cell for each title."""
        self._rows.append(cells)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        numbers = list(range(len(self._titles)))
        widths = [
            max(map(cell_len, column)) for column in zip(self._titles, *self._rows, strict=True)
        ]
        longest = self._longest or options.max_width // 2
        for number in range(self._names):
            widths[number] = min(widths[number], longest)
        missing = []
        for title in self._spare:
            if sum(widths[number] + 2 for number in numbers) - 2 <= options.max_width:
                break
            if title in self._titles:
                numbers.remove(self._titles.index(title))
                missing.append(title)
        table = plain_table(
            *(
                Column(self._titles[number], overflow="fold")
                if number < self._names
                else Column(self._titles[number], justify="right", no_wrap=True)
                for number in numbers
            )
        )
        for row in self._rows:
            table.add_row(*(row[number] for number in numbers))
        yield table
        if missing:
            yield Text(f"A wider terminal shows {', '.join(missing)}.", style="dim")


def visible_json(text: str) -> str:
    """Return JSON in which each character that a terminal interprets is escaped."""
    return _HIDDEN.sub(lambda match: _escape(ord(match[0])), text)


def _escape(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
