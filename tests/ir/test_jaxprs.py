"""Jaxprs: evaluation with hidden arrays as arguments, pruning, and fingerprints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainpy_probe.compat import jax_tracing
from brainpy_probe.recording.program import fingerprint
from brainpy_probe.recording.program.equations import evaluation, jaxprs
from tests.processes import run_script

W = np.sin(np.arange(9, dtype=np.float32)).reshape(3, 3)
X = jnp.array([3.0, 1.0, -2.0])


@jax.jit
def _weighted(v: Any) -> Any:
    return v @ W


@jax.custom_vjp
def _with_custom_gradient(v: Any) -> Any:
    return _weighted(v)


_with_custom_gradient.defvjp(lambda v: (_weighted(v), None), lambda _, g: (g,))


def _scan(x: Any, **options: Any) -> Any:
    return jax.lax.scan(
        lambda c, t: (jnp.tanh(_weighted(c)) + t, c + x), x, jnp.arange(4.0), **options
    )


def _while(x: Any) -> Any:
    return jax.lax.while_loop(
        lambda c: (_weighted(c[0]).sum() + c[1]) < 9,
        lambda c: (_weighted(c[0]) * 0.5, c[1] + 1),
        (x, 0),
    )


WITH_HIDDEN_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "jit": _weighted,
    "jit in jit": jax.jit(lambda x: _weighted(x) + _weighted(2.0 * x)),
    "scan": _scan,
    "scan backwards": lambda x: _scan(x, reverse=True, unroll=2),
    "scan without inputs": lambda x: jax.lax.scan(
        lambda c, _: (c + 1, _weighted(x)), 0, None, length=3
    ),
    "fori_loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, c: _weighted(c) + i, x),
    "map": lambda x: jax.lax.map(lambda y: _weighted(y * jnp.ones(3)), x),
    "gradient of a scan": lambda x: jax.grad(lambda y: _scan(y)[0].sum())(x),
    "while": _while,
    "cond": lambda x: jax.lax.cond(x[0] > 2, _weighted, lambda y: y * 2, x),
    "switch": lambda x: jax.lax.switch(
        x[1].astype(int), [lambda y: y * 2, _weighted, lambda y: _weighted(y) + 1], x
    ),
    "cond in scan": lambda x: jax.lax.scan(
        lambda c, t: (jax.lax.cond(t > 1, _weighted, lambda y: y * 0.5, c), c), x, jnp.arange(4.0)
    ),
    "custom_jvp": lambda x: jax.nn.relu(_weighted(x)),
    "custom_vjp": _with_custom_gradient,
    "checkpoint": lambda x: jax.checkpoint(lambda y: _weighted(jnp.sin(y)))(x),
}


def _bytes(results: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    arrays = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(results)]
    return [(str(array.dtype), array.shape, array.tobytes()) for array in arrays]


def _evaluate(
    closed: Any,
    consts: Any,
    args: list[Any],
    lifted: dict[int, Any],
    drop: Callable[[Any], bool] | None = None,
) -> list[Any]:
    jaxpr = closed.jaxpr
    env = zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True)
    return list(map(evaluation.evaluate(jaxpr.eqns, env, lifted, drop), jaxpr.outvars))


@pytest.mark.parametrize("name", WITH_HIDDEN_ARRAYS)
def test_lifted_arrays_change_no_bit_of_the_results(name: str) -> None:
    function = WITH_HIDDEN_ARRAYS[name]
    closed = jax.make_jaxpr(function)(X)
    hidden = jaxprs.survey(closed.jaxpr.eqns)[0]
    assert any(np.array_equal(array, W) for array in hidden)

    def lifted(arrays: list[Any], consts: list[Any], x: Any) -> Any:
        values = {id(variable): array for variable, array in zip(hidden, arrays, strict=True)}
        return _evaluate(closed, consts, [x], values)

    consts = list(closed.consts)
    closed_again = jax.make_jaxpr(lifted)(hidden, consts, X)
    assert [*closed_again.consts, *jaxprs.survey(closed_again.jaxpr.eqns)[0]] == []
    expected = _bytes(jax.jit(function)(X))
    run = jax.jit(lifted)
    assert _bytes(run(hidden, consts, X)) == expected
    empty = [[jnp.zeros_like(array) for array in group] for group in (hidden, consts)]
    assert _bytes(run(*empty, X)) != expected, "the results do not depend on the arguments"
    for actual, expected_leaf in zip(
        jax.tree_util.tree_leaves(lifted(hidden, consts, X)),
        jax.tree_util.tree_leaves(function(X)),
        strict=True,
    ):
        assert np.allclose(actual, expected_leaf, rtol=1e-5), "outside of a trace"


def test_a_jaxpr_without_lifted_arrays_stays_the_same() -> None:
    closed = jax.make_jaxpr(_while)(X)
    again = jax.make_jaxpr(lambda x: _evaluate(closed, closed.consts, [x], {}))(X)
    assert str(again.jaxpr) == str(closed.jaxpr)


def test_each_hidden_array_is_found_once() -> None:
    closed = jax.make_jaxpr(lambda x: _weighted(_scan(_weighted(x))[0]))(X)
    found = jaxprs.survey(closed.jaxpr.eqns)[0]
    assert len({id(array) for array in found}) == len(found)
    assert sum(np.array_equal(array, W) for array in found) == 1


# --- Pruning ----------------------------------------------------------------------------------


def _names(eqns: list[Any]) -> list[str]:
    return [eqn.primitive.name for eqn in eqns]


def test_inputs_of_a_dropped_equation_are_dropped() -> None:
    def function(x: Any) -> Any:
        jnp.sin(x)
        jax.debug.callback(lambda _: None, jnp.cos(x))
        return jnp.exp(x) + 1.0

    jaxpr = jax.make_jaxpr(function)(X).jaxpr
    assert _names(jaxpr.eqns) == ["sin", "cos", "debug_callback", "exp", "add"]
    kept = jaxprs.prune(jaxpr.eqns, jaxpr.outvars, lambda eqn: any(jaxprs.callbacks(eqn)))
    assert _names(kept) == ["sin", "exp", "add"]
    assert _names(jaxprs.prune(jaxpr.eqns, jaxpr.outvars, lambda _: False)) == _names(jaxpr.eqns)


def test_equations_for_an_unused_result_are_dropped() -> None:
    def function(x: Any) -> Any:
        jnp.sin(x)
        shared = jnp.exp(x)
        return jnp.cos(shared), shared + 1.0

    jaxpr = jax.make_jaxpr(function)(X).jaxpr
    kept = jaxprs.prune(jaxpr.eqns, jaxpr.outvars, lambda _: False, jaxpr.outvars[:1])
    assert _names(kept) == ["sin", "exp", "add"]


def test_results_of_dropped_equations_are_none() -> None:
    closed = jax.make_jaxpr(lambda x: (jnp.cos(x), x + 1.0))(X)
    jaxpr = closed.jaxpr
    eqns = jaxprs.prune(jaxpr.eqns, jaxpr.outvars, lambda _: False, jaxpr.outvars[:1])
    value = evaluation.evaluate(eqns, [(jaxpr.invars[0], X)], {})
    assert value(jaxpr.outvars[0]) is None
    assert value(jaxpr.outvars[1]).tolist() == [4.0, 2.0, -1.0]
    assert value(jaxpr.invars[0]) is X


@pytest.mark.parametrize("depth", ["scan", "while", "cond", "jit"])
def test_an_equation_is_dropped_at_any_depth(depth: str) -> None:
    def step(x: Any) -> Any:
        jax.debug.callback(lambda _: None, jnp.cos(x))
        return jnp.exp(x) - 1.0

    function = {
        "scan": lambda x: jax.lax.scan(lambda c, _: (step(c), c), x, None, length=2),
        "while": lambda x: jax.lax.while_loop(lambda y: y[0] < 0, step, x),
        "cond": lambda x: jax.lax.cond(x[0] > 0, step, lambda y: y, x),
        "jit": jax.jit(step),
    }[depth]
    closed = jax.make_jaxpr(function)(X)

    def calls(eqn: Any) -> bool:
        return jax_tracing.callback_of(eqn) is not None

    again = jax.make_jaxpr(lambda x: _evaluate(closed, closed.consts, [x], {}, calls))(X)
    assert any(any(jaxprs.callbacks(eqn)) for eqn in closed.jaxpr.eqns)
    assert not any(any(jaxprs.callbacks(eqn)) for eqn in again.jaxpr.eqns)
    assert "cos" not in str(again.jaxpr), "the input of the callback remains"
    assert _bytes(jax.jit(function)(X)) == _bytes(
        jax.jit(lambda x: _evaluate(closed, closed.consts, [x], {}, calls))(X)
    )


def test_equations_can_be_mapped_in_a_linear_solve() -> None:
    closed = jax.make_jaxpr(jnp.linalg.solve)(jnp.eye(2), jnp.ones(2))
    again = jaxprs.map_equations(closed.eqns, lambda eqn: eqn.replace(params=dict(eqn.params)))
    env = zip(closed.jaxpr.invars, [jnp.eye(2), jnp.ones(2)], strict=True)
    value_of = evaluation.evaluate(again, env, {})
    assert value_of(closed.jaxpr.outvars[0]).tolist() == [1.0, 1.0]


def test_nested_callbacks_are_found() -> None:
    def called(_: Any) -> None: ...

    def function(x: Any) -> Any:
        return jax.lax.cond(x[0] > 0, jax.jit(lambda y: jax.debug.callback(called, y)), print, x)

    (outer,) = (
        eqn for eqn in jax.make_jaxpr(function)(X).jaxpr.eqns if eqn.primitive.name == "cond"
    )
    assert len(list(jaxprs.callbacks(outer))) == 1
    assert not any(list(jaxprs.callbacks(eqn)) for eqn in jax.make_jaxpr(_scan)(X).jaxpr.eqns)


# --- Fingerprints -----------------------------------------------------------------------------


def _fingerprint(function: Callable[..., Any], *args: Any, extra: tuple[object, ...] = ()) -> str:
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return fingerprint.fingerprint(
        jaxpr.eqns, [*jaxpr.constvars, *jaxpr.invars, *jaxpr.outvars], extra
    )


TRACED_TWICE = """
import json
import jax
from tests.ir.test_jaxprs import WITH_HIDDEN_ARRAYS, X, _fingerprint

