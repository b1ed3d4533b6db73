"""Prints an explanation as a page of plain text, or as a LaTeX document fragment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from brainpy_probe.analysis.explanation.printing.latex import escape, latex_name
from brainpy_probe.analysis.explanation.printing.text import number
from brainpy_probe.analysis.explanation.records import (
    ComponentExplanation,
    Equation,
    Explanation,
    StateDescription,
)
from brainpy_probe.format.manifest.definition_records import DerivativeDefinition, ParameterValue

__all__ = ["component_lines", "derivative_line", "latex_page", "page"]


def page(explanation: Explanation) -> str:
    """Return an explanation as a page of plain text."""
    lines = list(_head(explanation))
    seen: set[str] = set()
    names = {name.partition("'")[0] for name in explanation.equations}
    for part in explanation.components:
        lines += component_lines(part, seen, names)
    if explanation.recorded:
        lines.append("recorded")
        lines += [f"  {_recorded(equation)}" for equation in explanation.recorded]
    lines += [f"where {name} = {text}" for name, text in explanation.functions.items()]
    if explanation.opaque:
        lines.append(f"kernels without a definition: {', '.join(explanation.opaque)}")
    lines += [f"note: {note}" for note in explanation.notes]
    return "\n".join(lines)


def _head(explanation: Explanation) -> Iterator[str]:
    """Yield the lines before the components."""
    steps = (
        f"each of {explanation.steps} steps (n = 0, 1, ...)" if explanation.loops else "one step"
    )
    yield f"{explanation.name}: {steps}; x' is x after the step, x_1 a value in between"
    projections = [part for part in explanation.components if part.links and not part.equations]
    if projections:
        ends = (f"{p.name} {p.cls} ({p.links[0]} to {p.links[1]})" for p in projections)
        yield f"  projections: {', '.join(ends)}"
    others = [
        part.name
        for part in explanation.components
        if not (part.equations or part.states or part.links)
    ]
    if others:
        yield f"  without equations of their own: {', '.join(others)}"
    yield from (f"  {_equation(equation)}" for equation in explanation.shared)


def component_lines(
    component: ComponentExplanation, seen: set[str], names: set[str]
) -> Iterator[str]:
    """Yield the lines about a component; none if it has neither equations nor states.

    Parameters
    ----------
    component : ComponentExplanation
        The component.
    seen : set of str
        The classes whose equations were printed. They are printed once, and added.
    names : set of str
        The names of all equations, without primes.
    """
    equations, name = component.equations, component.name
    if not (equations or component.states):
        return
    head = f"{name}: {component.cls}"
    if component.links:
        head += f" ({component.links[0]} to {component.links[1]})"
    parts = [", ".join(map(_parameter, component.parameters))]
    parts.append(", ".join(_state(state, name) for state in component.states))
    yield "; ".join([head, *filter(None, parts)])
    if component.definition is not None and component.definition.name not in seen:
        seen.add(component.definition.name)
        if component.states:
            yield from (f"  docstring: {math}" for math in component.definition.math)
    yield from (f"  {derivative_line(derivative)}" for derivative in component.derivatives)
    place = ""
    if not component.states and component.goes_to:
        place = f", in {', '.join(component.goes_to)}"
    local = _local(component, names)
    for equation in equations:
        if equation.text != equation.state:
            yield f"  {local(_equation(equation))}{place}"
    kept = [local(equation.state) for equation in equations if equation.text == equation.state]
    if kept:
        yield f"  unchanged: {', '.join(kept)}"


def _local(component: ComponentExplanation, names: set[str]) -> Callable[[str], str]:
    """Return a function that prints a component's own names without the component's name.

    It prints them in full if a value outside of the component has such a short name.
    """
    own = re.compile(rf"(?<![\w.]){re.escape(component.name)}\.(\w+)")
    texts = (equation.name + " " + equation.text for equation in component.equations)
    if not names.isdisjoint(name for text in texts for name in own.findall(text)):
        return str
    return lambda text: own.sub(r"\1", text)


def _equation(equation: Equation) -> str:
    once = "  (once)" if equation.once else ""
    return f"{equation.name} = {equation.text}{once}"


def _recorded(equation: Equation) -> str:
    return f"{equation.kind} {equation.name} = {equation.text}"


def _parameter(parameter: ParameterValue) -> str:
    unit = f" {parameter.unit}" if parameter.unit else ""
    if parameter.value is not None:
        return f"{parameter.name} {number(parameter.value)}{unit}"
    return f"{parameter.name} {parameter.dtype}{list(parameter.shape)}{unit}"


def derivative_line(derivative: DerivativeDefinition) -> str:
    """Return a derivative in one line: ``dV/dt = ...  (ExponentialEuler, dt 0.1)``."""
    how = f"{derivative.method}, dt {derivative.dt}" if derivative.dt else derivative.method
    left = " ".join(f"d{variable}/dt" for variable in derivative.variables)
    if derivative.kind != "f":
        left += f" ({derivative.kind})"
    source = "; ".join(line.replace("self.", "") for line in derivative.source)
    source = source.removeprefix("return ") if len(derivative.source) == 1 else source
    return f"{left} = {source or '?'}  ({how})"


def _state(state: StateDescription, component: str) -> str:
    name = state.name.removeprefix(f"{component}.")
    unit = f" {state.unit}" if state.unit else ""
    return f"{name} {state.dtype}{list(state.shape)}{unit}"


def latex_page(explanation: Explanation) -> str:
    """Return an explanation as LaTeX: a paragraph and an ``align*`` for each component."""
    parts = []
    if explanation.shared:
        parts.append(_align(explanation.shared))
    for component in explanation.components:
        if not component.equations:
            continue
        parts.append(rf"\paragraph{{{escape(component.name)} ({escape(component.cls)})}}")
        parts.append(_align(component.equations))
    if explanation.recorded:
        parts += [r"\paragraph{recorded}", _align(explanation.recorded)]
    return "\n".join(parts)


def _align(equations: tuple[Equation, ...]) -> str:
    lines = [f"  {latex_name(equation.name)} &= {equation.latex}" for equation in equations]
    return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"
