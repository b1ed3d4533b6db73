"""The dialects: each text passes its checks, and a wrong text fails them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxlib.mlir.ir import MLIRError

import brainpy_probe as probe
from brainpy_probe.compat import bindings
from brainpy_probe.ir import identity
from tests import eras
from tests.eras import DynamicalSystem
from tests.networks import NETWORKS, UNSTABLE_NAMES
from tests.replaying import DIALECTS, captured, replay
from tests.xla import stablehlo_of

NAMES = [case.name for case in NETWORKS + UNSTABLE_NAMES]
WITH_KERNELS = {"einet", "einet-coba", "einet-projections"}  # the event-driven synapses


def operations(module: Any) -> Iterator[str]:
    """Yield the name of each operation in a module."""
    pending = [module.operation]
    while pending:
        operation = pending.pop()
        yield operation.name
        for region in operation.regions:
            for block in region.blocks:
                pending.extend(inner.operation for inner in block.operations)


def families(module: Any) -> set[str]:
    """Return the dialects whose operations are in a module."""
    return {name.partition(".")[0] for name in operations(module)}


def parsed(text: str) -> Any:
    """Parse MLIR text in a new context."""
    return bindings.parse_mlir(text, bindings.mlir_context())


# --- Checks of every network ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_proved_and_use_only_their_dialect(name: str) -> None:
    program = captured(name).program
    fidelity = program.fidelity
    assert set(fidelity.checks) == {*DIALECTS, "vhlo"}
    for check in fidelity.checks.values():
        assert check.parsed
        assert check.detail == ""
    assert fidelity.checks["mhlo"].returns is True
    assert fidelity.proved

    stablehlo = parsed(program.text("stablehlo"))
    used = families(stablehlo)
    assert used - {"chlo"} == {"builtin", "func", "stablehlo"}
    assert families(parsed(program.text("mhlo"))) == {"builtin", "func", "mhlo"}
    assert program.text("hlo").startswith("HloModule ")
    chlo = {k: v for k, v in fidelity.chlo.items() if v}
    assert ("chlo" in used) == (set(chlo) == {"stablehlo"})
    assert "chlo" in used or not chlo

    vhlo = program.paths["vhlo"].read_bytes()
    for dialect in DIALECTS:
        assert not re.search(r"\bsdy\b", program.text(dialect))
    assert b"sdy" not in vhlo

    portable = bindings.read_portable_bytecode(vhlo, bindings.mlir_context())
    assert families(portable) == {"builtin", "func", "stablehlo"}
    expected = _signature(stablehlo)
    assert _signature(portable) == expected
    for dialect in ("mhlo", "hlo"):
        assert _signature(stablehlo_of(program.text(dialect), dialect)) == expected

    targets = set(re.findall(r"custom_call @([\w.]+)", program.text("stablehlo")))
    assert {*fidelity.custom_calls, *fidelity.host_callbacks} == targets
    assert bool(fidelity.custom_calls) == (name in WITH_KERNELS)


def _signature(module: Any) -> list[str]:
    line = next(line for line in bindings.mlir_text(module).splitlines() if "@main(" in line)
    # XLA of JAX 0.4 keeps the layout of each argument as an attribute.
    return [
        tensor_type
        for tensor_type in re.findall(r"tensor<[^>]*>", line)
        if "index" not in tensor_type
    ]


class CallingBack(DynamicalSystem):
    """A model with a host callback, whose device JAX may name with a Shardy mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(1))

    def update(self, *_: Any) -> Any:
        jax.debug.callback(lambda _: None, self.x.value)
        self.x.value = self.x + 1.0
        return self.x.value


