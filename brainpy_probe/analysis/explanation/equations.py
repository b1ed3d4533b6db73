"""Chooses the terms of a step that become equations, and their names.

These are the new value of each state, the contribution of each component without states, and every
term that is used more than once. All other terms are printed within an equation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from brainpy_probe.analysis.explanation.order import dependencies, in_order, is_atom, seen_through
from brainpy_probe.analysis.explanation.reading import Step
from brainpy_probe.analysis.explanation.terms import Term
from brainpy_probe.format.component_names import enclosing_component
from brainpy_probe.format.manifest.program_records import ProgramRecord

__all__ = ["Equations", "Named", "choose_equations", "new_name"]

# Terms that are short enough to be repeated.
_SHORT = ("negate", "convert", "reshape", "broadcast_in_dim", "not", "final")


@dataclass(frozen=True)
class Named:
    """A term with a name.

    Attributes
    ----------
    name : str
        The name: ``E.V'`` for the new value of the state ``E.V``, ``E2E.comm`` for the
        contribution of a component, ``E.V_1`` or ``E.x1`` for another term.
    component : str
        The component to which it belongs.
    term : Term
        The term.
    state : str
        The state whose new value it is; otherwise empty.
    """

    name: str
    component: str
    term: Term
    state: str = ""


@dataclass
class Equations:
    """The named terms of a step in the order in which they are evaluated.

    Attributes
    ----------
    named : list of Named
        The named terms.
    names : dict
        The name of each of these terms by its ``id``.
    """

    named: list[Named]
    names: dict[int, str]


def new_name(state: str) -> str:
    """Return the name of a state's value after the step."""
    return f"{state}'"


def choose_equations(record: ProgramRecord, step: Step) -> Equations:
    """Return the equations of a step."""
    return _Chooser(record, step).choose()


