"""Prints a difference as text: one line for each change, then the expressions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from brainpy_probe.analysis.difference.records import (
    ChangedEquation,
    ChangedUpdate,
    ComponentChange,
    CostChange,
    Difference,
    SignatureChange,
)

__all__ = ["page"]

_MAX_NAMES = 8


def page(difference: Difference) -> str:
    """Return a difference as text."""
    return "\n".join(_lines(difference))


def _lines(difference: Difference) -> Iterator[str]:
    """Yield the lines of the text."""
    changed = sum(len(update.results) for update in difference.updates)
    if difference.same_program:
        yield f"same program: 0 of {difference.compared} results changed"
    else:
        yield f"another program: {changed} of {difference.compared} results changed"
    yield from map(_signature, difference.signature)
    yield from _updates(difference.updates)
    yield from _components(difference.components)
    if difference.data:
        groups = dict.fromkeys(_group(name) for name in difference.data)
        yield f"data: other values in {len(groups)} groups: {_listed(groups)}"
    yield from _costs(difference.costs)
    if difference.modules:
        (count, seconds), (new_count, new_seconds) = difference.modules
        yield f"modules: {count} in {seconds:.1f} s -> {new_count} in {new_seconds:.1f} s"
    if difference.environment:
        pairs = (f"{name} {a or 'none'} -> {b or 'none'}" for name, (a, b) in _sorted(difference))
        yield f"environment: {', '.join(pairs)}"
    yield from (f"note: {note}" for note in difference.notes)


def _sorted(difference: Difference) -> list[tuple[str, tuple[str, str]]]:
    return sorted(difference.environment.items())


def _costs(costs: Sequence[CostChange]) -> Iterator[str]:
    for cost in costs[:_MAX_NAMES]:
        yield (
            f"costs: {cost.component} {cost.old_flops:,.0f} -> {cost.new_flops:,.0f} flops, "
            f"{cost.old_bytes:,} -> {cost.new_bytes:,} bytes in a step"
        )
    if len(costs) > _MAX_NAMES:
        yield f"costs: {len(costs) - _MAX_NAMES} more components"


def _signature(change: SignatureChange) -> str:
    types = f" {change.old} -> {change.new}" if change.old else ""
    return f"{change.kind}{types}: {_listed(change.names)}"


def _updates(updates: Iterable[ChangedUpdate]) -> Iterator[str]:
    """Yield a line for all results that changed alike, then each differing equation once."""
    found: dict[str, list[str]] = {}
    equations: dict[str, ChangedEquation] = {}
    for update in updates:
        names = [name.removeprefix("state/") for name in update.results]
        found.setdefault(_change(update), []).extend(names)
        equations |= {equation.name: equation for equation in update.equations}
    for what, names in found.items():
        yield f"{what}: {len(names)} results: {_listed(names)}"
    for equation in equations.values():
        if equation.old:
            yield f"  - {equation.name} = {equation.marked_old}"
        if equation.new:
            yield f"  + {equation.name} = {equation.marked_new}"


def _change(update: ChangedUpdate) -> str:
    if update.levels == ("operations",):
        return "other operations"
    what = f"other {' and '.join(update.levels)}"
    if update.constants:
        what += f" ({', '.join(f'{old} -> {new}' for old, new in update.constants)})"
    return what


def _components(changes: Iterable[ComponentChange]) -> Iterator[str]:
    for change in changes:
        if change.kind == "renamed":
            yield f"component renamed: {change.old} -> {change.new}"
        elif change.kind == "class":
            yield f"component {change.name}: class {change.old} -> {change.new}"
        else:
            yield f"component {change.kind}: {change.name} ({change.old or change.new})"


def _group(name: str) -> str:
    return name.rpartition(".")[0] or name


def _listed(names: Iterable[str]) -> str:
    found: Sequence[str] = list(names)
    more = f" and {len(found) - _MAX_NAMES} more" if len(found) > _MAX_NAMES else ""
    return ", ".join(found[:_MAX_NAMES]) + more
