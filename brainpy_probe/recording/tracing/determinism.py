"""Finds the names that functions use, and code that may give different results at each call."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import CodeType

__all__ = [
    "NotComparable",
    "UsedNames",
    "names_in",
    "require_deterministic",
    "require_deterministic_builtin",
    "used_names",
]

# Modules of the standard library that always give the same results. The state of ``random`` is
# compared elsewhere.
_DETERMINISTIC = {
    "abc", "builtins", "cmath", "collections", "contextlib", "copy", "dataclasses", "enum",
    "fractions", "functools", "itertools", "logging", "math", "numbers", "operator", "random",
    "string", "types", "typing", "warnings",
}  # fmt: skip
_NONDETERMINISTIC_BUILTINS = {
    "__import__", "breakpoint", "eval", "exec", "globals", "hash", "id", "input", "locals", "open",
    "vars",
}  # fmt: skip
# Functions of NumPy that read files or the system's random numbers.
_NONDETERMINISTIC_NUMPY = {
    "RandomState", "SeedSequence", "default_rng", "fromfile", "genfromtxt", "load", "loadtxt",
    "memmap",
}  # fmt: skip


class NotComparable(Exception):
    """A step depends on an object that can't be inspected, or that changes at each call."""


def names_in(code: CodeType) -> set[str]:
    """Return the globals and attributes that a function and its inner functions name."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names


@dataclass(frozen=True)
class UsedNames:
    """The names that a function and its inner functions use.

    Attributes
    ----------
    names : frozenset of str
        All names, attributes included.
    globals : tuple of str
        The global names, sorted.
    """

    names: frozenset[str]
    globals: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def used_names(code: CodeType) -> UsedNames:
    """Return the names that a function uses.

    Raises
    ------
    NotComparable
        If it imports a module whose results change at each call.
    """
    names, global_names = names_in(code), set()
    for instruction in _instructions(code):
        if instruction.opname == "IMPORT_NAME":
            require_deterministic(str(instruction.argval), names)
        elif instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            global_names.add(str(instruction.argval))
    return UsedNames(frozenset(names), tuple(sorted(global_names)))


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)


def require_deterministic(module: str, names: AbstractSet[str]) -> None:
    """Check that a module of Python or NumPy always gives the same results.

    Raises
    ------
    NotComparable
        If it may not, given the names that the function uses.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and top not in _DETERMINISTIC:
        raise NotComparable(f"it uses {module}")
    if top == "numpy" and names & _NONDETERMINISTIC_NUMPY:
        raise NotComparable("it uses files or the system's random numbers through NumPy")


def require_deterministic_builtin(name: str) -> None:
    """Check that a builtin function always gives the same results.

    Raises
    ------
    NotComparable
        If it may not.
    """
    if name in _NONDETERMINISTIC_BUILTINS:
        raise NotComparable(f"it calls {name}()")
