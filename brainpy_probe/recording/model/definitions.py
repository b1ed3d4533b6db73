"""Reads a model's definition from its objects: equations, derivatives, parameters and units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from brainpy_probe.compat.brainpy_model import (
    array_classes,
    derivatives_of,
    integrator_classes,
    raw_value,
    state_class,
    unit_of,
)
from brainpy_probe.compat.types import Array
from brainpy_probe.errors import first_line
from brainpy_probe.format.manifest.definition_records import (
    ClassDefinition,
    ComponentDefinition,
    DerivativeDefinition,
    ModelDefinition,
    ParameterValue,
)
from brainpy_probe.recording.model.sources import docstring_math, statements

__all__ = ["read_definition"]

# Numeric attributes that follow from the size of a group.
_SIZES = ("num",)
_MAX_FLOAT = 1e30
_MAX_INT = 2**53


def read_definition(components: list[tuple[str, Callable[[], Any]]]) -> ModelDefinition:
    """Return the definition of a model.

    It reads attributes of the components from their ``__dict__``, and calls none of their code. A
    component that can't be read is left out, with a note.

    Parameters
    ----------
    components : list of (str, reference)
        The components with their names, as in
        :attr:`~brainpy_probe.recording.model.names.ModelNames.components`.
    """
    classes: dict[ClassDefinition, int] = {}
    derivatives: dict[DerivativeDefinition, int] = {}
    found: dict[str, ComponentDefinition] = {}
    notes: dict[str, None] = {}

    def number(table: dict[Any, int], record: Any) -> int:
        return table.setdefault(record, len(table))

    for name, reference in components:
        component = reference()
        if component is None:  # an object that is created at each access
            continue
        try:
            attributes = vars(component)
            equations = []
            for integrator in _integrators(attributes):
                for record, problem in _derivatives(integrator):
                    equations.append(number(derivatives, record))
                    if problem:
                        notes[f"{name}: {problem}"] = None
            found[name] = ComponentDefinition(
                cls=number(classes, _class(type(component))),
                derivatives=tuple(equations),
                parameters=tuple(_parameters(attributes)),
                units=dict(_units(attributes)),
            )
        except Exception as error:  # an object of the user may raise anything
            notes[f"The definition of {name} could not be read: {first_line(error)}"] = None
    return ModelDefinition(
        classes=tuple(classes),
        derivatives=tuple(derivatives),
        components=found,
        notes=tuple(notes),
    )


def _class(cls: type) -> ClassDefinition:
    return ClassDefinition(name=f"{cls.__module__}.{cls.__qualname__}", math=docstring_math(cls))


def _integrators(attributes: dict[str, Any]) -> list[Any]:
    integrators = integrator_classes()
    return [value for value in attributes.values() if issubclass(type(value), integrators)]


def _derivatives(integrator: Any) -> Iterator[tuple[DerivativeDefinition, str]]:
    """Yield the derivatives of an integrator, each with the reason why its source is missing."""
    dt = getattr(integrator, "dt", None)
    step = float(dt) if isinstance(dt, (int, float)) and abs(dt) < _MAX_FLOAT else None
    for kind, variables, function in derivatives_of(integrator):
        try:
            source, problem = statements(function), ""
        except (OSError, TypeError, SyntaxError, LookupError) as error:
            source = ()
            names = ", ".join(variables)
            problem = f"the source of the derivative of {names} was not found: {first_line(error)}"
        record = DerivativeDefinition(
            variables=variables,
            kind=kind,
            method=type(integrator).__name__,
            dt=step,
            source=source,
        )
        yield record, problem


def _parameters(attributes: dict[str, Any]) -> Iterator[ParameterValue]:
    """Yield the numbers and arrays among a component's public attributes."""
    state, array = state_class(), array_classes()
    for name, value in attributes.items():
        if name.startswith("_") or name in _SIZES or issubclass(type(value), state):
            continue
        content, unit = unit_of(value)
        if issubclass(type(content), array):
            content = raw_value(content)
        if isinstance(content, jax.core.Tracer):
            continue
        if isinstance(content, (int, float)) and not isinstance(content, bool):
            yield ParameterValue(name=name, value=_number(content), unit=unit)
        elif isinstance(content, (np.ndarray, np.number, jax.Array)):
            yield ParameterValue(
                name=name,
                value=_scalar(content),
                shape=tuple(content.shape),
                dtype=str(content.dtype),
                unit=unit,
            )


def _units(attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    state = state_class()
    for name, value in attributes.items():
        if issubclass(type(value), state):
            unit = unit_of(raw_value(value))[1]
            if unit:
                yield name, unit


def _scalar(array: Array) -> float | None:
    """Return the value of an array with one element, if it is a real number."""
    if math.prod(array.shape) != 1 or np.dtype(array.dtype).kind not in "iuf":
        return None
    return _number(np.asarray(array).item())


def _number(value: float) -> float | None:
    """Return a number, or None if the manifest can't hold it."""
    if isinstance(value, int):
        return value if abs(value) <= _MAX_INT else None
    return value if math.isfinite(value) and abs(value) <= _MAX_FLOAT else None
