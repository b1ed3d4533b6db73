"""Makes the records of an explanation from a program's module and the model's definition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from brainpy_probe.analysis.explanation.equations import Equations, choose_equations
from brainpy_probe.analysis.explanation.hashing import (
    component_digest,
    term_digests,
    update_digests,
)
from brainpy_probe.analysis.explanation.kernels import definition_of, kernel_name
from brainpy_probe.analysis.explanation.order import dependencies, in_order, seen_through
from brainpy_probe.analysis.explanation.printing.latex import LatexPrinter
from brainpy_probe.analysis.explanation.printing.text import Printer
from brainpy_probe.analysis.explanation.reading import Result, Step, operations_in_order, read_step
from brainpy_probe.analysis.explanation.records import (
    ComponentExplanation,
    Equation,
    EquationKind,
    Explanation,
    Operation,
    StateDescription,
)
from brainpy_probe.analysis.explanation.terms import Term
from brainpy_probe.compat import bindings
from brainpy_probe.format.component_names import enclosing_component
from brainpy_probe.format.manifest.definition_records import ModelDefinition
from brainpy_probe.format.manifest.program_records import ProgramRecord
from brainpy_probe.ir.locations import remove_locations

if TYPE_CHECKING:
    from brainpy_probe.compat.bindings import MlirModule

__all__ = ["explain", "step_of"]


def step_of(record: ProgramRecord, content: bytes, *, lines: bool = False) -> Step:
    """Read a program from its StableHLO text, or from VHLO bytecode."""
    module = bindings.read_mlir(content)
    return read_step(record, module, _lines(content, module) if lines else None)


def _lines(content: bytes, module: MlirModule) -> list[int]:
    """Return the line on which each operation of a module starts, in text order."""
    bare = bindings.parse_mlir(remove_locations(content.decode()), module.context)
    return [bindings.line_of(operation) for operation in operations_in_order(bare)]


def explain(record: ProgramRecord, content: bytes, *, lines: bool = False) -> Explanation:
    """Explain a program.

    Parameters
    ----------
    record : ProgramRecord
        The program.
    content : bytes
        Its StableHLO text with locations, or its VHLO bytecode.
    lines : bool
        Whether the content is the captured StableHLO text, whose lines identify operations.
    """
    return _Explainer(record, step_of(record, content, lines=lines)).explain()


class _Explainer:
    def __init__(self, record: ProgramRecord, step: Step) -> None:
        self.record, self.step = record, step
        self.owners: dict[str, str] = {}
        self.definition = record.definition or ModelDefinition()
        self.chosen: Equations = choose_equations(record, step)
        self.text = Printer(record, self.chosen.names)
        self.latex = LatexPrinter(record, self.chosen.names)
        terms = [item.term for item in self.chosen.named] + [r.term for r in step.results]
        digests = term_digests(record, terms)
        self.digests = dict(zip(map(id, terms), digests, strict=True))

    def explain(self) -> Explanation:
        equations = [
            self.equation(
                item.term, item.name, "state" if item.state else "term", item.component, item.state
            )
            for item in self.chosen.named
        ]
        equations += list(self.other_states())
        recorded = tuple(
            self.equation(
                result.term, result.spec.name, _kind(result), "", "",
                refers=id(seen_through(result.term)) in self.chosen.names, once=result.once,
            )
            for result in self.step.results
            if result.spec.role in ("monitor", "output")
        )  # fmt: skip
        return Explanation(
            name=self.record.name,
            loops=self.step.loops,
            steps=self.step.steps,
            components=tuple(self.components(equations)),
            shared=tuple(e for e in equations if e.component not in self.record.components),
            recorded=recorded,
            functions=dict(self.text.used),
            opaque=tuple(self.opaque()),
            digests=update_digests(self.record, self.step),
            notes=tuple(self.notes(equations, recorded)),
        )

    def other_states(self) -> Iterable[Equation]:
        """Yield the equations of states whose new value is a name or a constant.

        Two states may have the same new value, which then has the name of the first.
        """
        named = {item.state for item in self.chosen.named}
        for result in self.step.results:
            name = result.spec.name
            if result.spec.role != "state" or name in named:
                continue
            yield self.equation(
                result.term, f"{name}'", "state", self.owner(name), name,
                refers=id(seen_through(result.term)) in self.chosen.names, once=result.once,
            )  # fmt: skip

    def owner(self, name: str) -> str:
        if name not in self.owners:
            self.owners[name] = enclosing_component(name, self.record.components)
        return self.owners[name]

    def equation(
        self,
        term: Term,
        name: str,
        kind: EquationKind,
        component: str,
        state: str,
        *,
        refers: bool = False,
        once: bool = False,
    ) -> Equation:
        """Return an equation. With ``refers`` its expression is the name of another equation."""
        own = [] if refers else self.own_terms(term)
        known = self.chosen.names
        if refers:
            uses, reads = {known[id(seen_through(term))]: None}, {}
        else:
            inputs = {id(d): d for t in own for d in dependencies(t)}.values()
            uses = {known[id(d)]: None for d in inputs if id(d) in known}
            reads = {d.name: None for d in inputs if d.op == "symbol"}
            if term.op == "symbol":
                reads = {term.name: None}
        places = {place for found in own for place in found.places}
        return Equation(
            name=name,
            kind=kind,
            component=component,
            state=state,
            text=self.text.reference(term) if refers else self.text.definition(term),
            latex=self.latex.reference(term) if refers else self.latex.definition(term),
            uses=tuple(uses),
            reads=tuple(reads),
            shape=term.shape,
            dtype=term.dtype,
            operations=tuple(sorted(Operation(place.line, place.component) for place in places)),
            digest=self.digests[id(term)],
            once=once,
        )

    def own_terms(self, root: Term) -> list[Term]:
        """Return the terms of an equation, down to the terms that have their own names."""
        found: dict[int, Term] = {}
        pending = [root]
        while pending:
            term = pending.pop()
            if id(term) in found or (term is not root and id(term) in self.chosen.names):
                continue
            found[id(term)] = term
            pending += dependencies(term)
        return list(found.values())

    def components(self, equations: Sequence[Equation]) -> Iterable[ComponentExplanation]:
        """Yield the explanation of each component, in the order of evaluation."""
        rank = {equation.name: place for place, equation in enumerate(equations)}
        own: dict[str, list[Equation]] = {name: [] for name in self.record.components}
        for equation in equations:
            if equation.component in own:
                own[equation.component].append(equation)
        users: dict[str, list[Equation]] = {}
        for equation in equations:
            for used in equation.uses:
                users.setdefault(used, []).append(equation)

        def evaluated(name: str) -> int:
            ranks = [rank[e.name] for e in own[name] if e.operations]
            return max(ranks, default=len(rank) if own[name] else -1)

        for name in sorted(own, key=evaluated):
            definition = self.definition.components.get(name)
            units = {} if definition is None else definition.units
            yield ComponentExplanation(
                name=name,
                cls=self.record.components[name],
                links=self.record.links.get(name, ()),
                definition=self.definition.class_of(name),
                derivatives=self.definition.derivatives_of(name),
                parameters=() if definition is None else definition.parameters,
                states=tuple(
                    StateDescription(
                        name=spec.name,
                        shape=spec.shape,
                        dtype=spec.dtype,
                        unit=units.get(spec.name.rpartition(".")[2], ""),
                    )
                    for spec in self.record.arguments
                    if spec.role == "state" and self.owner(spec.name) == name
                ),
                equations=tuple(own[name]),
                digest=self.component_digest(name),
                goes_to=tuple(
                    dict.fromkeys(
                        user.name
                        for equation in own[name]
                        for user in users.get(equation.name, ())
                        if user.component != name
                    )
                ),
            )

    def component_digest(self, component: str) -> str:
        updates = {
            result.spec.name: result.term
            for result in self.step.results
            if result.spec.role == "state" and self.owner(result.spec.name) == component
        }
        return component_digest(self.record, component, updates) if updates else ""

    def opaque(self) -> Iterable[str]:
        """Return the kernels whose definition is not known."""
        kernels = (t for t in in_order(r.term for r in self.step.results) if t.op == "kernel")
        unknown = (t for t in kernels if definition_of(self.record, t) is None)
        return dict.fromkeys(kernel_name(self.record, term) for term in unknown)

    def notes(self, equations: Sequence[Equation], recorded: Sequence[Equation]) -> Iterable[str]:
        """Yield the notes of the explanation."""
        yield from self.step.notes
        read = {name for equation in (*equations, *recorded) for name in equation.reads}
        for name, first in self.step.starts.items():
            if name in read:
                yield f"{name} starts as {self.text.reference(first)}."
        if self.step.terms.folded:
            yield (
                "Operations on constants that were computed in the program's own precision: "
                f"{self.step.terms.folded}."
            )
        if self.record.definition is None:
            yield "The capture has no docstrings, derivatives and parameters of the model."
        else:
            yield from self.definition.notes


def _kind(result: Result) -> EquationKind:
    return "monitor" if result.spec.role == "monitor" else "output"