class _Chooser:
    def __init__(self, record: ProgramRecord, step: Step) -> None:
        self.components = record.components
        self.step = step
        self.order = in_order(result.term for result in step.results)
        self.named: dict[int, Named] = {}
        # Names of arguments, and of the new values of states.
        self.taken: set[str] = {spec.name for spec in record.arguments}
        # The terms that depend on a named value, and not on constants alone.
        self.open: set[int] = set()
        self.users: dict[int, list[Term]] = {}
        self.uses: Counter[int] = Counter()
        for term in self.order:
            operands = dependencies(term)
            if term.op in ("symbol", "counter", "final") or any(
                id(o) in self.open for o in operands
            ):
                self.open.add(id(term))
            if seen_through(term) is not term:
                continue
            shown = (seen_through(operand) for operand in operands)
            for operand in {id(operand): operand for operand in shown}.values():
                self.users.setdefault(id(operand), []).append(term)
                self.uses[id(operand)] += 1
        for result in step.results:
            if result.spec.role != "state":
                self.uses[id(seen_through(result.term))] += 1
        self.stateful = {self.owner(spec.name) for spec in record.arguments if spec.role == "state"}

    def owner(self, name: str) -> str:
        """Return the component that holds an array."""
        return enclosing_component(name, self.components)

    def choose(self) -> Equations:
        for result in self.step.results:
            term = seen_through(result.term)
            if result.spec.role == "state" and not is_atom(term):
                name = result.spec.name
                self.add(term, new_name(name), self.owner(name), name)
        self.name_time()
        self.name_contributions()
        self.name_candidates()
        self.name_shared()
        self.name_deep()
        found = [self.named[id(term)] for term in self.order if id(term) in self.named]
        return Equations(found, {id(item.term): item.name for item in found})

    def add(self, term: Term, name: str, component: str, state: str = "") -> None:
        if id(term) not in self.named:
            self.named[id(term)] = Named(self.unique(name), component, term, state)

    def unique(self, name: str) -> str:
        base, number = name, 1
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name

    def name_time(self) -> None:
        """Name the time of the step."""
        for term in self.order:
            users = self.users.get(id(term), [])
            if is_time(term) and not is_atom(term) and not all(map(is_time, users)):
                self.add(term, "t", "")

    def name_contributions(self) -> None:
        """Name the values that each component without states passes to other components."""
        found: dict[str, dict[int, Term]] = {}
        for term in self.order:
            component = term.component
            if component in self.stateful or component not in self.components or is_atom(term):
                continue
            users = self.users.get(id(term), [])
            if seen_through(term) is not term or (
                users and all(user.component == component for user in users)
            ):
                continue
            given = self.contribution(term, component)
            if given is not None and not is_atom(given) and id(given) not in self.named:
                found.setdefault(component, {})[id(given)] = given
        for component, terms in found.items():
            for number, term in enumerate(terms.values(), 1):
                name = f"{component}.y{number}" if len(terms) > 1 else component
                self.add(term, name, component)

    def contribution(self, term: Term, component: str) -> Term | None:
        """Return the value that a component adds, if its last operation adds to another value.

        None if it only adds values of other components.
        """
        while term.op == "add":
            shown = [seen_through(operand) for operand in term.operands]
            own = [operand for operand in shown if operand.component == component]
            if not own:
                return None
            if len(own) == 2:
                break
            (term,) = own
        return term

    def name_candidates(self) -> None:
        """Name the terms between which a state's new value is chosen, if they are used again."""
        for result in self.step.results:
            if result.spec.role != "state":
                continue
            state, pending = result.spec.name, [seen_through(result.term)]
            while pending:
                term = pending.pop()
                if term.op != "select":
                    continue
                for chosen in map(seen_through, term.operands[1:]):
                    if self.is_shared(chosen) and chosen.shape == result.term.shape:
                        number = 1
                        while f"{state}_{number}" in self.taken:
                            number += 1
                        self.add(chosen, f"{state}_{number}", self.owner(state))
                    pending.append(chosen)

    def is_shared(self, term: Term) -> bool:
        short = id(term) not in self.open or _is_row(term)
        short = short or (term.op in _SHORT and is_atom(seen_through(term.operands[0])))
        return (
            self.uses[id(term)] > 1
            and not is_atom(term)
            and not short
            and seen_through(term) is term
            and id(term) not in self.named
        )

    def name_shared(self) -> None:
        numbers: Counter[str] = Counter()
        for term in self.order:
            if not self.is_shared(term):
                continue
            component = term.component if term.component in self.components else ""
            numbers[component] += 1
            number = numbers[component]
            name = f"{component}.x{number}" if component else f"shared{number}"
            self.add(term, name, component)

    def name_deep(self) -> None:
        """Name terms within expressions that are nested too deeply to be read."""
        depths: dict[int, int] = {}
        for term in self.order:
            operands = list(map(seen_through, dependencies(term)))
            deeper = [depths.get(id(operand), 0) + 1 for operand in operands]
            if term.op in _CHAINS and operands[0].op == term.op:
                deeper[0] -= 1  # a + b + c is one level
            depth = max(deeper, default=0)
            if depth > _MAX_DEPTH and seen_through(term) is term and not is_atom(term):
                component = term.component if term.component in self.components else ""
                name = f"{component}.x" if component else "shared"
                self.add(term, self.numbered(name), component)
            depths[id(term)] = 0 if id(term) in self.named else depth

    def numbered(self, name: str) -> str:
        """Return a name with the first number that is not taken."""
        number = 1
        while f"{name}{number}" in self.taken:
            number += 1
        return f"{name}{number}"


# Printing an expression takes some Python frames for each level.
_MAX_DEPTH = 40
_CHAINS = ("add", "multiply")


def is_time(term: Term) -> bool:
    """Return whether a term is the runner's step number, possibly scaled and shifted."""
    if not term.dtype.startswith("float") or _is_row(seen_through(term)):
        return False
    while term.op in ("add", "multiply", "convert", "reshape", "broadcast_in_dim"):
        moving = [operand for operand in term.operands if operand.op != "constant"]
        if len(moving) != 1:
            return False
        (term,) = moving
    if _is_row(term):
        term = term.operands[0]
    return term.op == "symbol" and term.attributes["role"] == "input" and term.name in _CLOCKS


# The names under which a runner gives a step its number or time.
_CLOCKS = ("indices", "i", "times", "t")


def _is_row(term: Term) -> bool:
    """Return whether a term is this step's row of an argument."""
    return (
        term.op == "dynamic_slice"
        and term.operands[0].op == "symbol"
        and term.operands[1].op == "counter"
    )
