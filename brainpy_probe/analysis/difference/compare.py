"""Compares the explanations and records of two programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from brainpy_probe.analysis.difference.marking import changed_numbers, mark, renamed
from brainpy_probe.analysis.difference.records import (
    ChangedEquation,
    ChangedUpdate,
    ComponentChange,
    Level,
    SignatureChange,
)
from brainpy_probe.analysis.explanation.records import Equation, Explanation, UpdateDigests
from brainpy_probe.format.manifest.program_records import ProgramRecord, TensorSpec

__all__ = [
    "Side",
    "changed_components",
    "changed_data",
    "changed_signature",
    "changed_starts",
    "changed_updates",
    "renamed_components",
]

_LEVELS: tuple[Level, ...] = ("constants", "shapes", "dtypes")


@dataclass(frozen=True)
class Side:
    """One of the two programs: its record and its explanation."""

    record: ProgramRecord
    explanation: Explanation


def changed_signature(old: ProgramRecord, new: ProgramRecord) -> list[SignatureChange]:
    """Return the arguments and results that changed; those that changed alike share a record."""
    before, after = _specs(old), _specs(new)
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in {**before, **after}:
        a, b = before.get(name), after.get(name)
        if a is None or b is None:
            kind = "added" if a is None else "removed"
            found.setdefault((kind, "", ""), []).append(name)
        elif _type(a) != _type(b):
            kind = "reshaped" if a.dtype == b.dtype else "retyped"
            found.setdefault((kind, _type(a), _type(b)), []).append(name)
    return [
        SignatureChange(kind=kind, names=tuple(names), old=a, new=b)  # type: ignore[arg-type]
        for (kind, a, b), names in found.items()
    ]


def _specs(record: ProgramRecord) -> dict[str, TensorSpec]:
    """Return the arguments and results by group and name; a state is both."""
    return {spec.path: spec for spec in (*record.arguments, *record.results)}


def _type(spec: TensorSpec) -> str:
    return f"{spec.dtype}{list(spec.shape)}"


def changed_updates(old: Side, new: Side) -> list[ChangedUpdate]:
    """Return the results whose expressions changed, grouped by the equations that differ."""
    before, after = old.explanation.digests, new.explanation.digests
    equations = _Equations(old.explanation, new.explanation)
    found: dict[tuple[tuple[Level, ...], tuple[str, ...]], list[str]] = {}
    for name in before:
        if name in after and before[name].full != after[name].full:
            levels = _levels(before[name], after[name])
            origins = equations.origins(name) if set(levels) & {"operations", "constants"} else ()
            found.setdefault((levels, tuple(origins)), []).append(name)
    return [
        ChangedUpdate(
            results=tuple(names),
            levels=levels,
            constants=equations.constants(origins) if levels == ("constants",) else (),
            equations=tuple(map(equations.changed, origins)),
        )
        for (levels, origins), names in found.items()
    ]


def _levels(old: UpdateDigests, new: UpdateDigests) -> tuple[Level, ...]:
    if old.operations != new.operations:
        return ("operations",)
    found = tuple(level for level in _LEVELS if getattr(old, level) != getattr(new, level))
    return found or ("constants",)  # folded to another float by other operations on constants


class _Equations:
    """The equations of two explanations, and those whose own text differs."""

    def __init__(self, old: Explanation, new: Explanation) -> None:
        self._old, self._new = _by_result(old), _by_result(new)
        known = {e.digest: name for name, e in self._old.items()}
        # Shared terms are numbered, and equal terms may have different numbers.
        self._names = {
            name: known[e.digest]
            for name, e in self._new.items()
            if e.digest in known and name not in self._old
        }
        taken = {name for name in self._new if name in self._old}
        moved = {
            name: known[e.digest]
            for name, e in self._new.items()
            if e.kind == "term" and e.digest in known and known[e.digest] != name
        }
        self._names |= {a: b for a, b in moved.items() if a not in taken or b not in taken}

    def origins(self, result: str) -> list[str]:
        """Return the equations whose own text differs, among those that a result needs."""
        names = dict.fromkeys([*_reached(self._old, result), *_reached(self._new, result)])
        return [name for name in names if self._differs(name)]

    def _differs(self, name: str) -> bool:
        old, new = self._old.get(name), self._new.get(name)
        if old is not None and new is not None and old.digest == new.digest:
            return False
        texts = self._texts(name)
        return texts[0] != texts[1]

    def _texts(self, name: str) -> tuple[str, str]:
        old, new = self._old.get(name), self._new.get(name)
        if old is None and name in self._names:  # an equal term has another name
            return "", ""
        if new is None and name in self._names.values():
            return "", ""
        after = "" if new is None else renamed(new.text, self._names)
        return "" if old is None else old.text, after

    def changed(self, name: str) -> ChangedEquation:
        old, new = self._texts(name)
        marked = mark(old, new) if old and new else (old, new)
        return ChangedEquation(
            name=name, old=old, new=new, marked_old=marked[0], marked_new=marked[1]
        )

    def constants(self, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        pairs = (pair for name in names for pair in changed_numbers(*self._texts(name)))
        return tuple(dict.fromkeys(pairs))


def _by_result(explanation: Explanation) -> dict[str, Equation]:
    """Return all equations by name, and those of monitors and outputs by group and name."""
    groups = {"monitor": "monitors", "output": "outputs"}
    recorded = {f"{groups[e.kind]}/{e.name}": e for e in explanation.recorded}
    return {**explanation.equations, **recorded}


def _reached(equations: Mapping[str, Equation], result: str) -> Iterator[str]:
    """Yield the names of the equations that a result needs."""
    role, _, name = result.partition("/")
    pending, seen = [f"{name}'" if role == "state" else result], set()
    while pending:
        current = pending.pop()
        if current in seen or current not in equations:
            continue
        seen.add(current)
        yield current
        pending += equations[current].uses


def renamed_components(old: Side, new: Side) -> dict[str, str]:
    """Return the old name of each component that was only renamed, by its new name.

    Such a component has the class and the updates of exactly one removed component. Its parts are
    renamed with it.
    """
    gone = [part for part in old.explanation.components if part.name not in new.record.components]
    came = [part for part in new.explanation.components if part.name not in old.record.components]
    found: dict[str, str] = {}
    for part in came:
        alike = [p for p in gone if p.digest and (p.digest, p.cls) == (part.digest, part.cls)]
        twins = [p for p in came if (p.digest, p.cls) == (part.digest, part.cls)]
        if len(alike) == 1 and len(twins) == 1:
            a, b = alike[0].name.split("."), part.name.split(".")
            while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
                a.pop()
                b.pop()
            found.setdefault(".".join(b), ".".join(a))
    return found


def changed_components(
    old: ProgramRecord, new: ProgramRecord, names: Mapping[str, str]
) -> list[ComponentChange]:
    """Return the components that changed; ``new`` already uses the old names."""
    found = [ComponentChange(kind="renamed", name=b, old=b, new=a) for a, b in names.items()]
    for name in {**old.components, **new.components}:
        a, b = old.components.get(name, ""), new.components.get(name, "")
        if not a:
            found.append(ComponentChange(kind="added", name=name, new=b))
        elif not b:
            found.append(ComponentChange(kind="removed", name=name, old=a))
        elif a != b:
            found.append(ComponentChange(kind="class", name=name, old=a, new=b))
    return found


def changed_data(old: ProgramRecord, new: ProgramRecord) -> tuple[list[str], list[str]]:
    """Return the constants whose values differ, and those that can't be compared."""
    differing, unknown = [], []
    after = {spec.path: spec for spec in new.arguments}
    for spec in old.arguments:
        other = after.get(spec.path)
        if spec.role != "constant" or other is None:
            continue
        if not spec.digest or not other.digest:
            unknown.append(spec.name)
        elif spec.digest != other.digest:
            differing.append(spec.name)
    return differing, unknown


def changed_starts(old: ProgramRecord, new: ProgramRecord) -> list[str]:
    """Return the states and inputs that started with other values of the same type."""
    after = {spec.path: spec for spec in new.arguments}
    return [
        spec.path
        for spec in old.arguments
        if spec.role in ("state", "input")
        and (other := after.get(spec.path)) is not None
        and (other.shape, other.dtype) == (spec.shape, spec.dtype)
        and spec.digest
        and other.digest
        and spec.digest != other.digest
    ]
