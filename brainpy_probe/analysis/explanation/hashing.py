"""Digests of a program's computation, which depend only on its names and operations.

They are equal for captures of the same model in other processes and with other versions of BrainPy
and JAX, if these lower the model to the same operations. The code of kernels is not included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash

from brainpy_probe.analysis.explanation.kernels import kernel_name
from brainpy_probe.analysis.explanation.order import in_order
from brainpy_probe.analysis.explanation.reading import Step
from brainpy_probe.analysis.explanation.records import UpdateDigests
from brainpy_probe.analysis.explanation.terms import Function, Term
from brainpy_probe.format.manifest.program_records import ProgramRecord, TensorSpec

__all__ = ["component_digest", "identity", "term_digests", "update_digests"]

_ASPECTS = ("constants", "shapes", "dtypes")
_COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "and", "or", "xor")
# Attributes that follow from shapes.
_SIZES = {
    "broadcast_dimensions", "limit_indices", "slice_sizes", "start_indices", "strides",
    "edge_padding_low", "edge_padding_high", "interior_padding",
}  # fmt: skip


def update_digests(record: ProgramRecord, step: Step) -> dict[str, UpdateDigests]:
    """Return the digests of each result, by group and name, as ``state/E.V``."""
    hashers = {
        name: _Hasher(record, aspects)
        for name, aspects in (
            ("full", _ASPECTS),
            ("operations", ()),
            *((aspect, (aspect,)) for aspect in _ASPECTS),
        )
    }
    roots = [result.term for result in step.results]
    digests = {name: hasher.digests(roots) for name, hasher in hashers.items()}
    return {
        result.spec.path: UpdateDigests(**{name: found[n] for name, found in digests.items()})
        for n, result in enumerate(step.results)
    }


def term_digests(record: ProgramRecord, terms: Sequence[Term]) -> list[str]:
    """Return the digest of each term as an expression over the program's arguments."""
    return _Hasher(record, _ASPECTS).digests(terms)


def component_digest(record: ProgramRecord, component: str, updates: Mapping[str, Term]) -> str:
    """Return a digest of the updates of a component's states, independent of its name.

    It contains only the last part of the names of other components' values.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    component : str
        The name of the component.
    updates : mapping
        The new value of each of its states, by the state's name.
    """
    prefix = f"{component}."

    def local(name: str) -> str:
        own = name.startswith(prefix)
        return f"own {name.removeprefix(prefix)}" if own else name.rpartition(".")[2]

    digests = _Hasher(record, _ASPECTS, local).digests(list(updates.values()))
    return _digest(sorted(zip(map(local, updates), digests, strict=True)))


def identity(record: ProgramRecord, step: Step) -> str:
    """Return a digest of a program: its arguments, and each result as an expression over them."""
    digests = _Hasher(record, _ASPECTS).digests([result.term for result in step.results])
    results = zip(step.results, digests, strict=True)
    return _digest(
        record.kind,
        sorted(_signature(spec) for spec in record.arguments),
        sorted((*_signature(result.spec), digest, result.once) for result, digest in results),
        step.steps,
    )


def _signature(spec: TensorSpec) -> tuple[Any, ...]:
    return spec.role, spec.name, spec.shape, spec.dtype, spec.key


def _digest(*parts: object) -> str:
    return xxhash.xxh3_128(repr(parts).encode()).hexdigest()


class _Hasher:
    def __init__(
        self,
        record: ProgramRecord,
        aspects: Sequence[str],
        rename: Callable[[str], str] = str,
    ) -> None:
        self._record = record
        self._rename = rename
        self._aspects = frozenset(aspects)
        self._known: dict[int, str] = {}
        self._heights: dict[int, int] = {}

    def digests(self, roots: Sequence[Term]) -> list[str]:
        for term in in_order(roots):
            self._add(term)
        return [self._known[id(root)] for root in roots]

    def _add(self, term: Term) -> None:
        if id(term) in self._known:
            return
        regions = [self._function(function) for function in term.regions]
        operands = [self._known[id(operand)] for operand in term.operands]
        if term.op in _COMMUTATIVE:
            operands.sort()
        self._known[id(term)] = _digest(
            term.op, self._name(term), operands, self._attributes(term.attributes), regions,
            self._type(term), self._value(term), term.result,
        )  # fmt: skip

    def _function(self, function: Function) -> list[str]:
        """Return the digests of a region's results. Its arguments are numbered.

        Nested regions are distinguished by the number of regions within them.
        """
        height = self._height(function)
        for number, argument in enumerate(function.arguments):
            self._known[id(argument)] = _digest("argument", height, number, self._type(argument))
        return self.digests(function.results)

    def _height(self, function: Function) -> int:
        if id(function) not in self._heights:
            inner = [region for t in in_order(function.results) for region in t.regions]
            self._heights[id(function)] = 1 + max(map(self._height, inner), default=0)
        return self._heights[id(function)]

    def _name(self, term: Term) -> str:
        if term.op == "symbol":
            return f"{term.attributes['role']} {self._rename(term.name)}"
        return kernel_name(self._record, term) if term.op == "kernel" else ""

    def _attributes(self, attributes: Mapping[str, str]) -> list[tuple[str, str]]:
        return sorted(
            (name, text)
            for name, text in attributes.items()
            if name != "role" and ("shapes" in self._aspects or name not in _SIZES)
        )

    def _type(self, term: Term) -> tuple[object, ...]:
        shape = term.shape if "shapes" in self._aspects else len(term.shape)
        return shape, term.dtype if "dtypes" in self._aspects else ""

    def _value(self, term: Term) -> str:
        if term.op != "constant":
            return ""
        if np.ndim(term.value) and "shapes" not in self._aspects:
            return "array"
        if "constants" not in self._aspects:
            return "constant"
        # The decimal number is the same in float32 and float64.
        if np.ndim(term.value) == 0 and "dtypes" not in self._aspects:
            return str(term.value[()] if term.exact is None else term.exact)
        return f"{np.asarray(term.value).tobytes()!r}"
