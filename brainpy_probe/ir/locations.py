"""Rewrites the locations of MLIR modules; knows not what their names say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from brainpy_probe.compat import bindings

__all__ = ["Renamed", "renamed"]

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'

# Strings are read as well, so that no parenthesis in one counts. MLIR puts a blank before each
# location, and none before the parameters of a function of that name.
_OPENING = " loc("
_BEGIN = re.compile(rf"{_STRING}|{re.escape(_OPENING)}")
_WITHIN = re.compile(rf"{_STRING}|[()]")
_PLAIN = re.compile(rf"(?:{_STRING}|unknown)\)")
_NAME = re.compile(rf"({_STRING})(?!:\d)")
# MLIR prints a byte that is no printable ASCII, and a quotation mark, as two hexadecimal digits, a
# backslash as two of them (printEscapedString of LLVM; jaxlib 0.4.13 to 0.12.0).
_ESCAPE = re.compile(rb"\\(\\|[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb'[^ -~]|["\\]')


@dataclass(frozen=True)
class Renamed:
    """A module whose locations are names alone.

    Attributes
    ----------
    module : ir.Module
        A copy of the module that was given.
    text : str
        The text, locations and all, of which it was parsed.
    bare : str
        That text without locations.
    names : set of str
        The names.
    """

    module: Any
    text: str
    bare: str
    names: set[str]


def renamed(module: Any, rename: Callable[[str], str], context: Any) -> Renamed:
    """Copy a module, and leave of its locations a name alone: no file, no line.

    No binding sets a location up to 0.10.2 (0.4.13 on), so the module is printed, renamed and
    parsed.

    Parameters
    ----------
    module : ir.Module
        The module; it stays as it is.
    rename : callable
        Gives the new name for one that a location has, or nothing; the first that is left is taken.
    context : ir.Context
        Where the copy is made.
    """
    names: dict[str, str] = {}
    text = bindings.mlir_text(module, locations=True)
    pieces, bare = [], []
    end = 0
    for begin, after in _locations(text):
        location = text[begin:after]
        if location not in names:
            # callsite("f"(unknown) at fused["g"("/a/file.py":3:1), unknown])
            strings = _NAME.findall(location)
            names[location] = next(filter(None, (rename(_read(one[1:-1])) for one in strings)), "")
        name = names[location]
        pieces += [text[end:begin], f'"{_printed(name)}"' if name else "unknown"]
        bare.append(text[end : begin - len(_OPENING)].removeprefix(")"))
        end = after
    rest = text[end:]
    text = "".join([*pieces, rest])
    copy = bindings.parse_mlir(text, context)
    return Renamed(copy, text, "".join([*bare, rest.removeprefix(")")]), set(names.values()))


def _read(printed: str) -> str:
    """Return the string of which MLIR prints this between quotation marks."""
    if "\\" not in printed:
        return printed
    value = _ESCAPE.sub(
        lambda found: b"\\" if found[1] == b"\\" else bytes.fromhex(found[1].decode()),
        printed.encode(),
    )
    return value.decode(errors="replace")


def _printed(value: str) -> str:
    """Return what MLIR prints of a string between quotation marks."""
    return _ESCAPED.sub(
        lambda found: b"\\\\" if found[0] == b"\\" else b"\\%02X" % found[0][0],
        value.encode(errors="replace"),
    ).decode()


def _locations(text: str) -> Iterator[tuple[int, int]]:
    """Yield where what stands within each ``loc(...)`` begins and ends."""
    after = 0
    while found := _BEGIN.search(text, after):
        begin = after = found.end()
        if found[0] != _OPENING:
            continue
        plain = _PLAIN.match(text, begin)
        after = plain.end() if plain else _closed(text, begin)
        yield begin, after - 1


def _closed(text: str, begin: int) -> int:
    """Return the place behind the parenthesis that closes one before a place."""
    depth = 1
    for token in _WITHIN.finditer(text, begin):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if not depth:
            return token.end()
    raise ValueError("a location has no end")
