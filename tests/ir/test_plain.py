"""Rewrites for other compilers: XLA gives the same bits before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax

from brainpy_probe.compat import bindings
from brainpy_probe.ir import portable
from tests.xla import Executable

RNG = np.random.default_rng(3)


def _module(function: Callable[..., Any], *arrays: np.ndarray[Any, Any]) -> Any:
    lowered = jax.jit(function).lower(*arrays)
    return bindings.parse_mlir(str(lowered.compiler_ir("stablehlo")), bindings.mlir_context())


def _running_sum(
    array: np.ndarray[Any, Any], axis: int, *, reverse: bool = False, add: Any = lax.add
) -> np.ndarray[Any, Any]:
    windows, paddings = [1] * array.ndim, [(0, 0)] * array.ndim
    windows[axis] = array.shape[axis]
    reach = array.shape[axis] - 1
    paddings[axis] = (0, reach) if reverse else (reach, 0)
    start = array.dtype.type(0)
    ones = [1] * array.ndim
    return lax.reduce_window(array, start, add, windows, ones, paddings)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("shape", "axis"), [((1,), 0), ((2,), 0), ((1000,), 0), ((7, 5), 0), ((3, 64, 2), 1)]
)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8"])
def test_a_running_sum_of_integers_is_rewritten(
    shape: tuple[int, ...], axis: int, dtype: str
) -> None:
    array = RNG.integers(0, 100, shape).astype(dtype)
    module = _module(lambda x: _running_sum(x, axis), array)
    known = "window_dimensions = array<i64" in bindings.mlir_text(module)
    expected = np.cumsum(array, axis, dtype=dtype)
    np.testing.assert_array_equal(Executable(module)([array])[0], expected)
    portable.replace_running_sums(module)
    module.operation.verify()
    # A window of one element is not rewritten, nor the text of older jaxlibs, which differs.
    rewritten = known and shape[axis] > 1
    assert ("reduce_window" in bindings.mlir_text(module)) is not rewritten
    np.testing.assert_array_equal(Executable(module)([array])[0], expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: _running_sum(x.astype("float32"), 0),
        lambda x: _running_sum(x, 0, reverse=True),
        lambda x: _running_sum(x, 0, add=lax.max),
        lambda x: lax.reduce_window(x, np.int32(1), lax.add, (8,), (1,), ((7, 0),)),
        lambda x: lax.reduce_window(x, np.int32(0), lax.add, (4,), (1,), ((3, 0),)),
        lambda x: lax.reduce_window(x, np.int32(0), lax.add, (8,), (2,), ((7, 0),)),
    ],
    ids=["floats", "reverse", "maximum", "start of one", "short windows", "stride of two"],
)
def test_other_windowed_reductions_stay_unchanged(function: Callable[..., Any]) -> None:
    module = _module(function, RNG.integers(0, 100, 8).astype("int32"))
    before = bindings.mlir_text(module)
    assert "reduce_window" in before
    portable.replace_running_sums(module)
    assert bindings.mlir_text(module) == before


def test_a_select_replaces_the_conversion_of_a_boolean() -> None:
    array = RNG.integers(0, 2, 50).astype(bool)
    module = _module(lambda x: (x.astype("float32"), x.astype("int32"), x.astype("uint8")), array)
    expected = Executable(module)([array])
    portable.replace_boolean_converts(module)
    module.operation.verify()
    assert "convert" not in bindings.mlir_text(module)
    for rewritten, original in zip(Executable(module)([array]), expected, strict=True):
        np.testing.assert_array_equal(rewritten, original)
