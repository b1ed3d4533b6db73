"""Rewrites the locations of MLIR modules; knows not what their names say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from brainpy_probe.xla import bindings

__all__ = ["renamed"]

_STRING = r'"(?:[^"\\]|\\.)*"'
_ALIAS = re.compile(r"^(#loc\d*) = loc\((.*)\)$", re.MULTILINE)
# A location holds others: callsite("f"(#loc1) at fused[#loc2, "g"(#loc3)]).
_INNERMOST = rf"(?:{_STRING}|[^()\"])*"
_NESTED = rf"(?:{_STRING}|[^()\"]|\((?:{_STRING}|[^()\"]|\({_INNERMOST}\))*\))*"
_LOCATION = re.compile(rf"\bloc\(({_NESTED})\)")
_NAMED = re.compile(rf"({_STRING})(?!:\d)|(#loc\d*)")


def renamed(module: Any, rename: Callable[[str], str]) -> Any:
    """Return a copy of a module whose locations are names alone: no file, no line.

    No binding sets a location (0.4.13 to 0.10.2), so the module is printed, renamed and parsed.

    Parameters
    ----------
    module : ir.Module
        The module; it stays as it is.
    rename : callable
        Gives the new name for the one that a location has, or nothing.

    Raises
    ------
    ValueError
        If anything but locations would change.
    """
    # Apart from the operations, as "#loc3 = loc(...)": whole stacks of calls have 100 lines inline.
    text = str(module.operation.get_asm(enable_debug_info=True))
    aliases = dict(_ALIAS.findall(text))

    def name_of(location: str, depth: int = 0) -> str:
        # "name"(child); callsite(callee at caller), fused[...]: the first part that has a name
        for string, alias in _NAMED.findall(location) if depth <= len(aliases) else ():
            name = rename(string[1:-1]) if string else name_of(aliases.get(alias, ""), depth + 1)
            if name:
                return name
        return ""

    def written(found: re.Match[str]) -> str:
        name = name_of(found[1])
        return f'loc("{name}")' if name else "loc(unknown)"

    copy = bindings.parse_mlir(_LOCATION.sub(written, _ALIAS.sub("", text)), module.context)
    if bindings.mlir_text(copy) != bindings.mlir_text(module):
        raise ValueError("the module without its locations is another one")
    return copy
