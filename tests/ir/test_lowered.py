"""Programs that JAX lowers without BrainPy: rendering and checks on every version of JAX."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from brainpy_probe.compat import bindings, jax_tracing
from brainpy_probe.ir import dialects, identity, locations, mlir
from brainpy_probe.ir.dialects import Lowered
from brainpy_probe.recording.program import tensors
from tests.eras import SINCE_2_7

X = jnp.linspace(0.1, 0.9, 100)
W = np.sin(np.arange(10_000, dtype=np.float32)).reshape(100, 100)


def _loop(v: Any, g: Any) -> Any:
    def step(carry: Any, t: Any) -> Any:
        v, g = carry
        v = 0.9 * v + jnp.tanh(v @ W) + t
        spike = v > 1.0
        return (jnp.where(spike, 0.0, v), 0.5 * g + spike), (spike, v.sum())

    return jax.lax.scan(step, (v, g), jnp.arange(20.0))


def _branches(x: Any, y: Any) -> Any:
    def step(carry: Any) -> Any:
        x, count = carry
        return jnp.dot(y, x) * x, count + 1

    sorted_or_not = jax.lax.cond(x[0] > y[1], jnp.sort, lambda x: x * 2.0, x)
    return sorted_or_not, jax.lax.while_loop(lambda carry: carry[1] < 3, step, (x, 0))


def _scatter(x: Any, y: Any) -> Any:
    sums = jax.ops.segment_sum(x, jnp.arange(100) % 7, num_segments=7)
    return x.at[3].add(1.0), sums, jnp.cumsum(y), jnp.argsort(y), x.astype(jnp.float16)


def _special(x: Any, y: Any) -> Any:
    z = jax.scipy.special.erf(x) + jax.lax.erf_inv(x) + jnp.sinh(x) + jnp.tan(x)
    z += jax.lax.lgamma(x + 1.0) + jax.lax.digamma(x + 1.0) + jnp.arcsin(x) + jnp.arccosh(1.0 + x)
    return z, jax.lax.top_k(y, 3)


def _random(x: Any, y: Any) -> Any:
    key = jax.lax.bitcast_convert_type(x[:2], jnp.uint32)
    first_key, second_key = jax.random.split(key)
    signal, kernel = y[None, None, :10, None], y[None, None, :3, None]
    convolved = jax.lax.conv_general_dilated(signal, kernel, (1, 1), "SAME")
    return jax.random.normal(first_key, (5,)), second_key, convolved


def _ordered(x: Any, y: Any) -> Any:
    """Call back in order, with a token, and use a CHLO function."""

    def step(carry: Any, t: Any) -> Any:
        io_callback(lambda _: None, None, t, ordered=True)
        return jax.scipy.special.erf(carry) + t, carry.sum()

    return jax.lax.scan(step, x, y)


def _factors(x: Any, y: Any) -> Any:
    """Call LAPACK, whose code is in no text."""
    return jnp.linalg.cholesky(jnp.outer(x, y) + 1000.0 * jnp.eye(100)), jnp.linalg.qr(
        jnp.outer(x, y)
    )


WITHOUT_CHLO: dict[str, Callable[..., Any]] = {
    "loop": _loop,
    "branches": _branches,
    "scattered": _scatter,
    "factors": _factors,
}
PORTABLE = {**WITHOUT_CHLO, "special": _special, "random": _random}
FUNCTIONS = {**PORTABLE, "ordered": _ordered}


def _lower(function: Callable[..., Any]) -> Any:
    return jax.jit(function, keep_unused=True).lower(X, X)


def _names(module: Any) -> tuple[list[str], list[str]]:
    tokens = len(mlir.argument_types(module)) - 2
    count = len(mlir.result_types(module)) - tokens
    return ["arg[0]", "arg[1]"], [f"result[{n}]" for n in range(count)]


def _lowered(name: str) -> Lowered:
    module = _lower(FUNCTIONS[name]).compiler_ir("stablehlo")
    return Lowered(module, "program", *_names(module))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_text_passes_its_checks(name: str) -> None:
    lowered = _lowered(name)
    for dialect in ("stablehlo", "mhlo", "hlo"):
        check = lowered.render(dialect).check
        assert check.parsed
        assert check.detail == ""
        assert check.returns is (True if dialect == "mhlo" else None)


@pytest.mark.parametrize("name", PORTABLE)
def test_the_portable_bytecode_has_no_locations(name: str) -> None:
    portable = _lowered(name).bytecode()
    assert portable is not None
    assert portable.check.parsed
    assert portable.check.detail == ""
    assert __file__.encode() not in portable.content
    parsed = bindings.read_portable_bytecode(portable.content, bindings.mlir_context())
    assert not mlir.chlo_operations(mlir.operations(parsed))
    assert len(mlir.argument_types(parsed)) == 2


def test_a_program_with_a_callback_has_no_portable_bytecode() -> None:
    lowered = _lowered("ordered")
    assert lowered.bytecode() is None
    assert lowered.notes == [
        "The program has no portable bytecode: it calls back into this Python process."
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_chlo_is_counted_and_not_in_mhlo(name: str) -> None:
    lowered = _lowered(name)
    assert bool(lowered.render("stablehlo").chlo) == (name not in WITHOUT_CHLO)
    mhlo = bindings.parse_mlir(lowered.render("mhlo").content.decode(), bindings.mlir_context())
    families = {op.name.partition(".")[0] for op in mlir.operations(mhlo)}
    assert families - {"sdy"} == {
        "builtin",
        "func",
        "mhlo",
    }  # the device of a callback is a Shardy attribute


@pytest.mark.parametrize("name", WITHOUT_CHLO)
def test_the_mhlo_is_equal_to_the_mhlo_of_jax(name: str) -> None:
    lowering = _lower(FUNCTIONS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            jax_text = lowering.as_text("mhlo")
        except ValueError as error:
            # This JAX prints no MHLO; the conversion back to StableHLO checks the text instead.
            assert "unknown dialect: mhlo" in str(error)  # noqa: PT017
            return
    jax_module = bindings.parse_mlir(jax_text, bindings.mlir_context())
    dialects._rename(jax_module, "program", *_names(jax_module))
    ours = bindings.parse_mlir(_lowered(name).render("mhlo").content, bindings.mlir_context())
    # The probe writes no placement for a single device; JAX 0.4.13 does.
    placed = re.compile(r', mhlo.sharding = "\{replicated\}"')
    assert bindings.mlir_text(ours) == placed.sub("", bindings.mlir_text(jax_module))


def test_no_constant_is_elided_in_any_text() -> None:
    lowered = _lowered("loop")
    words = W.tobytes()[:64].hex().upper()
    for dialect in ("stablehlo", "mhlo"):
        text = lowered.render(dialect).content.decode()
        assert "__elided__" not in text
        assert words in text
    hlo = lowered.render("hlo").content.decode()
    assert "{...}" not in hlo
    assert hlo.count(",") > W.size
    assert mlir.large_constants(lowered.operations) == [("tensor<100x100xf32>", W.nbytes)]


def test_arguments_and_results_have_their_names() -> None:
    lowered = _lowered("loop")
    for dialect in ("stablehlo", "mhlo"):
        text = lowered.render(dialect).content.decode()
        assert text.startswith("module @program")
        assert re.findall(r'jax\.arg_info = "([^"]*)"', text) == ["arg[0]", "arg[1]"]
        assert re.findall(r'jax\.result_info = "([^"]*)"', text) == [
            f"result[{n}]" for n in range(4)
        ]


LOCATED = r"""
module @program {
  func.func private @my_loc(%arg0: tensor<f32> loc("argument")) -> tensor<f32> {
    %0 = stablehlo.negate %arg0 : tensor<f32> loc(callsite("here"("a":1:2) at fused["(", unknown]))
    return %0 : tensor<f32> loc("/a/file.py":3:4)
  } loc(unknown)
  func.func private @loc(%arg0: tensor<f32>) -> tensor<f32> {
    return %arg0 : tensor<f32> loc("quoted \"x\" loc(")
  }
  func.func public @main(%arg0: tensor<f32> {jax.arg_info = "at loc(\"x\")"}) -> tensor<f32> {
    %0 = func.call @loc(%arg0) : (tensor<f32>) -> tensor<f32> loc("first")
    %1 = func.call @my_loc(%0) : (tensor<f32>) -> tensor<f32> loc("second"("third"))
    return %1 : tensor<f32>
  }
}
"""


def test_renaming_locations_changes_nothing_else() -> None:
    module = bindings.parse_mlir(LOCATED, bindings.mlir_context())
    before = bindings.mlir_text(module)
    queried: list[str] = []

    def rename(name: str) -> str:
        queried.append(name)
        return name.upper() if name.isalpha() else ""

    renamed = locations.rename_locations(module, rename, bindings.mlir_context())
    assert bindings.mlir_text(renamed.module) == before == bindings.mlir_text(module)
    assert renamed.names == {"", "ARGUMENT", "HERE", "FIRST", "SECOND"}
    remaining = set(
        re.findall(r" loc\((.*?)\)[,)\n]", bindings.mlir_text(renamed.module, locations=True))
    )
    assert {'"HERE"', '"FIRST"', '"SECOND"', "unknown"} <= remaining
    assert "file.py" not in renamed.text
    assert renamed.bare.strip() == before.strip()
    assert {"here", "first", "second"} <= set(queried)


def test_the_wrong_number_of_names_is_refused() -> None:
    module = _lower(_loop).compiler_ir("stablehlo")
    arguments, results = _names(module)
    with pytest.raises(ValueError, match="2 arguments and 4 results, but 3 and 4 names were given"):
        Lowered(module, "program", [*arguments, "more"], results)


# --- Checks that fail -------------------------------------------------------------------------

WRONG = {
    "a constant": (r"dense<0\.899999976>|dense<0\.9\d*>|dense<0\.89\d*>", "dense<0.75>"),
    "an operation": (r"mhlo\.tanh", "mhlo.cosine"),
    "the operands' order": (r"(compare +GT), (%\w+), (%\w+),", r"\1, \3, \2,"),
    "a comparison": (r"compare( +)GT", r"compare\1GE"),
    "a name of main": (r'"arg\[1\]"', '"arg[0]"'),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_mhlo_fails_its_check(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = _lowered("loop")
    text = lowered.render("mhlo").content.decode()
    wrong, count = re.subn(*WRONG[fault], text, count=1)
    assert count
    printed = bindings.mlir_text
    monkeypatch.setattr(
        bindings, "mlir_text", lambda *a, **k: printed(*a, **k).replace(text, wrong)
    )
    check = lowered.render("mhlo").check
    assert check.returns is False
    assert "differs" in check.detail


def test_the_target_of_a_call_is_compared() -> None:
    lowered = _lowered("factors")
    text = lowered.render("stablehlo").content.decode()
    targets = {*re.findall(r"custom_call @(\w+)\(", text)}
    (target, *_) = sorted(target for target in targets if "potrf" in target)
    original = identity.ComparableModule(bindings.parse_mlir(text, lowered.context))
    renamed = bindings.parse_mlir(text.replace(f"@{target}(", "@another("), lowered.context)
    assert original.difference(original) == ""
    assert original.difference(identity.ComparableModule(renamed))


def test_the_configuration_of_a_call_is_compared() -> None:
    configured = []
    for configuration in ("left", "right"):
        text = (
            "module { func.func public @main(%arg0: tensor<2xf32>) -> tensor<2xf32> { "
            "%0 = stablehlo.custom_call @opaque(%arg0) "
            f'{{backend_config = "{configuration}"}} : (tensor<2xf32>) -> tensor<2xf32> '
            "return %0 : tensor<2xf32> } }"
        )
        configured.append(
            identity.ComparableModule(bindings.parse_mlir(text, bindings.mlir_context()))
        )
    assert "left" in configured[0].difference(configured[1])


ONE = "stablehlo.constant dense<1> : tensor<i32>"


def _text(body: str) -> str:
    return identity.inline_constants(f"func.func @main(%arg0: tensor<f32>) {{\n{body}\n}}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(
            "%cst = stablehlo.constant dense<1.0> : tensor<f32>\n%0 = add %arg0, %cst",
            "%0 = stablehlo.constant dense<1.0> : tensor<f32>\n%1 = add %arg0, %0",
            id="names",
        ),
        pytest.param(
            f"%0 = neg %arg0\n%c = {ONE}\n%1 = mul %0, %c",
            f"%c = {ONE}\n%0 = neg %arg0\n%1 = mul %0, %c",
            id="positions",
        ),
        pytest.param(
            "%1:2 = while(%x = %arg0) {\n%2 = neg %x\n} do {\n%2 = abs %x\n}\n%2 = add %1#0, %1#1",
            "%1:2 = while(%y = %arg0) {\n%2 = neg %y\n} do {\n%3 = abs %y\n}\n%4 = add %1#0, %1#1",
            id="reused names",
        ),
    ],
)
def test_names_and_positions_do_not_change_a_text(first: str, second: str) -> None:
    assert _text(first) == _text(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("%0 = sub %arg0, %arg1", "%0 = sub %arg1, %arg0", id="operands"),
        pytest.param(
            "%0 = neg %arg0\n%1 = abs %arg0\n%2 = sub %0, %1",
            "%0 = neg %arg0\n%1 = abs %arg0\n%2 = sub %1, %0",
            id="values",
        ),
        pytest.param(
            f"%c = {ONE}\n%0 = neg %c",
            f"%c = {ONE.replace('1', '2')}\n%0 = neg %c",
            id="constants",
        ),
        pytest.param(
            f"%c = {ONE}\n%0 = neg %c",
            f"%c = {ONE.replace('i32', 'i64')}\n%0 = neg %c",
            id="constants' types",
        ),
        pytest.param('%0 = call "%0 = %1"', '%0 = call "%1 = %1"', id="words in a string"),
        pytest.param('%0 = call {backend_config = "a", x}', "%0 = call {x}", id="configurations"),
        pytest.param("%1:2 = f\n%2 = neg %1#0", "%1:2 = f\n%2 = neg %1#1", id="results"),
    ],
)
def test_other_programs_have_other_texts(first: str, second: str) -> None:
    assert _text(first) != _text(second)


@pytest.mark.parametrize("name", ["loop", "factors"])
def test_bytecode_that_reads_back_equal_needs_no_hlo(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    translated = []
    translate = bindings.hlo_of
    monkeypatch.setattr(
        bindings, "hlo_of", lambda module: translated.append(module) or translate(module)
    )
    lowered = _lowered(name)
    bytecode = lowered.bytecode()
    assert bytecode is not None
    assert bytecode.check.parsed
    if SINCE_2_7 and name == "loop":  # before JAX 0.10, reading VHLO folds constants
        assert not translated


# --- Types of values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "lowered_type"),
    [
        (np.ones((2, 3)), ((2, 3), "float32", 24, "")),
        (np.int64(3), ((), "int32", 4, "")),
        (True, ((), "bool", 1, "")),
        (jax.random.PRNGKey(0), ((2,), "uint32", 8, "")),
        (jax.ShapeDtypeStruct((4,), np.float16), ((4,), "float16", 8, "")),
    ],
)
def test_values_have_their_lowered_type(value: Any, lowered_type: tuple[Any, ...]) -> None:
    assert tensors.lowered_type(value) == lowered_type
    if not isinstance(value, jax.ShapeDtypeStruct):
        array = tensors.to_numpy(value)
        assert (array.shape, str(array.dtype)) == lowered_type[:2]


def test_a_typed_random_key_is_stored_as_its_words() -> None:
    key = _typed_key()
    assert jax_tracing.is_key(key)
    assert jax_tracing.is_extended(key.dtype)
    assert tensors.lowered_type(key) == ((2,), "uint32", 8, "key<fry>")
    assert tensors.to_numpy(key).tolist() == [0, 7]
    for value in (X, 1.0, jax.random.PRNGKey(0), None):
        assert not jax_tracing.is_key(value)
    assert not jax_tracing.is_extended(X.dtype)


def _typed_key() -> Any:
    if hasattr(jax.dtypes, "prng_key"):
        return jax.random.key(7)
    jax.config.update("jax_enable_custom_prng", True)  # 0.4.13
    try:
        return jax.random.PRNGKey(7)
    finally:
        jax.config.update("jax_enable_custom_prng", False)


def test_an_active_trace_is_detected() -> None:
    seen: list[bool] = []

    def traced(x: Any) -> Any:
        seen.append(jax_tracing.trace_state_clean())
        return x

    jax.jit(traced)(X)
    assert [*seen, jax_tracing.trace_state_clean()] == [False, True]


def test_digests_release_a_deleted_array() -> None:
    digests = tensors.Digests()
    array = jnp.arange(5.0)
    digest = digests.of(array)
    assert digests.of(jnp.arange(5.0)) == digest
    assert len(digests._known) == 1
    del array
    assert not digests._known
