"""Puts a fault into a copy of the package's source, by function and snippet.

A function is compared as Python prints its syntax tree, without docstrings, comments and line
breaks: rewording or reformatting the source does not disturb a fault. A snippet that is not found
exactly once is an error.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fault", "NotFound", "broken"]


@dataclass(frozen=True)
class Fault:
    """One deliberate fault.

    Parameters
    ----------
    name : str
        What the package does wrong with it.
    function : str
        The qualified name of a function of the package: ``Session.close``. Its module is searched.
    old : str
        A snippet of the function, as `ast.unparse` prints it.
    new : str
        What stands there instead.
    tests : str
        The arguments of pytest that name the tests of which one must fail; ``-k`` takes the rest
        of the words.
    """

    name: str
    function: str
    old: str
    new: str
    tests: str

    @property
    def arguments(self) -> list[str]:
        """The arguments of pytest."""
        files, separator, words = self.tests.partition(" -k ")
        return [*files.split(), *(["-k", words] if separator else [])]


class NotFound(Exception):
    """A fault does not fit the source any more."""


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def broken(package: Path, fault: Fault) -> tuple[Path, str]:
    """Return the file that holds a fault's function, and its source with the fault in it.

    Raises
    ------
    NotFound
        The function, or the snippet within it, is not there exactly once.
    """
    there = False
    found: list[tuple[Path, str]] = []
    for path in sorted(package.rglob("*.py")):
        source = path.read_text()
        for function, text in _functions(source, fault.function):
            there = True
            if text.count(fault.old) == 1:
                new = _replaced(source, function, text.replace(fault.old, fault.new))
                found.append((path, new))
    if len(found) != 1:
        what = f"{len(found)} functions with" if there else "no such function for"
        raise NotFound(f"{fault.name!r}: {fault.function} has {what} {fault.old!r}")
    compile(found[0][1], str(found[0][0]), "exec")
    return found[0]


def _functions(source: str, name: str) -> Iterator[tuple[_Function, str]]:
    """Yield the functions of a qualified name, and how each is printed."""
    parts = name.split(".")
    if all(part in source for part in parts):
        for function in _named(_tree(source), parts):
            yield function, ast.unparse(function)


@functools.cache
def _tree(source: str) -> ast.Module:
    """Return a module's tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (*_Function.__args__, ast.ClassDef)) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _named(tree: ast.AST, parts: list[str]) -> Iterator[_Function]:
    for node in getattr(tree, "body", ()):
        if isinstance(node, (*_Function.__args__, ast.ClassDef)) and node.name == parts[0]:
            if len(parts) > 1:
                yield from _named(node, parts[1:])
            elif isinstance(node, _Function):
                yield node


def _replaced(source: str, function: _Function, text: str) -> str:
    lines = source.splitlines()
    begin = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)]) - 1
    indented = [f"{' ' * function.col_offset}{line}" for line in text.splitlines()]
    return "\n".join([*lines[:begin], *indented, *lines[function.end_lineno :]]) + "\n"
