"""Sums compilations by the line of the user's code that led to them, and by reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from brainpy_probe.format.manifest.common_records import Timing
from brainpy_probe.format.manifest.records import Manifest, ModuleRecord, Reason

__all__ = ["Cause", "causes", "is_too_quick", "summed"]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The modules that were compiled because of one line of the user's code, for one reason.

    Attributes
    ----------
    place, function : str
        The line, as ``script.py:42``, and its function; empty if the capture does not have them.
    reason : str
        Why the modules were compiled, as in :attr:`CompiledModule.reason`.
    modules : tuple of int
        The numbers of the modules.
    names : tuple of str
        JAX's names of the modules, each once.
    calls : tuple of int
        The numbers of the calls within which they were compiled.
    seconds : Timing
        The sum of their seconds; None for a phase that was not measured for all of them.
    cached : int
        How many came from JAX's persistent cache.
    quick : int
        How many XLA compiled too quickly for the persistent cache to keep them (in less than 1 s by
        default): every process compiles them again. 0 if the cache was not in use.
    saves : float or None
        Seconds that were spent on modules that had been compiled before; None if it is unknown.
    """

    place: str
    function: str
    reason: Reason
    modules: tuple[int, ...]
    names: tuple[str, ...]
    calls: tuple[int, ...]
    seconds: Timing
    cached: int
    quick: int
    saves: float | None


def causes(manifest: Manifest) -> tuple[Cause, ...]:
    """Return the causes of a capture's compilations, the costliest first.

    Parameters
    ----------
    manifest : Manifest
        The records of the capture.
    """
    found = list(_causes(manifest))
    return tuple(sorted(found, key=lambda cause: -(cause.seconds.wall or 0.0)))


def _causes(manifest: Manifest) -> Iterator[Cause]:
    """Yield one cause for each line of code, function and reason."""
    groups: dict[tuple[str, str, Reason], list[ModuleRecord]] = {}
    for module in manifest.modules:
        groups.setdefault((module.place, module.function, module.reason), []).append(module)
    for (place, function, reason), modules in groups.items():
        seconds = summed(modules)
        yield Cause(
            place=place,
            function=function,
            reason=reason,
            modules=tuple(module.index for module in modules),
            names=tuple(dict.fromkeys(module.name for module in modules)),
            calls=tuple(sorted({m.call for m in modules if m.call is not None})),
            seconds=seconds,
            cached=sum(module.origin == "cache" for module in modules),
            quick=sum(map(is_too_quick, modules)),
            saves=seconds.wall if reason == "same" else 0.0,
        )


def is_too_quick(module: ModuleRecord) -> bool:
    """Return whether XLA compiled a module too quickly for the persistent cache to keep it."""
    took, minimum = module.seconds.compile, module.cache_minimum
    return (
        module.origin == "compiled" and minimum is not None and took is not None and took < minimum
    )


def summed(modules: Iterable[ModuleRecord]) -> Timing:
    """Return the sum of the seconds of modules; None for a phase that a module lacks."""
    modules = list(modules)
    sums: dict[str, float | None] = {}
    for name in ("trace", "lower", "compile", "numba", "wall"):
        values = [getattr(module.seconds, name) for module in modules]
        sums[name] = None if None in values else sum(values)
    return Timing(**sums)
