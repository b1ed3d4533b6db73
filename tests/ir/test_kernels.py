"""XLA calls brainevent's kernels directly and gives the same bits; otherwise Python calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
import pytest

from brainpy_probe.compat import bindings
from brainpy_probe.format.arrays import Array
from brainpy_probe.ir import mlir
from brainpy_probe.ir.executables import kernels
from brainpy_probe.ir.executables.execution import Executable
from tests.replaying import captured

if find_spec("brainevent") is None:
    pytest.skip("BrainPy before 2.7 has no brainevent", allow_module_level=True)

import brainevent
import numba
from brainevent._op import numba_ffi

RNG = np.random.default_rng(5)


def _floats(*shape: int) -> Array:
    return RNG.random(shape).astype(np.float32)


def _shape(*shape: int, dtype: str = "float32") -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype))


@numba.njit
def _sum_and_compare(x: Array, weights: Array, total: Array, is_larger: Array) -> None:
    for row in range(x.shape[0]):
        total[row] = 0.0
        for column in range(x.shape[1]):
            total[row] += x[row, column] * weights[column]
            is_larger[row, column] = x[row, column] > weights[column]


@numba.njit
def _scale(x: Array, factor: Array, out: Array) -> None:
    for position in range(x.size):
        out[position] = x[position] * factor[()]


@numba.njit
def _add_positions(counts: Array, out: Array) -> None:
    for position in range(counts.size):
        out[position] = counts[position] + position


@numba.njit(parallel=True)
def _parallel(x: Array, out: Array) -> None:
    for position in numba.prange(x.size):
        out[position] = x[position] + 1.0


@numba.njit
def _copy(x: Array, out: Array) -> None:
    for position in range(x.size):
        out[position] = x[position]


@numba.njit
def _raise(x: Array, out: Array) -> None:
    if x[0] > 0.5:
        raise ValueError("the first element is too large")
    out[0] = x[0]


CALLS: dict[str, tuple[Any, Any, list[Array]]] = {
    "two results": (
        _sum_and_compare,
        [_shape(7), _shape(7, 5, dtype="bool")],
        [_floats(7, 5), _floats(5)],
    ),
    "a scalar": (_scale, _shape(9), [_floats(9), np.array(3.5, np.float32)]),
    "integers": (_add_positions, _shape(6, dtype="int32"), [np.arange(6, dtype=np.int32)]),
    "empty arrays": (_scale, _shape(0), [_floats(0), np.array(2.0, np.float32)]),
}


def _lowered(kernel: Any, outs: Any, arrays: list[Array]) -> tuple[bytes, list[str]]:
    """Return a program that calls a kernel twice, and the targets of its custom calls."""
    kernel_call: Callable[..., Any] = brainevent.numba_kernel(kernel, outs)

    def program(*operands: Any) -> Any:
        return kernel_call(*operands), jax.tree_util.tree_map(
            lambda leaf: leaf, kernel_call(*operands)
        )

    text = jax.jit(program).lower(*arrays).as_text()
    module = bindings.parse_mlir(text, bindings.mlir_context())
    return text.encode(), list(mlir.custom_calls(mlir.operations(module)))


def _run(content: bytes, arrays: list[Array]) -> list[Array]:
    executable = Executable(content)
    return executable.take(executable.run(executable.put(arrays)))


@pytest.fixture
def python_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each kernel that Python calls, once it is lowered."""
    names: list[str] = []
    native = numba_ffi.NumbaCpuFfiHandler._ffi_callback

    def counted(self: Any, frame: Any) -> Any:
        if not frame.contents.extension_start:
            names.append(self.name)
        return native(self, frame)

    monkeypatch.setattr(numba_ffi.NumbaCpuFfiHandler, "_ffi_callback", counted)
    return names


