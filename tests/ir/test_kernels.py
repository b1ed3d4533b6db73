"""XLA calls brainevent's kernels itself, to the same bits; where it can't, Python does."""

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
    pytest.skip("before BrainPy 2.7 there is no brainevent", allow_module_level=True)

import brainevent
import numba
from brainevent._op import numba_ffi

DRAW = np.random.default_rng(5)


def _floats(*shape: int) -> Array:
    return DRAW.random(shape).astype(np.float32)


def _form(*shape: int, dtype: str = "float32") -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype))


@numba.njit
def _two(x: Array, weights: Array, total: Array, larger: Array) -> None:
    for row in range(x.shape[0]):
        total[row] = 0.0
        for column in range(x.shape[1]):
            total[row] += x[row, column] * weights[column]
            larger[row, column] = x[row, column] > weights[column]


@numba.njit
def _scaled(x: Array, factor: Array, made: Array) -> None:
    for position in range(x.size):
        made[position] = x[position] * factor[()]


@numba.njit
def _numbered(counts: Array, made: Array) -> None:
    for position in range(counts.size):
        made[position] = counts[position] + position


@numba.njit(parallel=True)
def _threaded(x: Array, made: Array) -> None:
    for position in numba.prange(x.size):
        made[position] = x[position] + 1.0


@numba.njit
def _doubled_halves(x: Array, made: Array) -> None:
    for position in range(x.size):
        made[position] = x[position]


@numba.njit
def _raising(x: Array, made: Array) -> None:
    if x[0] > 0.5:
        raise ValueError("the first is too large")
    made[0] = x[0]


CALLS: dict[str, tuple[Any, Any, list[Array]]] = {
    "two results": (
        _two,
        [_form(7), _form(7, 5, dtype="bool")],
        [_floats(7, 5), _floats(5)],
    ),
    "a scalar": (_scaled, _form(9), [_floats(9), np.array(3.5, np.float32)]),
    "integers": (_numbered, _form(6, dtype="int32"), [np.arange(6, dtype=np.int32)]),
    "nothing": (_scaled, _form(0), [_floats(0), np.array(2.0, np.float32)]),
}


def _lowered(kernel: Any, outs: Any, arrays: list[Array]) -> tuple[bytes, list[str]]:
    """Return a program that calls a kernel twice, and its custom calls."""
    called: Callable[..., Any] = brainevent.numba_kernel(kernel, outs)

    def program(*given: Any) -> Any:
        return called(*given), jax.tree_util.tree_map(lambda one: one, called(*given))

    text = jax.jit(program).lower(*arrays).as_text()
    module = bindings.parse_mlir(text, bindings.mlir_context())
    return text.encode(), list(mlir.custom_calls(mlir.operations(module)))


def _run(content: bytes, arrays: list[Array]) -> list[Array]:
    executable = Executable(content)
    return executable.take(executable.run(executable.put(arrays)))


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count how often Python's way to a kernel is taken, for kernels that are lowered from now."""
    names: list[str] = []
    native = numba_ffi.NumbaCpuFfiHandler._ffi_callback

    def counted(self: Any, frame: Any) -> Any:
        if not frame.contents.extension_start:
            names.append(self.name)
        return native(self, frame)

    monkeypatch.setattr(numba_ffi.NumbaCpuFfiHandler, "_ffi_callback", counted)
    return names


@pytest.mark.parametrize("case", CALLS)
def test_a_kernel_is_called_directly_to_the_same_bits(case: str) -> None:
    kernel, outs, arrays = CALLS[case]
    content, targets = _lowered(kernel, outs, arrays)
    own, direct = kernels.call_directly(content, targets)
    assert list(direct) == sorted(set(targets)) != []
    assert not any(
        f'"{target}"'.encode() in own or f"@{target}(".encode() in own for target in targets
    )
    for one, other in zip(_run(own, arrays), _run(content, arrays), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def test_python_is_not_entered(entered: list[str]) -> None:
    @numba.njit
    def tripled(x: Array, made: Array) -> None:
        for position in range(x.size):
            made[position] = x[position] * 3.0

    arrays = [_floats(8)]
    content, targets = _lowered(tripled, _form(8), arrays)
    own, direct = kernels.call_directly(content, targets)
    assert direct
    made = _run(own, arrays)
    assert entered == []
    np.testing.assert_array_equal(made[0], arrays[0] * np.float32(3.0))
    _run(content, arrays)
    assert entered != []


def test_one_kernel_may_take_arrays_of_several_ranks() -> None:
    flat, square = (
        [_floats(6), np.array(2.0, np.float32)],
        [_floats(6), np.array([2.0], np.float32)],
    )

    @numba.njit
    def filled(x: Array, factor: Array, made: Array) -> None:
        for position in range(x.size):
            made[position] = x[position] + factor.size

    first, targets = _lowered(filled, _form(6), flat)
    second, again = _lowered(filled, _form(6), square)
    assert targets == again
    for content, arrays in ((first, flat), (second, square)):
        own, direct = kernels.call_directly(content, targets)
        assert direct
        assert _run(own, arrays)[0].tobytes() == _run(content, arrays)[0].tobytes()


def test_a_kernel_with_threads_is_left_to_python() -> None:
    arrays = [_floats(50)]
    content, targets = _lowered(_threaded, _form(50), arrays)
    assert kernels.call_directly(content, targets) == (content, ())
    np.testing.assert_array_equal(_run(content, arrays)[0], arrays[0] + np.float32(1.0))


def test_an_element_type_that_numba_lacks_is_left_to_python() -> None:
    arrays = [_floats(4).astype(np.float16)]
    content, targets = _lowered(_doubled_halves, _form(4, dtype="float16"), arrays)
    assert kernels.call_directly(content, targets) == (content, ())


def test_what_a_kernel_raises_is_xlas_error(capfd: pytest.CaptureFixture[str]) -> None:
    small, large = [np.array([0.25], np.float32)], [np.array([0.75], np.float32)]
    content, targets = _lowered(_raising, _form(1), small)
    own, direct = kernels.call_directly(content, targets)
    assert direct
    assert _run(own, small)[0] == np.float32(0.25)
    with pytest.raises(Exception, match="the first is too large"):
        _run(own, large)
    capfd.readouterr()  # brainevent prints the traceback


def test_a_program_without_such_kernels_is_not_read() -> None:
    assert kernels.call_directly(b"no program", ["lapack_sgetrf_ffi", "Sharding"]) == (
        b"no program",
        (),
    )


def test_a_brainevent_with_other_names_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, outs, arrays = CALLS["integers"]
    content, targets = _lowered(kernel, outs, arrays)
    elsewhere = replace(kernels._HANDLERS, places=("brainevent._op.numba_ffi:_GONE",))
    monkeypatch.setattr(kernels, "_HANDLERS", elsewhere)
    assert kernels.call_directly(content, targets) == (content, ())


def test_a_replay_says_what_it_called_directly() -> None:
    program = captured("einet").program
    done = program.replay()
    assert done.equal is True
    assert set(done.direct) == set(program.fidelity.custom_calls)
    assert captured("lif").program.replay().direct == ()
