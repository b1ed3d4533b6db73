"""Replaces control characters and invisible characters by visible ones."""

from __future__ import annotations

__all__ = ["in_one_line", "visible"]

# Unicode has a picture of each ASCII control character. Other invisible characters are replaced by
# U+FFFD: other controls, bidirectional marks, zero-width characters, surrogates (which no stream
# can encode), and tags.
_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_REPLACED = (
    *range(0x80, 0xA0),
    0x61C,
    0x200B,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xD800, 0xE000),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)
_SHOWN = _PICTURES | dict.fromkeys(_REPLACED, 0xFFFD)
_LINES = {code: shown for code, shown in _SHOWN.items() if code != 0x0A} | {0x09: 0x20}
_ONE_LINE = _SHOWN | {0x09: 0x20, 0x0A: 0x20}


def visible(text: str) -> str:
    """Return a text of several lines with each invisible character replaced by a visible one."""
    return text.translate(_LINES)


def in_one_line(text: str) -> str:
    """Return a text as one line, in which a line break can't start another line."""
    return text.translate(_ONE_LINE)
