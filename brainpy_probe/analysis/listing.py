"""Lists a program's equations, its StableHLO, and the HLO that XLA makes of it, line by line.

An equation has the lines of its ops. Compiling connects the lines of StableHLO and HLO: each op is
given its line number as its location, and XLA writes the locations of the ops that it fused into
the optimised HLO.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from typing import TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from brainpy_probe.analysis.explanation.explain import explain
from brainpy_probe.analysis.explanation.records import Explanation
from brainpy_probe.analysis.replaying.compiling import compiled
from brainpy_probe.compat import bindings
from brainpy_probe.errors import ProbeError, describe_error
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = ["HloListing", "Listing", "hlo_listing", "listing", "ran_listing", "text_of"]

_T = TypeVar("_T")
# The location at the end of an op's line, as the probe writes it.
_LOCATION = re.compile(r' loc\((?:"((?:[^"\\]|\\.)*)"|unknown)\)\s*$')
# Locations of a function's arguments are within the line.
_INNER = re.compile(r' loc\((?:"(?:[^"\\]|\\.)*"|unknown)\)')
# XLA names an instruction after the last part of its location.
_NUMBERED = re.compile(r"(?:^|/)L(\d+)/")
_LAST_PART = re.compile(r"[A-Za-z_]+$")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLS = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
# A value's name; an op that only reshapes its operand, or a fusion; a parameter and its number.
_VALUE = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = ")
_USE = re.compile(r" (bitcast|reshape|fusion)\(([^()]*)\)")
_OPERAND = re.compile(r"%([\w.\-]+)")
_PARAMETER = re.compile(r"\s+%?([\w.\-]+) = \S+ parameter\((\d+)\)")
_PRODUCT = "stablehlo.dot_general "
_METADATA = re.compile(r", metadata=\{[^{}]*\}")
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_CALL = re.compile(r"(?:func\.)?call @([\w.$\-]+)\(")
_FUNCTION = re.compile(r"\s*func\.func (?:public |private )?@([\w.$\-]+)\(")
# Tables of files and frames, which newer XLA prints before the computations.
_NOTHING = np.zeros(0)
_TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")


class HloListing(msgspec.Struct, frozen=True, kw_only=True):
    """The optimised HLO of a program.

    Attributes
    ----------
    lines : tuple of str
        The lines of the text, without metadata.
    components : tuple of str
        The component of each line; empty if it has none.
    links : tuple of tuple of int
        For each line, the lines of the StableHLO whose ops it computes, from 0; empty if unknown.
    """

    lines: tuple[str, ...]
    components: tuple[str, ...]
    links: tuple[tuple[int, ...], ...]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A program's StableHLO, its equations, and the HLO that XLA makes of it.

    Attributes
    ----------
    lines, components : tuple of str
        The lines of the StableHLO text without locations, and the component of each line.
    starts : tuple of int
        For each line, the line on which its op starts: the line that closes a region belongs to the
        op that opened it.
    explanation : Explanation or None
        The equations, with the lines of their ops (from 1), if the program could be explained.
    hlo : HloListing or None
        The optimised HLO, if the program was compiled.
    problems : tuple of str
        Why parts are missing.
    """

    lines: tuple[str, ...]
    components: tuple[str, ...]
    starts: tuple[int, ...]
    explanation: Explanation | None = None
    hlo: HloListing | None = None
    problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Listing of {len(self.lines)} lines>"


def text_of(bytecode: bytes) -> str:
    """Return the StableHLO text of a program with locations, from its bytecode."""
    return bindings.mlir_text(bindings.read_mlir(bytecode), locations=True)


