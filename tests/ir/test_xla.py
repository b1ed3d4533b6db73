"""`tests.xla` gives the values of JAX: differences that tests find are those of the probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainpy_probe.compat import bindings
from tests.xla import Array, Executable, inline, stablehlo_of


def _arrays() -> list[Array]:
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(40, 40)).astype(np.float32)
    return [rng.normal(size=40).astype(np.float32), weights, weights[0] > 0]


def _loop(x: Any, weights: Any, mask: Any) -> Any:
    """Loop over dense products, whose bits depend on how XLA compiles them."""

    def step(x: Any, _: None) -> tuple[Any, Any]:
        x = jnp.tanh(jnp.where(mask, x @ weights, 0.3 * x) + 0.1 * x)
        return x, x.sum()

    return jax.lax.scan(step, x, None, length=20)


def _lowered(function: Callable[..., Any], *arrays: Array) -> Any:
    lowered = jax.jit(function).lower(*arrays)
    return bindings.parse_mlir(str(lowered.compiler_ir("stablehlo")), bindings.mlir_context())


def _assert_same(results: list[Array], expected: Any) -> None:
    expected = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(expected)]
    for actual, leaf in zip(results, expected, strict=True):
        assert (actual.dtype, actual.shape) == (leaf.dtype, leaf.shape)
        assert actual.tobytes() == leaf.tobytes()


def test_a_module_gives_the_values_of_jax() -> None:
    arrays = _arrays()
    _assert_same(Executable(_lowered(_loop, *arrays))(arrays), jax.jit(_loop)(*arrays))


def test_an_inlined_argument_is_compiled_like_a_constant() -> None:
    x, weights, mask = _arrays()
    module = _lowered(_loop, x, weights, mask)
    inline(module, {1: weights, 2: mask})
    results = Executable(module)([x, np.zeros_like(weights), np.zeros_like(mask)])
    _assert_same(results, jax.jit(lambda x: _loop(x, weights, mask))(x))


@pytest.mark.parametrize("dialect", ["stablehlo", "mhlo", "hlo"])
def test_a_text_of_any_dialect_converts_to_stablehlo(dialect: str) -> None:
    arrays = _arrays()
    module = _lowered(_loop, *arrays)
    if dialect == "hlo":
        text = bindings.hlo_text(bindings.hlo_of(module))
    else:
        if dialect == "mhlo":
            bindings.run_passes(module, "stablehlo-legalize-to-hlo")
        text = bindings.mlir_text(module)
    assert ("stablehlo." in text) == (dialect == "stablehlo")
    module = stablehlo_of(text, dialect)
    assert "stablehlo.tanh" in bindings.mlir_text(module)
    assert "mhlo.tanh" not in bindings.mlir_text(module)
    _assert_same(Executable(module)(arrays), jax.jit(_loop)(*arrays))
