"""Turns text into output: for the shell, for print(), for a notebook; knows no record.

Names, messages and paths of a capture are anybody's. On a terminal a control character moves the
cursor, writes the title or hides what stands before it; characters that turn the direction of
writing show another text than is there; rich takes ``[red]`` in a name for a colour. So each such
character is written as a picture of itself, one for one, and nothing is markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from brainpy_probe.characters import visible

__all__ = ["Output", "visible_json"]

# In JSON only strings can hold these; it has escapes of its own for what is below a space.
_HIDDEN = re.compile(
    "[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


class Output(Console):
    """A console that shows what it is given, character by character."""

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        """Turn words into what rich prints."""
        return super().render_str(visible(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Turn what rich prints into pieces of a line."""
        if isinstance(renderable, Text) and visible(renderable.plain) != renderable.plain:
            renderable = renderable.copy()
            renderable.plain = visible(renderable.plain)
        return super().render(renderable, options)


def visible_json(text: str) -> str:
    """Return JSON with what a terminal would obey written as JSON's own escapes."""
    return _HIDDEN.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
