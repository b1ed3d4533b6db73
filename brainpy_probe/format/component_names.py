"""Names of model components in the locations of a program's ops.

Each component of a model runs within its own JAX name scope: a marker followed by the component's
full name, as in ``jit(EINet)/while/body/~EINet/~E2E/~E2E.comm/mul``. The innermost scope names the
component to which an op belongs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

__all__ = [
    "INPUTS",
    "LOOP",
    "MONITORS",
    "OUTSIDE",
    "SHARED",
    "UNTIMED",
    "backward",
    "enclosing_component",
    "forward",
    "is_backward",
    "label",
    "location",
    "owner",
    "owner_within",
    "scope",
]

# XLA cuts a name at "@" (MLIR's NameLoc, all versions), and reads a name that ends in ":" as a
# type.
_MARK = "~"
# JAX writes a transformation around the scopes within it: ``vmap(~EINet)``. A name ends at the
# first character of JAX's or XLA's own syntax. It may contain characters that \w does not match,
# such as combining accents.
_SCOPE = re.compile(rf"{_MARK}([^/()\[\]{_MARK}\"\s]+)")
# Parts of a location that do not describe the op.
_TRACED = re.compile(r"(?:jit|pjit)\(|eval_jaxpr$|closed_call$")
# Pseudo-components: the runner's work in a step, before and after the model's update.
INPUTS = "runner.inputs"
MONITORS = "runner.monitors"
# Time and cost without a component: the loop over time itself, the ops before and after the loop,
# and the time between two ops.
LOOP = "(loop)"
OUTSIDE = "(outside the loop)"
# Ops that several components use, such as a constant.
SHARED = "(shared)"
UNTIMED = "(between ops)"
# The part of a location that marks the backward pass of a gradient.
_BACKWARD = "backward"
# The ops by which a loop over time reads a step's inputs and stores the step's results
# (scan in jax/_src/lax/control_flow/loops.py, 0.4.13 to 0.12.0).
_LOOP_OPS = {
    "dynamic_update_slice": MONITORS,
    "dynamic_update_index_in_dim": MONITORS,
    "dynamic_slice": INPUTS,
    "dynamic_index_in_dim": INPUTS,
}


def scope(name: str) -> str:
    """Return the name scope of a component."""
    return f"{_MARK}{name}"


def owner(location: str) -> str:
    """Return the component that an op's location names; empty if there is none."""
    found = _SCOPE.findall(location)
    return found[-1] if found else ""


def owner_within(location: str, caller: str, components: Collection[str]) -> str:
    """Return the component of an op, given the component that calls its function, or "".

    JAX up to 0.4.30 lowers a function with several callers once, with the locations of the first
    caller. Therefore a component that is not a part of the calling component is ignored.
    """
    own = owner(location)
    if not own:
        return caller
    first = next(iter(components), "")
    return own if caller in ("", own, first) or own.startswith(f"{caller}.") else caller


def is_backward(location: str) -> bool:
    """Return whether the location of an op in a captured program is in a backward pass."""
    return f"/{_BACKWARD}/" in location


def backward(component: str) -> str:
    """Return the name under which the backward pass of a component is counted."""
    return f"{component} ({_BACKWARD})"


def forward(component: str) -> str:
    """Return the component to which a name under which ops are counted belongs."""
    return component.removesuffix(f" ({_BACKWARD})")


def location(name: str, *, training: bool = False) -> str:
    """Return the location name that an op has in a captured program, given JAX's location name.

    It is ``~E2E.comm/mul`` for an op of a component, otherwise the op's position in the program, as
    in ``while/body/add``. The functions in which the op was traced are removed, and so are
    parameters of primitives, which JAX up to 0.4.30 writes there. The result is empty for names of
    arguments, which are recorded elsewhere, and for names that XLA would read as a type (``jit:``).

    In a program that trains its model, ops of a gradient are marked: ``~rnn/backward/dot_general``.
    """
    in_gradient = is_backward(name) or (training and "transpose(" in name)
    name = name.partition("[")[0]
    if name.startswith("groups") or name.endswith(":"):
        return ""
    component = owner(name)
    parts = [part for part in name.split("/") if part and not _TRACED.match(part)]
    if not component and parts[:-1] == ["while", "body"]:
        component = next((part for op, part in _LOOP_OPS.items() if op in parts[-1]), "")
    if not component:
        return "/".join(parts)
    op = "" if not parts or _SCOPE.search(parts[-1]) else parts[-1]
    return "/".join(filter(None, (scope(component), _BACKWARD if in_gradient else "", op)))


def label(name: str, links: Mapping[str, tuple[str, str]]) -> str:
    """Return the display name of a component; for a projection, with the two ends."""
    return f"{name} ({links[name][0]} to {links[name][1]})" if name in links else name


def enclosing_component(name: str, components: Collection[str]) -> str:
    """Return the component that contains an array or another component, given its name.

    This is the longest prefix that names a component (``E2E`` for ``E2E.comm``), otherwise the
    model, which is the first component. Arrays of the runner belong to the pseudo-component of its
    inputs.
    """
    if name.startswith("runner."):
        return INPUTS
    while "." in name:
        name = name.rpartition(".")[0]
        if name in components:
            return name
    return next(iter(components), "")
