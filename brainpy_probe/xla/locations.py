"""Rewrites the locations of MLIR modules; knows not what their names say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from brainpy_probe.xla import bindings

__all__ = ["Renamed", "renamed"]

_STRING = r'"(?:[^"\\]|\\.)*"'

# Strings are read as well, so that no parenthesis in one counts.
_TOKEN = re.compile(rf"{_STRING}|\bloc\(|[()]")
_NAME = re.compile(rf"({_STRING})(?!:\d)")


@dataclass(frozen=True)
class Renamed:
    """A module whose locations are names alone.

    Attributes
    ----------
    module : ir.Module
        A copy of the module that was given.
    text : str
        The text, locations and all, of which it was parsed.
    names : set of str
        The names.
    """

    module: Any
    text: str
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
    pieces = []
    end = 0
    for begin, after in _locations(text):
        location = text[begin:after]
        if location not in names:
            # callsite("f"(unknown) at fused["g"("/a/file.py":3:1), unknown])
            strings = _NAME.findall(location)
            names[location] = next(filter(None, (rename(one[1:-1]) for one in strings)), "")
        name = names[location]
        pieces += [text[end:begin], f'"{name}"' if name else "unknown"]
        end = after
    text = "".join([*pieces, text[end:]])
    copy = bindings.parse_mlir(text, context)
    return Renamed(copy, text, set(names.values()))


def _locations(text: str) -> Iterator[tuple[int, int]]:
    """Yield where what stands within each ``loc(...)`` begins and ends."""
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if not depth:
            if word == "loc(":
                depth, begin = 1, token.end()
        elif word == ")":
            depth -= 1
            if not depth:
                yield begin, token.start()
        elif word[-1] == "(":
            depth += 1
