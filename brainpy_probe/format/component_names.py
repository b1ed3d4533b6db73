"""How an op's location says whose it is; knows no program and no library.

Each component of a model works under a scope of its own, its whole name behind a mark, as in
``jit(EINet)/while/body/~EINet/~E2E/~E2E.comm/mul``: the innermost one is the op's.
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
    "belongs",
    "label",
    "location",
    "owner",
    "scope",
]

# XLA cuts a name at "@" (NameLoc of MLIR, all versions), and takes what ends in ":" for a type.
_MARK = "~"
# JAX puts a transformation around the scopes within it: ``vmap(~EINet)``.
# A name ends where JAX's or XLA's own writing goes on. It may hold what is no \\w in any language,
# such as a combining accent.
_SCOPE = re.compile(rf"{_MARK}([^/()\[\]{_MARK}\"\s]+)")
# What is around an op and tells nothing of it.
_TRACED = re.compile(r"(?:jit|pjit)\(|eval_jaxpr$|closed_call$")
# What a runner does in a step before and after the model.
INPUTS = "runner.inputs"
MONITORS = "runner.monitors"
# What is of no component: the loop over time itself, what is before and after it, and the time
# between ops.
LOOP = "(loop)"
OUTSIDE = "(outside the loop)"
# What several components use, such as a constant.
SHARED = "(shared)"
UNTIMED = "(between ops)"
# How a loop over time takes a step's entry of what it is given, and where it puts what the step
# gives (scan in jax/_src/lax/control_flow/loops.py, 0.4.13 to 0.12.0).
_OF_LOOP = {
    "dynamic_update_slice": MONITORS,
    "dynamic_update_index_in_dim": MONITORS,
    "dynamic_slice": INPUTS,
    "dynamic_index_in_dim": INPUTS,
}


def scope(name: str) -> str:
    """Return the scope in which a component works."""
    return f"{_MARK}{name}"


def owner(location: str) -> str:
    """Return the component whose an op is, given its location's name; empty if it is of none."""
    found = _SCOPE.findall(location)
    return found[-1] if found else ""


def location(name: str) -> str:
    """Return the name of an op's location in a program of ours, given that which JAX gave it.

    ``~E2E.comm/mul`` for an op of a component; else where in the program it is, as in
    ``while/body/add``. Left out are the functions in which it was traced, parameters of primitives,
    which JAX up to 0.4.30 writes there; nothing is left of the names of arguments, which they have
    anyway, and of those that XLA would take for a kind of op (``jit:``).
    """
    name = name.partition("[")[0]
    if name.startswith("groups") or name.endswith(":"):
        return ""
    component = owner(name)
    parts = [part for part in name.split("/") if part and not _TRACED.match(part)]
    if not component and parts[:-1] == ["while", "body"]:
        component = next((whose for leaf, whose in _OF_LOOP.items() if leaf in parts[-1]), "")
    if not component:
        return "/".join(parts)
    leaf = "" if not parts or _SCOPE.search(parts[-1]) else parts[-1]
    return "/".join(filter(None, (scope(component), leaf)))


def label(name: str, links: Mapping[str, tuple[str, str]]) -> str:
    """Return how a component is called to a reader: a projection with what it connects."""
    return f"{name} ({links[name][0]} to {links[name][1]})" if name in links else name


def belongs(name: str, components: Collection[str]) -> str:
    """Return the component that holds an array or is a part of others, given its name.

    The longest name that leads to it, ``E2E`` for ``E2E.comm``; else the model, which is the first;
    for an array of the runner's own what gives the model its inputs.
    """
    if name.startswith("runner."):
        return INPUTS
    while "." in name:
        name = name.rpartition(".")[0]
        if name in components:
            return name
    return next(iter(components), "")
