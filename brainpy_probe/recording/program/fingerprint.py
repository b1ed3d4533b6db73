"""Computes the fingerprint of a computation: a digest of its equations."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xxhash

from brainpy_probe.compat import jax_tracing
from brainpy_probe.compat.types import Atom, ClosedJaxpr, Equation, Jaxpr, Var
from brainpy_probe.recording.program.equations.jaxprs import (
    JAXPRS,
    Predicate,
    core,
    open_jaxpr,
    prune,
)

__all__ = ["fingerprint"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(
    eqns: Sequence[Equation],
    atoms: Sequence[Atom],
    extra: Sequence[object],
    drop: Predicate | None = None,
    lifted: Mapping[int, int] | None = None,
) -> str:
    """Return a digest of a computation: equal for equal equations, shapes, dtypes and literals.

    The name stacks and the settings of the equations are included, because the components of ops
    and the lowering depend on them.

    Parameters
    ----------
    eqns : sequence of equations
        The computation.
    atoms : sequence of Var or Literal
        Its arguments and results, in order.
    extra : sequence
        Other objects on which the program depends; their ``repr`` is included.
    drop : callable, optional
        Returns whether an equation of an inner jaxpr is left out, as in
        :func:`~brainpy_probe.recording.program.equations.evaluation.evaluate`.
    lifted : mapping, optional
        The constants of inner jaxprs that become arguments: a number for each, by its ``id``.
    """
    digest = xxhash.xxh3_128()
    _Hasher(digest.update, drop, lifted or {}).add({}, eqns, atoms)
    for item in extra:
        digest.update(repr(item).encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=4096)
def _printed(aval: Any) -> bytes:
    """Print a shape and dtype, cached because a jaxpr has few of them."""
    return str(aval).encode()


@dataclass
class _Hasher:
    """Adds jaxprs to a digest."""

    feed: Callable[[bytes], None]
    drop: Predicate | None
    lifted: Mapping[int, int]
    _settings: dict[int, tuple[Any, bytes]] = field(default_factory=dict)

    def add(self, numbers: dict[Var, int], eqns: Sequence[Equation], atoms: Sequence[Atom]) -> None:
        """Add equations; variables are numbered in the order of their first use."""

        def text(atom: Atom) -> bytes:
            if isinstance(atom, core.Literal):
                return b"=" + np.asarray(atom.val).tobytes() + _printed(atom.aval)
            return b"%%%d:" % numbers.setdefault(atom, len(numbers)) + _printed(atom.aval)

        feed = self.feed
        feed(b"(" + b",".join(map(text, atoms)) + b")")
        for eqn in eqns:
            feed(eqn.primitive.name.encode())
            feed(b",".join(map(text, eqn.invars)) + b"->" + b",".join(map(text, eqn.outvars)))
            for setting in jax_tracing.equation_settings(eqn):
                feed(self._setting(setting))
            for name in sorted(eqn.params):
                feed(name.encode())
                self._add_param(eqn.params[name])

    def _setting(self, setting: Any) -> bytes:
        """Print a name stack or a context, cached because many equations share one."""
        known = self._settings.get(id(setting))
        if known is None:
            # Kept alive, so that no other object gets the same id.
            known = self._settings[id(setting)] = setting, _text(setting)
        return known[1]

    def _add_jaxpr(self, value: Jaxpr | ClosedJaxpr) -> None:
        """Add a jaxpr of an equation's parameters, with its constants."""
        for constant in getattr(value, "consts", ()):
            self.feed(str((constant.shape, constant.dtype)).encode())
            number = self.lifted.get(id(constant))
            if number is not None:
                self.feed(b"#%d" % number)
            elif not jax_tracing.is_extended(constant.dtype):
                self.feed(np.asarray(constant).tobytes())
        jaxpr = open_jaxpr(value)
        eqns = jaxpr.eqns if self.drop is None else prune(jaxpr.eqns, jaxpr.outvars, self.drop)
        self.add({}, eqns, [*jaxpr.constvars, *jaxpr.invars, *jaxpr.outvars])

    def _add_param(self, value: Any) -> None:
        """Add a parameter of an equation."""
        feed = self.feed
        if value is None or isinstance(value, (str, int, float)):
            feed(repr(value).encode())
        elif isinstance(value, JAXPRS):
            self._add_jaxpr(value)
        elif isinstance(value, (tuple, list)):
            feed(f"[{len(value)}".encode())
            for item in value:
                self._add_param(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                feed(repr(key).encode())
                self._add_param(item)
        elif isinstance(value, (np.ndarray, jax.Array)):
            feed(str((value.shape, value.dtype)).encode() + np.asarray(value).tobytes())
        else:
            feed(_text(value))


def _text(value: Any) -> bytes:
    """Print an object without its address, which differs between traces."""
    return _ADDRESS.sub("", repr(value)).encode()