def listing(record: ProgramRecord, text: str, *, compiles: bool) -> Listing:
    """List a program.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    text : str
        Its StableHLO text with locations.
    compiles : bool
        Whether to compile it, which takes as long as in the simulation.
    """
    lines = text.splitlines()
    starts = list(_starts(lines))
    locations = [match[1] or "" if (match := _LOCATION.search(line)) else "" for line in lines]
    owners = [component_names.owner(location) for location in locations]
    for number, start in enumerate(starts):
        owners[start] = owners[start] or owners[number]
    _own_functions(lines, starts, owners)
    problems: list[str] = []
    explained = _attempt(
        "It is not explained", lambda: explain(record, text.encode(), lines=True), problems
    )
    hlo = None
    if compiles:
        numbered = "\n".join(_numbered(lines, starts)).encode()
        hlo = _attempt(
            "There is no optimised HLO",
            lambda: hlo_listing(_compiled(record, numbered), lines, owners),
            problems,
        )  # fmt: skip
    return Listing(
        lines=tuple(_INNER.sub("", line) for line in lines),
        components=tuple(owners),
        starts=tuple(starts),
        explanation=explained,
        hlo=hlo,
        problems=tuple(problems),
    )


def _attempt(failed: str, make: Callable[[], _T], problems: list[str]) -> _T | None:
    """Return a part of a listing; if that fails, record why."""
    try:
        return make()
    except ProbeError as error:
        problems.append(f"{failed}: {error}")
    except Exception as error:  # on damaged content XLA raises many exception classes
        problems.append(f"{failed}: {describe_error(error)}")
    return None


def _compiled(record: ProgramRecord, content: bytes) -> str:
    """Compile a program; return its optimised HLO."""
    # Constants that the run compiled into its code are arguments here: values are not needed.
    plain = replace(record, compiled_in=False)
    arguments = [_NOTHING] * len(record.arguments)
    executable = compiled(plain, content, arguments, separate_ops=False)
    return bindings.hlo_text(executable.optimized())


def _starts(lines: Sequence[str]) -> Iterator[int]:
    """Yield for each line the line on which its op starts."""
    opened: list[int] = []
    for number, line in enumerate(lines):
        text = _LOCATION.sub("", line).strip()
        closes, opens = text.startswith("}"), text.endswith(("{", "({"))
        start = opened.pop() if closes and opened else number
        yield start
        if opens:
            opened.append(start)


def _numbered(lines: Sequence[str], starts: Sequence[int]) -> Iterator[str]:
    """Yield the lines; each op has the number of its first line as its location."""
    for line, start in zip(lines, starts, strict=True):
        location = _LOCATION.search(line)
        if location:
            name = _LAST_PART.search(location[1] or "")
            part = name[0] if name else "op"
            yield f'{line[: location.start()]} loc("L{start}/{part}")'
        else:
            yield line


def _own_functions(lines: Sequence[str], starts: Sequence[int], owners: list[str]) -> None:
    """Assign the ops of a private function to the component that calls it, if it is only one.

    JAX lowers a function with several callers once, with the locations of the first caller.
    """
    callers: dict[str, set[str]] = {}
    for line, owner in zip(lines, owners, strict=True):
        for name in _CALL.findall(line):
            callers.setdefault(name, set()).add(owner)
    owner, calling = "", set[str]()
    for number, line in enumerate(lines):
        function = _FUNCTION.match(line)
        if function and function[1] != "main":
            calling = callers.get(function[1], set())
            owner = next(iter(calling)) if len(calling) == 1 else ""
        if calling:
            owners[number] = (owners[number] or owner) if len(calling) == 1 else ""
        if calling and starts[number] != number and _FUNCTION.match(lines[starts[number]]):
            calling = set()


def hlo_listing(text: str, sources: Sequence[str], owners: Sequence[str]) -> HloListing:
    """List an optimised module whose locations are the numbers of lines of a StableHLO text.

    Parameters
    ----------
    text : str
        The text of the module.
    sources, owners : sequence of str
        The lines of the StableHLO text, and their components.
    """
    lines = list(_without_tables(text))
    own = [_numbers_in(line, len(owners)) for line in lines]
    within = _computations(lines)
    products = {number for number, source in enumerate(sources) if _PRODUCT in source}
    own = [
        _product(number, lines, own, within, products) or numbers
        for number, numbers in enumerate(own)
    ]
    return _hlo_listing(lines, own, owners, within)


