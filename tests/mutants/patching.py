"""Applies a fault to a copy of the package's source, by function and snippet.

A function is compared as `ast.unparse` prints it, without docstrings, comments and line breaks, so
that rewording or reformatting the source does not break a fault. A snippet that does not occur
exactly once is an error.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fault", "NotFound", "with_fault"]


@dataclass(frozen=True)
class Fault:
    """A deliberate fault.

    Parameters
    ----------
    name : str
        The wrong behaviour that it causes.
    function : str
        The qualified name of a function of the package: ``Session.close``. Its module is searched.
    old : str
        A snippet of the function, as `ast.unparse` prints it.
    new : str
        Its replacement.
    tests : str
        The arguments of pytest that select the tests; at least one must fail. ``-k`` takes the
        rest of the words.
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
    """A fault no longer fits the source."""


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def with_fault(package: Path, fault: Fault) -> tuple[Path, str]:
    """Return the file of a fault's function, and its source with the fault applied.

    Raises
    ------
    NotFound
        If the function, or the snippet within it, does not occur exactly once.
    """
    function_exists = False
    found: list[tuple[Path, str]] = []
    for path in sorted(package.rglob("*.py")):
        source = path.read_text()
        for function, text in _functions(source, fault.function):
            function_exists = True
            if text.count(fault.old) == 1:
                new = _replace(source, function, text.replace(fault.old, fault.new))
                found.append((path, new))
    if len(found) != 1:
        problem = f"{len(found)} functions with" if function_exists else "no such function for"
        raise NotFound(f"{fault.name!r}: {fault.function} has {problem} {fault.old!r}")
    compile(found[0][1], str(found[0][0]), "exec")
    return found[0]


def _functions(source: str, name: str) -> Iterator[tuple[_Function, str]]:
    """Yield the functions with a qualified name, each with its printed source."""
    parts = name.split(".")
    if all(part in source for part in parts):
        for function in _find(_tree(source), parts):
            yield function, ast.unparse(function)


@functools.cache
def _tree(source: str) -> ast.Module:
    """Return a module's tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (*_Function.__args__, ast.ClassDef)) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _find(tree: ast.AST, parts: list[str]) -> Iterator[_Function]:
    for node in getattr(tree, "body", ()):
        if isinstance(node, (*_Function.__args__, ast.ClassDef)) and node.name == parts[0]:
            if len(parts) > 1:
                yield from _find(node, parts[1:])
            elif isinstance(node, _Function):
                yield node


def _replace(source: str, function: _Function, text: str) -> str:
    lines = source.splitlines()
    begin = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)]) - 1
    indented = [f"{' ' * function.col_offset}{line}" for line in text.splitlines()]
    return "\n".join([*lines[:begin], *indented, *lines[function.end_lineno :]]) + "\n"
