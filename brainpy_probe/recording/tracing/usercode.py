"""What of the code that a step reaches is the user's, and what names it uses; knows no run."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import CodeType

__all__ = [
    "Unrecognisable",
    "Used",
    "is_users",
    "names_in",
    "require_pure",
    "require_pure_builtin",
    "used_by",
]

_LIBRARIES = {
    "brainpy", "brainpy_probe", "brainstate", "brainevent", "brainunit", "braintools", "brainpylib",
    "saiunit", "jax", "jaxlib", "ml_dtypes", "opt_einsum", "numba", "taichi", "numpy", "scipy",
    "matplotlib", "pandas", "tqdm", "typing_extensions", "wrapt",
}  # fmt: skip
# What the user's functions may name of the standard library: it gives the same each time. Random
# numbers of the module's own are known by its state.
_PURE = {
    "abc", "builtins", "cmath", "collections", "contextlib", "copy", "dataclasses", "enum",
    "fractions", "functools", "itertools", "logging", "math", "numbers", "operator", "random",
    "string", "types", "typing", "warnings",
}  # fmt: skip
_IMPURE_BUILTINS = {
    "__import__", "breakpoint", "eval", "exec", "globals", "hash", "id", "input", "locals", "open",
    "vars",
}  # fmt: skip
# Names by which NumPy reads files or the system's random numbers.
_IMPURE_OF_NUMPY = {
    "RandomState", "SeedSequence", "default_rng", "fromfile", "genfromtxt", "load", "loadtxt",
    "memmap",
}  # fmt: skip


class Unrecognisable(Exception):
    """What a step reaches can't be looked into, or gives something else each time."""


def is_users(module: str | None) -> bool:
    """Whether a module, by its name, is the user's: none of the libraries', nor Python's own."""
    package = (module or "builtins").partition(".")[0]
    return package not in _LIBRARIES and package not in sys.stdlib_module_names


def names_in(code: CodeType) -> set[str]:
    """Return the global names and the attributes that a function uses, inner functions included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names


@dataclass(frozen=True)
class Used:
    """The names that a function uses, those of inner functions included.

    Attributes
    ----------
    names : frozenset of str
        All of them, attributes too.
    globals : tuple of str
        The global ones, in order.
    """

    names: frozenset[str]
    globals: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def used_by(code: CodeType) -> Used:
    """Return the names that a function uses.

    Raises
    ------
    Unrecognisable
        If it imports what gives something else each time.
    """
    names, there = names_in(code), set()
    for instruction in _instructions(code):
        if instruction.opname == "IMPORT_NAME":
            require_pure(str(instruction.argval), names)
        elif instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            there.add(str(instruction.argval))
    return Used(frozenset(names), tuple(sorted(there)))


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)


def require_pure(module: str, names: AbstractSet[str]) -> None:
    """Refuse a module of Python's own, or of NumPy's, that gives something else each time.

    Raises
    ------
    Unrecognisable
        If it is one, given the names that a function uses.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and top not in _PURE:
        raise Unrecognisable(f"it uses {module}")
    if top == "numpy" and names & _IMPURE_OF_NUMPY:
        raise Unrecognisable("it uses what NumPy reads from elsewhere")


def require_pure_builtin(name: str) -> None:
    """Refuse a function of Python's own that looks at what nothing here compares.

    Raises
    ------
    Unrecognisable
        If it is one.
    """
    if name in _IMPURE_BUILTINS:
        raise Unrecognisable(f"it calls {name}()")