def ran_listing(text: str) -> HloListing:
    """List the optimised HLO of a module that ran, whose locations name components.

    Parameters
    ----------
    text : str
        The text of the module. Its lines are not connected with those of the program.
    """
    lines = list(_without_tables(text))
    names = [_OP_NAME.search(line) for line in lines]
    owners = [component_names.owner(name[1]) if name else "" for name in names]
    own = [(number,) if owner else () for number, owner in enumerate(owners)]
    found = _hlo_listing(lines, own, owners, _computations(lines))
    return replace(found, links=((),) * len(lines))


def _computations(lines: Sequence[str]) -> dict[str, list[int]]:
    """Return the lines of each computation of a module."""
    within: dict[str, list[int]] = {}
    current: list[int] | None = None
    for number, line in enumerate(lines):
        head = _COMPUTATION.match(line)
        if head:
            current = within.setdefault(head[1], [])
        elif line.startswith("}"):
            current = None
        elif current is not None:
            current.append(number)
    return within


def _product(
    number: int,
    lines: Sequence[str],
    own: Sequence[tuple[int, ...]],
    within: dict[str, list[int]],
    products: Set[int],
) -> tuple[int, ...]:
    """Return the line of the original product that a line's product replaces.

    XLA replaces a matrix-vector product by a matrix-matrix product, and reshapes the result. The
    reshape has the location of the original product; the new product has only the location of the
    loop around it (jaxlib 0.12.0).
    """
    value = _VALUE.match(lines[number]) if " dot(" in lines[number] else None
    if value is None or not products.isdisjoint(own[number]):
        return ()
    computation = next(numbers for numbers in within.values() if number in numbers)
    reshapes = set(_reshaped(value[1], lines, computation, within))
    found = {line for reshape in reshapes for line in own[reshape]}
    return tuple(found) if len(found) == 1 and found <= products else ()


def _reshaped(
    value: str, lines: Sequence[str], computation: Sequence[int], within: dict[str, list[int]]
) -> Iterator[int]:
    """Yield the lines of the reshapes of a value, in its own computation and within fusions."""
    for number in computation:
        use = _USE.search(lines[number]) if f"%{value}" in lines[number] else None
        operands = _OPERAND.findall(use[2]) if use else []
        if use is None or value not in operands:
            continue
        if use[1] != "fusion":
            yield number
            continue
        for name in _CALLS.findall(lines[number]):
            inner = within.get(name, ())
            for line in inner:
                taken = _PARAMETER.match(lines[line])
                if taken and operands[int(taken[2])] == value:
                    yield from _reshaped(taken[1], lines, inner, within)


def _hlo_listing(
    lines: Sequence[str],
    own: Sequence[tuple[int, ...]],
    owners: Sequence[str],
    within: dict[str, list[int]],
) -> HloListing:
    """Return the listing of HLO lines, each with its component and its StableHLO lines."""
    links: list[tuple[int, ...]] = []
    for line, numbers in zip(lines, own, strict=True):
        found = set(numbers)
        if " fusion(" in line or " call(" in line:
            for name in _CALLS.findall(line):
                found.update(n for inner in within.get(name, ()) for n in own[inner])
        links.append(tuple(sorted(found)))
    return HloListing(
        lines=tuple(_METADATA.sub("", line) for line in lines),
        components=tuple(
            _owner(numbers, linked, owners) for numbers, linked in zip(own, links, strict=True)
        ),
        links=tuple(links),
    )


def _owner(own: Sequence[int], linked: Sequence[int], owners: Sequence[str]) -> str:
    """Return the component that has most of the ops which an instruction computes."""
    counts = Counter(owners[number] for number in linked if owners[number])
    if counts:
        return counts.most_common(1)[0][0]
    return next((owners[number] for number in own), "")


def _without_tables(text: str) -> Iterator[str]:
    """Yield the lines without the tables of files and frames."""
    skips = False
    for line in text.splitlines():
        if line.strip() in _TABLES:
            skips = True
        elif skips and (not line or line[0].isdigit()):
            continue
        else:
            skips = False
            yield line


def _numbers_in(line: str, count: int) -> tuple[int, ...]:
    """Return the StableHLO lines that the location of an instruction names."""
    name = _OP_NAME.search(line)
    # A location names a call and then the op within it.
    numbers = [int(number) for number in _NUMBERED.findall(name[1])] if name else []
    return tuple(number for number in numbers[-1:] if number < count)
