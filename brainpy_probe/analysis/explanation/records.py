"""Records of an explanation: the equations of a program, by component.

How operations are identified: the StableHLO text of a program (``program.text("stablehlo")``) has
one operation on each line. An :class:`Operation` gives the line on which it starts, counted
from 1, and its component. :attr:`Equation.operations` lists the operations that an equation
represents, without those of the other equations to which it refers. An operation of a private
function that the program calls several times may belong to several equations. The line is 0 if the
explanation was read from another form than this text (VHLO, MHLO or HLO).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from brainpy_probe.characters import in_one_line
from brainpy_probe.errors import BadSetting
from brainpy_probe.format.manifest.definition_records import (
    ClassDefinition,
    DerivativeDefinition,
    ParameterValue,
)
from brainpy_probe.showing import Shown

__all__ = [
    "ComponentExplanation",
    "Equation",
    "EquationKind",
    "Explanation",
    "Operation",
    "StateDescription",
    "UpdateDigests",
]

EquationKind: TypeAlias = Literal["state", "term", "output", "monitor"]


class Operation(msgspec.Struct, frozen=True, order=True):
    """An operation of a program.

    Attributes
    ----------
    line : int
        The line of the StableHLO text on which it starts, from 1; 0 if it is not known.
    component : str
        The component that its location names, or the location of the call that contains it.
    """

    line: int
    component: str


class Equation(msgspec.Struct, frozen=True, kw_only=True):
    """An equation: a name, and an expression over names.

    Attributes
    ----------
    name : str
        What the expression defines: ``E.V'`` for the value of ``E.V`` after the step, the name of a
        component without states for its contribution, or another name for a shared term.
    kind : str
        ``state``, ``term``, ``output`` or ``monitor``.
    component : str
        The component to which it belongs; empty if it belongs to none.
    state : str
        The state that it updates; otherwise empty.
    text, latex : str
        The expression.
    uses : tuple of str
        The names of the equations to which the expression refers.
    reads : tuple of str
        The states, constants and inputs that the expression reads itself.
    shape, dtype : tuple of int, str
        Shape and dtype of the value.
    operations : tuple of Operation
        The operations that it represents.
    digest : str
        The digest of the value as an expression over the program's arguments.
    once : bool
        Whether it is computed once, and not in each step.
    """

    name: str
    kind: EquationKind
    component: str
    state: str
    text: str
    latex: str
    uses: tuple[str, ...]
    reads: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    operations: tuple[Operation, ...]
    digest: str = ""
    once: bool = False


class UpdateDigests(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of a result as an expression over the program's arguments.

    Two programs update a state equally if ``full`` is equal. Otherwise, if ``operations`` is equal,
    the expressions differ in their constants, shapes or dtypes.

    Attributes
    ----------
    full : str
        The digest of operations, names, constants, shapes and dtypes.
    operations : str
        The digest of operations and names alone.
    constants, shapes, dtypes : str
        The digest of operations and names with only this aspect.
    """

    full: str
    operations: str
    constants: str
    shapes: str
    dtypes: str


class StateDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A state of a component: name, shape, dtype and unit (empty if it has none)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str = ""


class ComponentExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of a component.

    Attributes
    ----------
    name : str
        Its name in the model tree.
    cls : str
        Its class.
    links : tuple of str
        For a projection, the names of the two components that it connects.
    definition : ClassDefinition or None
        Its class with the equations of the docstring; None if they were not recorded.
    derivatives : tuple of DerivativeDefinition
        Its derivatives, and how they are integrated.
    parameters : tuple of ParameterValue
        Its parameters.
    states : tuple of StateDescription
        Its states.
    equations : tuple of Equation
        Its equations in the order in which they are evaluated.
    goes_to : tuple of str
        The names of the equations of other components that use its equations.
    digest : str
        The digest of the updates of its states, without its own name and the names of other
        components; empty if it has no states.
    """

    name: str
    cls: str
    links: tuple[str, ...] = ()
    definition: ClassDefinition | None = None
    derivatives: tuple[DerivativeDefinition, ...] = ()
    parameters: tuple[ParameterValue, ...] = ()
    states: tuple[StateDescription, ...] = ()
    equations: tuple[Equation, ...] = ()
    goes_to: tuple[str, ...] = ()
    digest: str = ""


class Explanation(Shown, msgspec.Struct, frozen=True, kw_only=True):
    """How a program updates each state in a step, as equations.

    Attributes
    ----------
    name : str
        The model's class.
    loops : bool
        Whether the program has a loop over time; otherwise it is one step.
    steps : int
        The number of its steps.
    components : tuple of ComponentExplanation
        The components of the model in the order in which their equations are evaluated, the model
        itself and others without equations first.
    shared : tuple of Equation
        Equations that belong to no component, such as ``t``.
    recorded : tuple of Equation
        The values that the program returns for each step: monitors and outputs.
    functions : dict
        The definitions of functions in the expressions: ``exprel(z)``.
    opaque : tuple of str
        Kernels whose definition is not known.
    digests : dict
        The digests of each result, by group and name, as ``state/E.V``.
    notes : tuple of str
        Parts that an expression does not show, and parts that were not recorded.
    """

    name: str
    loops: bool
    steps: int
    components: tuple[ComponentExplanation, ...]
    shared: tuple[Equation, ...] = ()
    recorded: tuple[Equation, ...] = ()
    functions: dict[str, str] = {}
    opaque: tuple[str, ...] = ()
    digests: dict[str, UpdateDigests] = {}
    notes: tuple[str, ...] = ()

    @property
    def equations(self) -> dict[str, Equation]:
        """All equations by name."""
        groups = [self.shared, *(component.equations for component in self.components)]
        return {equation.name: equation for group in groups for equation in group}

    def of(self, component: str) -> Explanation:
        """Return the explanation of one component.

        Raises
        ------
        BadSetting
            If there is no such component.
        """
        found = [part for part in self.components if part.name == component]
        if not found:
            known = ", ".join(part.name for part in self.components)
            raise BadSetting(f"{self.name} has no component {component!r}.", f"It has {known}.")
        used = {name for equation in found[0].equations for name in equation.uses}
        texts = " ".join(equation.text for equation in found[0].equations)
        return msgspec.structs.replace(
            self,
            components=tuple(found),
            shared=tuple(equation for equation in self.shared if equation.name in used),
            recorded=(),
            functions={
                name: text
                for name, text in self.functions.items()
                if f"{name.partition('(')[0]}(" in texts
            },
            opaque=(),
            digests={},
            notes=(),
        )

    def __repr__(self) -> str:
        return f"<Explanation of {in_one_line(self.name)}: {len(self.equations)} equations>"

    def __str__(self) -> str:
        from brainpy_probe.analysis.explanation.printing.page import page

        return page(self)

    @property
    def latex(self) -> str:
        """The explanation as LaTeX."""
        from brainpy_probe.analysis.explanation.printing.page import latex_page

        return latex_page(self)
