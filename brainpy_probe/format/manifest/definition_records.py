"""Records of a model's definition: the equations, derivatives, parameters and units of its parts.

They are read from the model's objects when a program is captured. The program itself has none of
them.
"""

from __future__ import annotations

from brainpy_probe.format.manifest.common_records import (
    BoundedFloat,
    NonNegativeInt,
    Record,
    Shape,
)

__all__ = [
    "ClassDefinition",
    "ComponentDefinition",
    "DerivativeDefinition",
    "ModelDefinition",
    "ParameterValue",
]


class ClassDefinition(Record, frozen=True, kw_only=True):
    """A class of components.

    Attributes
    ----------
    name : str
        Its module and qualified name, as in ``brainpy.dyn.neurons.lif.LifRef``.
    math : tuple of str
        The LaTeX of each ``.. math::`` directive in its docstring.
    """

    name: str
    math: tuple[str, ...] = ()


class DerivativeDefinition(Record, frozen=True, kw_only=True):
    """The right-hand side of a differential equation that a component integrates.

    Attributes
    ----------
    variables : tuple of str
        The variables whose derivative it returns.
    kind : str
        BrainPy's name of the part of the equation: ``f``, or ``g`` for the diffusion of a
        stochastic equation.
    method : str
        The class of the integrator, as in ``ExponentialEuler``.
    dt : float or None
        The step of the integrator, in the model's unit of time; None if it has none.
    source : tuple of str
        The statements of the function, without its docstring and comments. Empty if they could not
        be read.
    """

    variables: tuple[str, ...]
    kind: str
    method: str
    dt: BoundedFloat | None = None
    source: tuple[str, ...] = ()


class ParameterValue(Record, frozen=True, kw_only=True):
    """A number or an array that a component holds as a public attribute.

    Attributes
    ----------
    name : str
        The name of the attribute.
    value : bool, int, float or None
        The value of a scalar; None for an array with more elements, or a value that JSON lacks.
    shape : tuple of int
        Its shape.
    dtype : str
        NumPy's name of the dtype of an array; empty for a Python number.
    unit : str
        Its unit; empty if it has none.
    """

    name: str
    value: BoundedFloat | None = None
    shape: Shape = ()
    dtype: str = ""
    unit: str = ""


class ComponentDefinition(Record, frozen=True, kw_only=True):
    """The definition of a component.

    Attributes
    ----------
    cls : int
        The position of its class in :attr:`ModelDefinition.classes`.
    derivatives : tuple of int
        The positions of its derivatives in :attr:`ModelDefinition.derivatives`.
    parameters : tuple of ParameterValue
        Its parameters.
    units : dict
        The unit of each of its states that has one, by the name of the attribute.
    """

    cls: NonNegativeInt
    derivatives: tuple[NonNegativeInt, ...] = ()
    parameters: tuple[ParameterValue, ...] = ()
    units: dict[str, str] = {}


class ModelDefinition(Record, frozen=True, kw_only=True):
    """The definition of a model, by component. Shared definitions are recorded once.

    Attributes
    ----------
    classes : tuple of ClassDefinition
        The classes of the components.
    derivatives : tuple of DerivativeDefinition
        The derivatives that the components integrate.
    components : dict
        The definition of each component by its name in the model tree.
    notes : tuple of str
        Parts that could not be read, with the reason.
    """

    classes: tuple[ClassDefinition, ...] = ()
    derivatives: tuple[DerivativeDefinition, ...] = ()
    components: dict[str, ComponentDefinition] = {}
    notes: tuple[str, ...] = ()

    def class_of(self, component: str) -> ClassDefinition | None:
        """Return the class of a component; None if the component is not recorded."""
        found = self.components.get(component)
        return None if found is None or found.cls >= len(self.classes) else self.classes[found.cls]

    def derivatives_of(self, component: str) -> tuple[DerivativeDefinition, ...]:
        """Return the derivatives that a component integrates."""
        found = self.components.get(component)
        numbers = () if found is None else found.derivatives
        return tuple(self.derivatives[n] for n in numbers if n < len(self.derivatives))
