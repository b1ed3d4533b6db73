"""Why a module was compiled, and compiled again, in BrainPy's words; knows no file and no call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from brainpy_probe.live import mlir, seams
from brainpy_probe.live.modules import ModuleFacts
from brainpy_probe.records import Reason

__all__ = ["explain"]

_SHOWN = 3


def explain(
    now: ModuleFacts, before: Sequence[ModuleFacts], names: Sequence[str]
) -> tuple[Reason, str]:
    """Say why a module was compiled, given those of its name that were compiled before.

    Parameters
    ----------
    now : ModuleFacts
        The module.
    before : sequence of ModuleFacts
        Earlier modules of the same name and model, the last one last.
    names : sequence of str
        The names of the module's arguments, where they are known.
    """
    if not before:
        return "first", "It was compiled for the first time in this capture."
    if any(one.fingerprint == now.fingerprint for one in before):
        return "same", (
            "The same program again: BrainPy builds a new function on every run(), "
            "which JAX then traces and compiles anew."
        )
    last = before[-1]
    if last.backend != now.backend:
        return "backend", f"Another backend: {now.backend} after {last.backend}."
    if len(last.arguments) != len(now.arguments):
        return "code", (
            f"Another program: it takes {len(now.arguments)} arguments, "
            f"the last one took {len(last.arguments)}."
        )
    if last.arguments != now.arguments and sorted(last.arguments) == sorted(now.arguments):
        return "code", "Another program: it takes the same arguments in another order."
    changed = [n for n, (a, b) in enumerate(_pairs(last, now)) if a != b]
    if changed:
        shapes = [n for n in changed if _shape(last.arguments[n]) != _shape(now.arguments[n])]
        shown = (shapes or changed)[:_SHOWN]
        more = len(shapes or changed) - len(shown)
        parts = [
            f"{names[n] if names else f'argument {n}'} from {last.arguments[n]} "
            f"to {now.arguments[n]}"
            for n in shown
        ]
        what = "shape" if shapes else "dtype"
        sentence = f"Another {what}: {', '.join(parts)}{f' and {more} more' if more else ''}."
        return ("shape" if shapes else "dtype"), sentence
    if _skeleton(last) == _skeleton(now):
        return "values", "Other values are baked into the program as constants."
    return "code", "Another program: its operations differ."


def _pairs(last: ModuleFacts, now: ModuleFacts) -> list[tuple[str, str]]:
    return list(zip(last.arguments, now.arguments, strict=True))


def _shape(kind: str) -> str:
    """Return the dimensions of a type such as ``tensor<10x3xf32>``."""
    return "x".join(re.findall(r"(\d+)x", kind))


def _skeleton(module: ModuleFacts) -> list[str]:
    """Return a module's operations without the values of its constants."""
    parsed = seams.parse_mlir(module.content, seams.mlir_context())
    return [
        f"{one.name} {[str(result.type) for result in one.results]} {_attributes(one)}"
        for one in mlir.operations(parsed)
    ]


def _attributes(operation: Any) -> str:
    if operation.name == "stablehlo.constant":
        return ""
    return str([(name, str(value)) for name, value in seams.mlir_attributes(operation).items()])
