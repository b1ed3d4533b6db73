"""Marks where two expressions differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

__all__ = ["changed_numbers", "mark", "renamed", "tokens"]

_TOKEN = re.compile(r"[^\W\d][\w.]*'*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\s+|\*\*|[<>=!]=|.")
_NUMBER = re.compile(r"-?\d")
# SequenceMatcher takes quadratic time in the length of two unequal texts.
_MAX_CHARACTERS = 4000


def tokens(text: str) -> list[str]:
    """Split an expression into names, numbers, signs and spaces."""
    return _TOKEN.findall(text)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Replace names in an expression."""
    return "".join(names.get(token, token) for token in tokens(text))


def mark(old: str, new: str) -> tuple[str, str]:
    """Return both expressions with their differing parts in ``[-...-]`` and ``{+...+}``."""
    left, right = tokens(old), tokens(new)
    if len(left) > _MAX_CHARACTERS or len(right) > _MAX_CHARACTERS:
        return old, new
    marked: tuple[list[str], list[str]] = ([], [])
    for kind, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        removed, added = "".join(left[i:j]), "".join(right[k:m])
        marked[0].append(removed if kind == "equal" or not removed else f"[-{removed}-]")
        marked[1].append(added if kind == "equal" or not added else f"{{+{added}+}}")
    return "".join(marked[0]), "".join(marked[1])


def changed_numbers(old: str, new: str) -> list[tuple[str, str]]:
    """Return the numbers that differ between two expressions that are otherwise equal."""
    pairs = zip(_signed(old), _signed(new), strict=False)
    return [(a, b) for a, b in pairs if a != b and _NUMBER.match(a) and _NUMBER.match(b)]


def _signed(text: str) -> list[str]:
    """Split an expression, with a sign before a number as a part of the number.

    A printed ``V - 60`` is the constant -60 or a subtraction of 60: the operations are equal.
    """
    found: list[str] = []
    for token in tokens(text):
        if found and found[-1] == "-" and token[0].isdigit():
            found[-1] = f"-{token}"
        elif token.strip():
            found.append(token)
    return found
