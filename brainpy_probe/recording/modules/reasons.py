"""Explains why a module was compiled, or compiled again, in terms of BrainPy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from brainpy_probe.compat import bindings, brainpy_transforms
from brainpy_probe.errors import DamagedCapture
from brainpy_probe.format.manifest.records import ModuleFacts, ModuleRecord, Reason
from brainpy_probe.ir import mlir
from brainpy_probe.recording.modules.facts import normalized

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirModule

__all__ = ["explain"]

_MAX_SHOWN = 3


def explain(
    now: ModuleFacts,
    bytecode: bytes,
    call: int | None,
    before: Sequence[ModuleRecord],
    names: Sequence[str],
    read: Callable[[ModuleRecord], bytes],
) -> tuple[Reason, str]:
    """Return the reason why a module was compiled, and a sentence that explains it.

    Parameters
    ----------
    now : ModuleFacts
        The module.
    bytecode : bytes
        Its bytecode.
    call : int or None
        The number of the call for which it was compiled, if any.
    before : sequence of ModuleRecord
        The earlier modules of the same name and model, the latest one last.
    names : sequence of str
        The names of the module's arguments, if they are known.
    read : callable
        Returns the bytecode of an earlier module, or raises DamagedCapture if it is missing.
    """
    if not before:
        return "first", "It was compiled for the first time in this capture."
    calls = {module.call for module in before if module.fingerprint == now.fingerprint}
    if calls:
        # Within one call, and outside of calls, operations compile the same program for several
        # functions or weak types.
        by_run = call is not None and bool(calls - {call, None})
        return "same", (
            f"The same program again: BrainPy builds a new function {_per()}, "
            "which JAX then traces and compiles again."
            if by_run
            else "The same program again: JAX looks up compiled code by the function and its "
            "arguments, not by the program."
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
    changed = _changes(
        last.arguments, now.arguments, lambda n: names[n] if names else f"argument {n}"
    )
    if changed:
        return changed
    try:
        content = read(last)
    except DamagedCapture as error:
        return "code", f"Another program; the difference is unknown: {error.message}"
    return _content_changes(normalized(content), normalized(bytecode))


def _content_changes(last: MlirModule, now: MlirModule) -> tuple[Reason, str]:
    """Explain the difference between two modules with the same argument types."""
    if _without_values(last) == _without_values(now):
        return "values", "Other values are baked into the program as constants."
    changed = None
    if _operations(last) == _operations(now):
        # A length may differ that no argument has, because JAX drops arguments that nothing reads.
        results = mlir.result_types(last), mlir.result_types(now)
        changed = _changes(*results, lambda n: f"result {n}")
    return changed or ("code", "Another program: its operations or their operands differ.")


def _per() -> str:
    return "on every run()" if brainpy_transforms.compiles_each_run() else "for every runner"


def _changes(
    last: Sequence[str], now: Sequence[str], name: Callable[[int], str]
) -> tuple[Reason, str] | None:
    """Explain which shapes changed, or else which dtypes, if the number of types is the same."""
    if len(last) != len(now):
        return None
    changed = [n for n, (a, b) in enumerate(zip(last, now, strict=True)) if a != b]
    if not changed:
        return None
    shapes = [n for n in changed if _shape(last[n]) != _shape(now[n])]
    what: Reason = "shape" if shapes else "dtype"
    shown = (shapes or changed)[:_MAX_SHOWN]
    more = len(shapes or changed) - len(shown)
    parts = ", ".join(f"{name(n)} from {last[n]} to {now[n]}" for n in shown)
    return what, f"Another {what}: {parts}{f' and {more} more' if more else ''}."


def _shape(kind: str) -> str:
    """Return the dimensions of a type such as ``tensor<10x3xf32>``."""
    return "x".join(re.findall(r"(\d+)x", kind))


def _operations(module: MlirModule) -> list[str]:
    return [operation.name for operation in mlir.operations(module)]


def _without_values(module: MlirModule) -> str:
    """Return a module's text, with the types of its constants and without their values."""
    constant = re.compile(r"(stablehlo\.constant) .*( : \S+)$", re.MULTILINE)
    return constant.sub(r"\1\2", bindings.mlir_text(module, elements=1))
