"""Definitions of BrainPy's kernels: the computation of each kernel.

A program calls a kernel by the name under which brainevent registered it with XLA, which is a
digest of the kernel's content. The program's record has the kernel's name in brainevent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from brainpy_probe.analysis.explanation.terms import Term
from brainpy_probe.format.arrays import Array
from brainpy_probe.format.manifest.program_records import KernelCall, ProgramRecord

__all__ = ["KernelDefinition", "definition_of", "kernel_name"]

_BRAINEVENT = re.compile(r"brainevent_numba_ffi_[0-9a-f]{16}")


@dataclass(frozen=True)
class KernelDefinition:
    """The definition of a kernel.

    Attributes
    ----------
    name : str
        Its name in an expression.
    signature, sentence : str
        Its arguments and its result.
    evaluate : callable
        Computes it with NumPy from the operands of the term.
    """

    name: str
    signature: str
    sentence: str
    evaluate: Callable[[Term, Sequence[Array]], Array]

    def arguments(self, term: Term) -> tuple[Term, ...]:
        """Return the operands that an expression shows."""
        return term.operands[:4]


def definition_of(record: ProgramRecord, term: Term) -> KernelDefinition | None:
    """Return the definition of a kernel; None if the program's record does not determine it."""
    calls = _calls(record, term)
    found = {
        _DEFINITIONS.get((call.name, bool(call.parameters.get("transpose")))) for call in calls
    }
    return found.pop() if len(found) == 1 else None


def kernel_name(record: ProgramRecord, term: Term) -> str:
    """Return a name for a kernel that does not depend on the process or BrainPy's version."""
    names = {call.name for call in _calls(record, term)}
    if len(names) == 1:
        return names.pop()
    if _BRAINEVENT.fullmatch(term.name):
        return "brainevent_kernel"
    # numba's mangled names have a number that differs between processes (BrainPy 2.3.8).
    return "numba_kernel" if term.name.startswith("cfunc.") else term.name


def _calls(record: ProgramRecord, term: Term) -> list[KernelCall]:
    """Return the recorded kernel calls that fit a custom call.

    The first arguments of the kernel are the operands of the custom call.
    """
    if not _BRAINEVENT.fullmatch(term.name):
        return []
    types = tuple((operand.shape, operand.dtype) for operand in term.operands)
    return [call for call in record.kernels if call.arguments[: len(types)] == types]


# --- brainevent's csrmv (0.2.1, 0.3.0: _csr/binary.py) --------------------------------------------


def _events(term: Term, values: Sequence[Array], *, transpose: bool) -> Array:
    weights, indices, indptr, events = values[:4]
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    weights = np.broadcast_to(weights, indices.shape)
    active = events > 0 if events.dtype != bool else events
    result = np.zeros(term.shape, weights.dtype)
    if transpose:
        chosen = active[rows]
        np.add.at(result, indices[chosen], weights[chosen])
    else:
        chosen = active[indices]
        np.add.at(result, rows[chosen], weights[chosen])
    return result


_SENTENCE = "sum of the weights w of the connections of each {}, over the {} that spiked in s"
_DEFINITIONS = {
    ("binary_csrmv", True): KernelDefinition(
        "csr_matvec",
        "csr_matvec(w, indices, indptr, s)",
        _SENTENCE.format("target", "sources"),
        lambda term, values: _events(term, values, transpose=True),
    ),
    ("binary_csrmv", False): KernelDefinition(
        "csr_matvec_rows",
        "csr_matvec_rows(w, indices, indptr, s)",
        _SENTENCE.format("row", "columns"),
        lambda term, values: _events(term, values, transpose=False),
    ),
}
