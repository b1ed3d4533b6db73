"""Rewrites the locations of MLIR modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirContext, MlirModule

__all__ = ["RenamedModule", "remove_locations", "rename_locations"]

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'

# Strings are matched too, so that parentheses within them are ignored. MLIR prints a space before
# each location, and none before the parameters of a function named loc.
_OPENING = " loc("
_BEGIN = re.compile(rf"{_STRING}|{re.escape(_OPENING)}")
_WITHIN = re.compile(rf"{_STRING}|[()]")
_PLAIN = re.compile(rf"(?:{_STRING}|unknown)\)")
_NAME = re.compile(rf"({_STRING})(?!:\d)")
# MLIR prints a quotation mark, and a byte that is not printable ASCII, as two hexadecimal digits,
# and a backslash as two backslashes (printEscapedString of LLVM; jaxlib 0.4.13 to 0.12.0).
_ESCAPE = re.compile(rb"\\(\\|[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb'[^ -~]|["\\]')


@dataclass(frozen=True)
class RenamedModule:
    """A module whose locations are only names.

    Attributes
    ----------
    module : ir.Module
        A copy of the original module.
    text : str
        The text from which it was parsed, with locations.
    bare : str
        The same text without locations.
    names : set of str
        The names in the locations.
    """

    module: MlirModule
    text: str
    bare: str
    names: set[str]


def rename_locations(
    module: MlirModule, rename: Callable[[str], str], context: MlirContext
) -> RenamedModule:
    """Copy a module, and replace each location by a name without file and line.

    Up to 0.10.2 the bindings can't set locations (from 0.4.13 on). Therefore the module is printed,
    and the changed text is parsed.

    Parameters
    ----------
    module : ir.Module
        The module, which is not changed.
    rename : callable
        Returns the new name for a name in a location, or an empty string. The first non-empty name
        is used.
    context : ir.Context
        The context of the copy.
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
            renamed = (rename(_unescape(string[1:-1])) for string in strings)
            names[location] = next(filter(None, renamed), "")
        name = names[location]
        pieces += [text[end:begin], f'"{_escape(name)}"' if name else "unknown"]
        bare.append(text[end : begin - len(_OPENING)].removeprefix(")"))
        end = after
    rest = text[end:]
    text = "".join([*pieces, rest])
    copy = bindings.parse_mlir(text, context)
    bare_text = "".join([*bare, rest.removeprefix(")")])
    return RenamedModule(copy, text, bare_text, set(names.values()))


def remove_locations(text: str) -> str:
    """Return the text of a module without locations. Each operation stays on its line."""
    pieces = []
    end = 0
    for begin, after in _locations(text):
        pieces.append(text[end : begin - len(_OPENING)])
        end = after + 1
    return "".join([*pieces, text[end:]])


def _unescape(printed: str) -> str:
    """Return the value of a string, given its text in MLIR without the quotation marks."""
    if "\\" not in printed:
        return printed
    value = _ESCAPE.sub(
        lambda match: b"\\" if match[1] == b"\\" else bytes.fromhex(match[1].decode()),
        printed.encode(),
    )
    return value.decode(errors="replace")


def _escape(value: str) -> str:
    """Return the text of a string in MLIR, without the quotation marks."""
    return _ESCAPED.sub(
        lambda match: b"\\\\" if match[0] == b"\\" else b"\\%02X" % match[0][0],
        value.encode(errors="replace"),
    ).decode()


def _locations(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of the content of each ``loc(...)``."""
    after = 0
    while match := _BEGIN.search(text, after):
        begin = after = match.end()
        if match[0] != _OPENING:
            continue
        plain = _PLAIN.match(text, begin)
        after = plain.end() if plain else _closing_parenthesis(text, begin)
        yield begin, after - 1


def _closing_parenthesis(text: str, begin: int) -> int:
    """Return the position after the parenthesis that closes the one before ``begin``."""
    depth = 1
    for token in _WITHIN.finditer(text, begin):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if not depth:
            return token.end()
    raise ValueError("a location is not closed")