@pytest.mark.parametrize("case", CALLS)
def test_a_direct_call_of_a_kernel_gives_the_same_bits(case: str) -> None:
    kernel, outs, arrays = CALLS[case]
    content, targets = _lowered(kernel, outs, arrays)
    rewritten, direct = kernels.call_directly(content, targets)
    assert list(direct) == sorted(set(targets)) != []
    assert not any(
        f'"{target}"'.encode() in rewritten or f"@{target}(".encode() in rewritten
        for target in targets
    )
    for actual, expected in zip(_run(rewritten, arrays), _run(content, arrays), strict=True):
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        assert actual.tobytes() == expected.tobytes()


def test_a_direct_call_does_not_call_python(python_calls: list[str]) -> None:
    @numba.njit
    def tripled(x: Array, out: Array) -> None:
        for position in range(x.size):
            out[position] = x[position] * 3.0

    arrays = [_floats(8)]
    content, targets = _lowered(tripled, _shape(8), arrays)
    rewritten, direct = kernels.call_directly(content, targets)
    assert direct
    out = _run(rewritten, arrays)
    assert python_calls == []
    np.testing.assert_array_equal(out[0], arrays[0] * np.float32(3.0))
    _run(content, arrays)
    assert python_calls != []


def test_a_kernel_can_take_arrays_of_several_ranks() -> None:
    flat, square = (
        [_floats(6), np.array(2.0, np.float32)],
        [_floats(6), np.array([2.0], np.float32)],
    )

    @numba.njit
    def filled(x: Array, factor: Array, out: Array) -> None:
        for position in range(x.size):
            out[position] = x[position] + factor.size

    first, targets = _lowered(filled, _shape(6), flat)
    second, again = _lowered(filled, _shape(6), square)
    assert targets == again
    for content, arrays in ((first, flat), (second, square)):
        rewritten, direct = kernels.call_directly(content, targets)
        assert direct
        assert _run(rewritten, arrays)[0].tobytes() == _run(content, arrays)[0].tobytes()


def test_python_calls_a_kernel_with_threads() -> None:
    arrays = [_floats(50)]
    content, targets = _lowered(_parallel, _shape(50), arrays)
    assert kernels.call_directly(content, targets) == (content, ())
    np.testing.assert_array_equal(_run(content, arrays)[0], arrays[0] + np.float32(1.0))


def test_python_calls_a_kernel_with_a_dtype_that_numba_lacks() -> None:
    arrays = [_floats(4).astype(np.float16)]
    content, targets = _lowered(_copy, _shape(4, dtype="float16"), arrays)
    assert kernels.call_directly(content, targets) == (content, ())


def test_an_exception_of_a_kernel_is_an_error_of_xla(capfd: pytest.CaptureFixture[str]) -> None:
    small, large = [np.array([0.25], np.float32)], [np.array([0.75], np.float32)]
    content, targets = _lowered(_raise, _shape(1), small)
    rewritten, direct = kernels.call_directly(content, targets)
    assert direct
    assert _run(rewritten, small)[0] == np.float32(0.25)
    with pytest.raises(Exception, match="the first element is too large"):
        _run(rewritten, large)
    capfd.readouterr()  # brainevent prints the traceback


def test_a_program_without_kernels_is_not_parsed() -> None:
    assert kernels.call_directly(b"no program", ["lapack_sgetrf_ffi", "Sharding"]) == (
        b"no program",
        (),
    )


def test_python_calls_the_kernels_of_an_unknown_brainevent(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, outs, arrays = CALLS["integers"]
    content, targets = _lowered(kernel, outs, arrays)
    elsewhere = replace(kernels._HANDLERS, places=("brainevent._op.numba_ffi:_MISSING",))
    monkeypatch.setattr(kernels, "_HANDLERS", elsewhere)
    assert kernels.call_directly(content, targets) == (content, ())


def test_a_replay_lists_its_direct_calls() -> None:
    program = captured("einet").program
    done = program.replay()
    assert done.equal is True
    assert set(done.direct) == set(program.fidelity.custom_calls)
    assert captured("lif").program.replay().direct == ()