def test_shardy_occurs_only_at_a_callback(out: Path) -> None:
    runner = bp.DSRunner(CallingBack(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(1.0)
    (program,) = cap.programs
    assert program.fidelity.host_callbacks
    for line in program.text("stablehlo").splitlines():
        assert "sdy" not in line or "sdy.mesh @maximal_mesh" in line or "callback" in line


@pytest.mark.parametrize("name", ["lif", "noise", "stp"])
def test_the_portable_bytecode_gives_the_same_values(name: str) -> None:
    program = captured(name).program
    recorded = program.data("results")
    for key, value in replay(program, "vhlo").items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, recorded[key], rtol=1e-5, err_msg=key)
        else:
            np.testing.assert_array_equal(value, recorded[key], err_msg=key)


# --- CHLO -------------------------------------------------------------------------------------


def test_chlo_is_reported_for_stablehlo_and_not_in_mhlo() -> None:
    program = captured("noise").program
    assert "chlo.erf_inv" in program.text("stablehlo")
    assert program.fidelity.chlo == {"stablehlo": ("chlo.erf_inv x1",)}
    for dialect in ("mhlo", "hlo"):
        assert not re.search(r"\bchlo\.", program.text(dialect))


class Special(DynamicalSystem):
    """A model with functions that are CHLO ops in StableHLO, or decomposed."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bp.math.Variable(jnp.linspace(0.1, 0.9, 6))

    def update(self) -> Any:
        x = bp.math.as_jax(self.x)
        y = jax.scipy.special.erf(x) + jax.lax.erf_inv(x) + jnp.sinh(x) + jnp.tan(x)
        y += jax.lax.lgamma(x + 1.0) + jax.lax.digamma(x + 1.0) + jnp.arcsin(x) + jnp.arccosh(1 + x)
        self.x.value = 0.1 + 0.8 * jax.nn.sigmoid(y)
        return self.x.value


class TopK(DynamicalSystem):
    """A model with a CHLO op that MHLO has too."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bp.math.Variable(jnp.linspace(0.1, 0.9, 6))

    def update(self) -> Any:
        x = bp.math.as_jax(self.x)
        values, indices = jax.lax.top_k(x, 2)
        self.x.value = 0.9 * x[::-1] + 0.1 * values.sum()
        return indices


@pytest.mark.parametrize("model", [Special, TopK])
def test_chlo_functions_give_the_same_in_every_dialect(model: type[Any], out: Path) -> None:
    runner = bp.DSRunner(model(), progress_bar=False)
    with probe.capture(out, dialect=DIALECTS, data="full", strict=True) as cap:
        runner.run(0.5)
    (program,) = cap.programs
    assert program.fidelity.proved, program.fidelity
    assert program.fidelity.chlo["stablehlo"]
    remaining = {
        name for name in operations(parsed(program.text("mhlo"))) if name.startswith("chlo.")
    }
    reported = {op.partition(" x")[0] for op in program.fidelity.chlo.get("mhlo", ())}
    assert remaining == reported
    recorded = program.data("results")
    for dialect in DIALECTS:
        for key, value in replay(program, dialect).items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, recorded[key], rtol=1e-5)
            else:
                np.testing.assert_array_equal(value, recorded[key])


# --- Checks that fail -------------------------------------------------------------------------

# A constant of the model, changed in its last digits.
CHANGED = {
    "stablehlo": (r"dense<-6\.000000e\+01>", "dense<-6.000001e+01>"),
    "mhlo": (r"dense<-6\.000000e\+01>", "dense<-6.000001e+01>"),
    "hlo": (r"constant\(-60\)", "constant(-60.00001)"),
}


def changed(dialect: str) -> tuple[str, str]:
    """Return a text, and the same text with one changed constant."""
    text = captured("subclassed-runner").program.text(dialect)
    other, count = re.subn(*CHANGED[dialect], text)
    assert count
    return text, other


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_changed_constant_is_a_difference(dialect: str) -> None:
    text, other = changed(dialect)
    assert _canonical(text, dialect) == _canonical(text, dialect)
    difference = identity.first_difference(_canonical(text, dialect), _canonical(other, dialect))
    assert difference.startswith("line ")
    assert "60" in difference


def _canonical(text: str, dialect: str) -> str:
    """Print a text as the probe prints it to compare it with its source."""
    if dialect == "hlo":
        return bindings.hlo_canonical_text(bindings.parse_hlo(text))
    operations = identity.operation_counts(parsed(text))
    module = stablehlo_of(text, dialect)
    return "\n".join(
        [operations, identity.signature(module), identity.ComparableModule(module).hlo]
    )


def test_a_changed_mhlo_does_not_convert_to_the_stablehlo() -> None:
    text, other = changed("mhlo")
    origin = _canonical(captured("subclassed-runner").program.text("stablehlo"), "stablehlo")
    assert identity.first_difference(origin, _canonical(text, "mhlo")) == ""
    assert identity.first_difference(origin, _canonical(other, "mhlo"))


# XLA's parser of JAX 0.4.13 ends the process on HLO with an undefined name.
WITHOUT_CRASHES = DIALECTS if eras.JAX_HAS_COMPILER else tuple(set(DIALECTS) - {"hlo"})


@pytest.mark.parametrize("dialect", sorted(WITHOUT_CRASHES))
def test_a_missing_line_of_main_is_a_difference(dialect: str) -> None:
    lines = captured("shared-args").program.text(dialect).splitlines(keepends=True)
    whole = _canonical("".join(lines), dialect)
    ops = {number for number, line in enumerate(lines) if re.match(r"\s*(ROOT )?%\S+ = ", line)}
    assert len(ops) > 10
    for number in ops:
        without = "".join(lines[:number] + lines[number + 1 :])
        try:
            assert identity.first_difference(whole, _canonical(without, dialect))
        except (MLIRError, RuntimeError):
            continue  # the text does not parse


def test_a_text_that_differs_from_the_printed_one_fails() -> None:
    text = captured("lif").program.text("stablehlo")
    assert identity.reparse(text, bindings.mlir_context()).parsed
    spaced = text.replace("stablehlo.add ", "stablehlo.add  ", 1)
    check = identity.reparse(spaced, bindings.mlir_context())
    assert not check.parsed
    assert check.detail.startswith("line ")


def test_an_altered_text_on_disk_is_refused(out: Path) -> None:
    runner = bp.DSRunner(Special(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.1)
    (program,) = cap.programs
    path = program.paths["stablehlo"]
    path.write_text(path.read_text().replace("8.0", "9.0", 1))
    with pytest.raises(probe.DamagedCapture):
        program.text()
