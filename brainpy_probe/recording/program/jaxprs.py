"""Evaluates, prunes and fingerprints jaxprs; knows no BrainPy.

A jaxpr that BrainPy traced is evaluated once more inside a trace of ours, so that no line of the
user's Python runs again. Two things change on the way: equations can be left out, and arrays that
hide in inner jaxprs are handed in from outside.
"""

from __future__ import annotations

import functools
import itertools
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
import xxhash

from brainpy_probe.compat import jax_tracing

__all__ = [
    "callbacks",
    "changed",
    "equations",
    "evaluate",
    "fingerprint",
    "prune",
    "survey",
    "uses",
]

core = jax_tracing.jaxpr_classes()
_JAXPRS = (core.ClosedJaxpr, core.Jaxpr)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _inner(eqn: Any) -> list[Any]:
    """Return the jaxprs, closed or open, in an equation's parameters."""
    found: list[Any] = []
    for value in eqn.params.values():
        if isinstance(value, _JAXPRS):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += [one for one in value if isinstance(one, _JAXPRS)]
    return found


def _open(jaxpr: Any) -> Any:
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr


class Survey(NamedTuple):
    """What is within equations.

    Attributes
    ----------
    constants : list of arrays
        What inner jaxprs hold, each once.
    occurrences : list of int
        Which of them each inner jaxpr holds, in order.
    callers : frozenset of int
        The ``id`` of each equation that calls Python back at run time, itself or within.
    """

    constants: list[Any]
    occurrences: list[int]
    callers: frozenset[int]


def survey(eqns: Sequence[Any]) -> Survey:
    """Look through equations, and the jaxprs within them, once."""
    found: dict[int, Any] = {}
    occurrences: list[int] = []
    numbers: dict[int, int] = {}
    calling: dict[int, bool] = {}  # whether an inner jaxpr calls back, by its id

    def look(among: Sequence[Any]) -> list[int]:
        """Return the equations among these that call back."""
        callers = []
        for eqn in among:
            if not eqn.params:
                continue  # most have none, and each call of predict comes by here
            calls = jax_tracing.callback_of(eqn) is not None
            for inner in _inner(eqn):
                if id(inner) not in calling:
                    for constant in getattr(inner, "consts", ()):
                        found.setdefault(id(constant), constant)
                        occurrences.append(numbers.setdefault(id(constant), len(numbers)))
                    calling[id(inner)] = bool(look(_open(inner).eqns))
                calls = calls or calling[id(inner)]
            if calls:
                callers.append(id(eqn))
        return callers

    callers = frozenset(look(eqns))
    return Survey(list(found.values()), occurrences, callers)


def uses(eqns: Sequence[Any], variables: Sequence[Any], results: Sequence[Any]) -> bytes:
    """Return where variables are used: for each operand of the equations, which of them it is.

    Two jaxprs that are lowered to the same module differ at most in which variable stands for
    which of the module's arguments; this tells them apart. JAX orders the arguments by their first
    use, and makes one argument of two variables that have the same value.
    """
    number = {id(variable): number for number, variable in enumerate(variables)}.get
    found = array("i", [number(id(atom), -1) for eqn in eqns for atom in eqn.invars])
    found.extend([number(id(atom), -1) for atom in results])
    return found.tobytes()


def equations(eqns: Sequence[Any]) -> Iterator[Any]:
    """Yield equations, and those within them, at whatever depth."""
    for eqn in eqns:
        yield eqn
        for inner in _inner(eqn):
            yield from equations(_open(inner).eqns)


