"""The tests' own way to XLA gives what JAX gives, so that what they find is the probe's."""

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
    numbers = np.random.default_rng(3)
    weights = numbers.normal(size=(40, 40)).astype(np.float32)
    return [numbers.normal(size=40).astype(np.float32), weights, weights[0] > 0]


def _loop(x: Any, weights: Any, mask: Any) -> Any:
    """Loop over dense products, whose bits depend on how XLA compiles a product."""

    def step(x: Any, _: None) -> tuple[Any, Any]:
        x = jnp.tanh(jnp.where(mask, x @ weights, 0.3 * x) + 0.1 * x)
        return x, x.sum()

    return jax.lax.scan(step, x, None, length=20)


def _lowered(function: Callable[..., Any], *arrays: Array) -> Any:
    lowered = jax.jit(function).lower(*arrays)
    return bindings.parse_mlir(str(lowered.compiler_ir("stablehlo")), bindings.mlir_context())


def _same(made: list[Array], expected: Any) -> None:
    expected = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(expected)]
    for one, other in zip(made, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def test_module_gives_what_jax_gives() -> None:
    arrays = _arrays()
    _same(Executable(_lowered(_loop, *arrays))(arrays), jax.jit(_loop)(*arrays))


def test_inlined_argument_is_compiled_as_jaxs_constant() -> None:
    x, weights, mask = _arrays()
    module = _lowered(_loop, x, weights, mask)
    inline(module, {1: weights, 2: mask})
    made = Executable(module)([x, np.zeros_like(weights), np.zeros_like(mask)])
    _same(made, jax.jit(lambda x: _loop(x, weights, mask))(x))


@pytest.mark.parametrize("dialect", ["stablehlo", "mhlo", "hlo"])
def test_text_of_any_dialect_leads_back_to_stablehlo(dialect: str) -> None:
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
    _same(Executable(module)(arrays), jax.jit(_loop)(*arrays))