def fingerprints():
    return {name: _fingerprint(function, X) for name, function in WITH_HIDDEN_ARRAYS.items()}

once = fingerprints()
jax.clear_caches()
print(json.dumps([once, fingerprints()]))
"""


def test_functions_traced_again_have_the_same_fingerprints() -> None:
    # JAX 0.4.13 may end a process that clears many caches: clear_all_weakref_lru_caches crashed.
    once, again = run_script(TRACED_TWICE)
    assert again == once
    assert len(set(once.values())) == len(once) == len(WITH_HIDDEN_ARRAYS)


def _closing_over(array: np.ndarray[Any, Any]) -> Callable[[Any], Any]:
    return jax.jit(lambda x: x @ array)


DIFFERENT: dict[str, tuple[Callable[[], str], Callable[[], str]]] = {
    "operation": (lambda: _fingerprint(jnp.sin, X), lambda: _fingerprint(jnp.cos, X)),
    "literal": (
        lambda: _fingerprint(lambda x: x + 1.0, X),
        lambda: _fingerprint(lambda x: x + 1.0000001, X),
    ),
    "shape": (lambda: _fingerprint(jnp.sin, X), lambda: _fingerprint(jnp.sin, X[:2])),
    "dtype": (
        lambda: _fingerprint(jnp.sin, X),
        lambda: _fingerprint(jnp.sin, X.astype(jnp.float16)),
    ),
    "order of results": (
        lambda: _fingerprint(lambda x: (jnp.sin(x), x + 1), X),
        lambda: _fingerprint(lambda x: (jnp.sin(x), x + 1)[::-1], X),
    ),
    "operand": (
        lambda: _fingerprint(lambda x, y: x - y, X, X),
        lambda: _fingerprint(lambda x, y: y - x, X, X),
    ),
    "parameter": (
        lambda: _fingerprint(lambda x: jnp.cumsum(x), X),
        lambda: _fingerprint(lambda x: jax.lax.cumsum(x, reverse=True), X),
    ),
    "hidden array": (
        lambda: _fingerprint(_closing_over(W), X),
        lambda: _fingerprint(_closing_over(W + 1e-7), X),
    ),
    "large hidden array": (
        lambda: _fingerprint(_closing_over(np.zeros((3, 5000), np.float32)), X),
        lambda: _fingerprint(_closing_over(np.eye(3, 5000, 999, dtype=np.float32)), X),
    ),
    "body of a loop": (
        lambda: _fingerprint(lambda x: jax.lax.fori_loop(0, 3, lambda _, c: c * 2.0, x), X),
        lambda: _fingerprint(lambda x: jax.lax.fori_loop(0, 3, lambda _, c: c * 3.0, x), X),
    ),
    "length of a loop": (
        lambda: _fingerprint(lambda x: jax.lax.fori_loop(0, 3, lambda _, c: c * 2.0, x), X),
        lambda: _fingerprint(lambda x: jax.lax.fori_loop(0, 4, lambda _, c: c * 2.0, x), X),
    ),
    "branch": (
        lambda: _fingerprint(lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), X),
        lambda: _fingerprint(lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.tan, x), X),
    ),
    "extra data": (
        lambda: _fingerprint(jnp.sin, X, extra=("a", 1)),
        lambda: _fingerprint(jnp.sin, X, extra=("a", 2)),
    ),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_computations_have_other_fingerprints(kind: str) -> None:
    first, second = DIFFERENT[kind]
    assert first() == first()
    assert first() != second()


def test_equal_computations_have_one_fingerprint() -> None:
    def with_name(x: Any) -> Any:
        doubled = x * 2.0
        return doubled + 1.0

    assert _fingerprint(with_name, X) == _fingerprint(lambda y: y * 2.0 + 1.0, 5.0 * X)