def changed(eqns: Sequence[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Return equations with each of them, at whatever depth, replaced by what it is changed to.

    A jaxpr that several equations share is shared afterwards, too: JAX lowers it once.
    """
    made: dict[int, Any] = {}

    def of_value(value: Any) -> Any:
        if isinstance(value, _JAXPRS):
            if id(value) not in made:
                made[id(value)] = of_jaxpr(value)
            return made[id(value)]
        if isinstance(value, (tuple, list)) and any(isinstance(one, _JAXPRS) for one in value):
            made_of = getattr(type(value), "_make", type(value))  # JAX has named tuples of jaxprs
            return made_of(map(of_value, value))
        return value

    def of_jaxpr(jaxpr: Any) -> Any:
        inner = _open(jaxpr)
        new = [of_eqn(eqn) for eqn in inner.eqns]
        if all(a is b for a, b in zip(new, inner.eqns, strict=True)):
            return jaxpr
        opened = inner.replace(eqns=new)
        return opened if inner is jaxpr else jaxpr.replace(jaxpr=opened)

    def of_eqn(eqn: Any) -> Any:
        params = {name: of_value(value) for name, value in eqn.params.items()}
        if any(params[name] is not value for name, value in eqn.params.items()):
            eqn = eqn.replace(params=params)
        return change(eqn)

    return [of_eqn(eqn) for eqn in eqns]


def callbacks(eqn: Any, drop: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """Yield the Python callables that an equation, or one within it, calls back at run time.

    Equations that are to be dropped are passed over.
    """
    if drop is not None and drop(eqn):
        return
    called = jax_tracing.callback_of(eqn)
    if called is not None:
        yield called
    for inner in _inner(eqn):
        for within in _open(inner).eqns:
            yield from callbacks(within, drop)


def prune(
    eqns: Sequence[Any],
    outvars: Sequence[Any],
    drop: Callable[[Any], bool],
    unused: Sequence[Any] = (),
) -> list[Any]:
    """Return the equations that remain when some are dropped.

    What only the dropped equations, or the unused results, had need of goes with them. What was
    dead before stays until the program is lowered.

    Parameters
    ----------
    eqns : sequence of equations
        In their order.
    outvars : sequence of Var or Literal
        What is read of them in the end.
    drop : callable
        Whether an equation is to be dropped.
    unused : sequence of Var
        Those of ``outvars`` that nobody will read.
    """
    kept = [eqn for eqn in eqns if not drop(eqn)]
    if len(kept) == len(eqns) and not unused:
        return kept
    before = _needed(eqns, outvars)
    gone = {id(var) for var in unused}
    after = _needed(kept, [var for var in outvars if id(var) not in gone])
    return [eqn for eqn in kept if id(eqn) in after or id(eqn) not in before]


def _needed(eqns: Sequence[Any], outvars: Sequence[Any]) -> set[int]:
    wanted = {id(var) for var in outvars}
    needed: set[int] = set()
    for eqn in reversed(eqns):
        if eqn.effects or any(id(var) in wanted for var in eqn.outvars):
            needed.add(id(eqn))
            wanted.update(id(var) for var in eqn.invars)
    return needed


def evaluate(
    eqns: Sequence[Any],
    given: Iterable[tuple[Any, Any]],
    lifted: Mapping[int, Any],
    drop: Callable[[Any], bool] | None = None,
) -> Callable[[Any], Any]:
    """Evaluate equations, inside a trace or not.

    Parameters
    ----------
    eqns : sequence of equations
        In their order.
    given : iterable of (Var, value)
        The values of the variables that they read and do not make.
    lifted : mapping
        Values for constants of inner jaxprs, by the constant's ``id``. An inner jaxpr that holds
        one of them is evaluated in place, where JAX's own rules allow no new argument.
    drop : callable, optional
        Whether an equation within one of these is to be left out.

    Returns
    -------
    callable
        The value of a Var or Literal; None where its equation was left out.
    """
    values: dict[Any, Any] = dict(given)

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values.get(atom)

    for _, alike in itertools.groupby(eqns, jax_tracing.equation_settings):
        group = list(alike)
        with jax_tracing.equation_context(group[0]):
            for eqn in group:
                operands = [value(atom) for atom in eqn.invars]
                outs = _apply(eqn, operands, lifted, drop)
                values.update(zip(eqn.outvars, outs, strict=True))
    return value


def _apply(
    eqn: Any, operands: list[Any], lifted: Mapping[int, Any], drop: Callable[[Any], bool] | None
) -> Sequence[Any]:
    if _changes(eqn, lifted, drop):
        rebuilt = _rebuild(eqn, operands, lifted, drop)
        if rebuilt is not None:
            return rebuilt
    return jax_tracing.bind_equation(eqn, operands)


def _changes(eqn: Any, lifted: Mapping[int, Any], drop: Callable[[Any], bool] | None) -> bool:
    return any(
        any(id(constant) in lifted for constant in getattr(inner, "consts", ()))
        or any(
            (drop is not None and drop(within)) or _changes(within, lifted, drop)
            for within in _open(inner).eqns
        )
        for inner in _inner(eqn)
    )


def _rebuild(
    eqn: Any, operands: list[Any], lifted: Mapping[int, Any], drop: Callable[[Any], bool] | None
) -> Sequence[Any] | None:
    """Make an equation anew whose inner jaxprs are changed; None where we can't."""

    def function(closed: Any) -> Callable[..., list[Any]]:
        consts = [lifted.get(id(c), c) for c in getattr(closed, "consts", ())]
        jaxpr = _open(closed)
        eqns = jaxpr.eqns if drop is None else prune(jaxpr.eqns, jaxpr.outvars, drop)

        def run(*args: Any) -> list[Any]:
            given = zip(jaxpr.constvars + jaxpr.invars, [*consts, *args], strict=True)
            return list(map(evaluate(eqns, given, lifted, drop), jaxpr.outvars))

        return run

    params = eqn.params
    match eqn.primitive.name:
        case "scan":
            constants, carried = jax_tracing.scan_operands(params)
            fixed, rest = operands[:constants], operands[constants:]
            init, xs = rest[:carried], rest[carried:]
            body = function(params["jaxpr"])

            def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
                outs = body(*fixed, *carry, *x)
                return outs[:carried], outs[carried:]

            carry, ys = jax.lax.scan(
                step,
                init,
                xs,
                length=params["length"],
                reverse=params["reverse"],
                unroll=params["unroll"],
            )
            return [*carry, *ys]
        case "while":
            split = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
            of_cond, of_body, init = (
                operands[: split[0]],
                operands[split[0] : split[1]],
                operands[split[1] :],
            )
            cond, body = function(params["cond_jaxpr"]), function(params["body_jaxpr"])
            return list(
                jax.lax.while_loop(
                    lambda carry: cond(*of_cond, *carry)[0],
                    lambda carry: body(*of_body, *carry),
                    init,
                )
            )
        case "cond":
            index, *rest = operands
            branches = [function(branch) for branch in params["branches"]]
            return list(jax.lax.switch(index, branches, *rest))
    inner = _inner(eqn)
    if len(inner) == 1 and len(_open(inner[0]).invars) == len(operands):
        return function(inner[0])(*operands)
    return None


def fingerprint(
    eqns: Sequence[Any],
    atoms: Sequence[Any],
    extra: Sequence[object],
    drop: Callable[[Any], bool] | None = None,
    lifted: Mapping[int, int] | None = None,
) -> str:
    """Return a digest of a computation: equal for equal equations, shapes, dtypes and literals.

    The names and the settings under which the equations were made are a part of it: they tell whose
    an op is, and how JAX lowers it.

    Parameters
    ----------
    eqns : sequence of equations
        The computation.
    atoms : sequence of Var or Literal
        Its arguments and results, in order.
    extra : sequence
        What else tells it from others; each by its ``repr``.
    drop : callable, optional
        Whether an equation within one of these is left out, as by :func:`evaluate`.
    lifted : mapping, optional
        The constants of inner jaxprs that become arguments: a number for each by its ``id``.
    """
    digest = xxhash.xxh3_128()
    _Feeder(digest.update, drop, lifted or {}).jaxpr({}, eqns, atoms)
    for one in extra:
        digest.update(repr(one).encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=4096)
def _printed(aval: Any) -> bytes:
    """Print a shape and a dtype; the same few go with most variables of a jaxpr."""
    return str(aval).encode()


@dataclass
class _Feeder:
    """Feeds jaxprs to a digest."""

    feed: Callable[[bytes], None]
    drop: Callable[[Any], bool] | None
    lifted: Mapping[int, int]
    _settings: dict[int, tuple[Any, bytes]] = field(default_factory=dict)

    def jaxpr(self, numbers: dict[Any, int], eqns: Sequence[Any], atoms: Sequence[Any]) -> None:
        """Feed equations, given the numbers of variables, which are continued."""

        def atom(one: Any) -> bytes:
            if isinstance(one, core.Literal):
                return b"=" + np.asarray(one.val).tobytes() + _printed(one.aval)
            return b"%%%d:" % numbers.setdefault(one, len(numbers)) + _printed(one.aval)

        feed = self.feed
        feed(b"(" + b",".join(map(atom, atoms)) + b")")
        for eqn in eqns:
            feed(eqn.primitive.name.encode())
            feed(b",".join(map(atom, eqn.invars)) + b"->" + b",".join(map(atom, eqn.outvars)))
            for setting in jax_tracing.equation_settings(eqn):
                feed(self._setting(setting))
            for name in sorted(eqn.params):
                feed(name.encode())
                self._param(eqn.params[name])

    def _setting(self, setting: Any) -> bytes:
        """Print a name stack or a context; many equations share one."""
        known = self._settings.get(id(setting))
        if known is None:
            # Held, so that no other object gets the same id meanwhile.
            known = self._settings[id(setting)] = setting, _text(setting)
        return known[1]

    def _inner(self, value: Any) -> None:
        for constant in getattr(value, "consts", ()):
            self.feed(str((constant.shape, constant.dtype)).encode())
            number = self.lifted.get(id(constant))
            if number is not None:
                self.feed(b"#%d" % number)
            elif not jax_tracing.is_extended(constant.dtype):
                self.feed(np.asarray(constant).tobytes())
        jaxpr = _open(value)
        eqns = jaxpr.eqns if self.drop is None else prune(jaxpr.eqns, jaxpr.outvars, self.drop)
        self.jaxpr({}, eqns, [*jaxpr.constvars, *jaxpr.invars, *jaxpr.outvars])

    def _param(self, value: Any) -> None:
        feed = self.feed
        if value is None or isinstance(value, (str, int, float)):
            feed(repr(value).encode())
        elif isinstance(value, _JAXPRS):
            self._inner(value)
        elif isinstance(value, (tuple, list)):
            feed(f"[{len(value)}".encode())
            for one in value:
                self._param(one)
        elif isinstance(value, dict):
            for key, one in value.items():
                feed(repr(key).encode())
                self._param(one)
        elif isinstance(value, (np.ndarray, jax.Array)):
            feed(str((value.shape, value.dtype)).encode() + np.asarray(value).tobytes())
        else:
            feed(_text(value))


def _text(value: Any) -> bytes:
    """Print an object without its address, which differs from one trace to the next."""
    return _ADDRESS.sub("", repr(value)).encode()
