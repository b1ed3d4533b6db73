"""The dialects: each text is proved, and a text that is not right does not pass."""

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
OPAQUE = {"einet", "einet-coba", "einet-projections"}  # the event-driven synapses


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
    """Parse MLIR text in a context of its own."""
    return bindings.parse_mlir(text, bindings.mlir_context())


# --- What is proved of every network ----------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_texts_are_proved_and_of_their_own_dialect(name: str) -> None:
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
    assert bool(fidelity.custom_calls) == (name in OPAQUE)


def _signature(module: Any) -> list[str]:
    line = next(line for line in bindings.mlir_text(module).splitlines() if "@main(" in line)
    # XLA of JAX 0.4 leaves each argument's layout as an attribute.
    return [type_ for type_ in re.findall(r"tensor<[^>]*>", line) if "index" not in type_]


class Calling(DynamicalSystem):
    """Calls back into the host, on a device which JAX may name with a Shardy mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.zeros(1))

    def update(self, *_: Any) -> Any:
        jax.debug.callback(lambda _: None, self.x.value)
        self.x.value = self.x + 1.0
        return self.x.value


def test_shardy_stands_only_at_a_callback(out: Path) -> None:
    runner = bp.DSRunner(Calling(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(1.0)
    (program,) = cap.programs
    assert program.fidelity.host_callbacks
    for line in program.text("stablehlo").splitlines():
        assert "sdy" not in line or "sdy.mesh @maximal_mesh" in line or "callback" in line


@pytest.mark.parametrize("name", ["lif", "noise", "stp"])
def test_portable_bytecode_computes_the_same(name: str) -> None:
    program = captured(name).program
    recorded = program.data("results")
    for key, value in replay(program, "vhlo").items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, recorded[key], rtol=1e-5, err_msg=key)
        else:
            np.testing.assert_array_equal(value, recorded[key], err_msg=key)


# --- What is said where a text does not tell all ----------------------------------------------


def test_chlo_is_said_of_stablehlo_and_gone_from_mhlo() -> None:
    program = captured("noise").program
    assert "chlo.erf_inv" in program.text("stablehlo")
    assert program.fidelity.chlo == {"stablehlo": ("chlo.erf_inv x1",)}
    for dialect in ("mhlo", "hlo"):
        assert not re.search(r"\bchlo\.", program.text(dialect))


class Special(DynamicalSystem):
    """Uses functions that StableHLO has only in CHLO, as they are or decomposed."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bp.math.Variable(jnp.linspace(0.1, 0.9, 6))

    def update(self) -> Any:
        x = bp.math.as_jax(self.x)
        y = jax.scipy.special.erf(x) + jax.lax.erf_inv(x) + jnp.sinh(x) + jnp.tan(x)
        y += jax.lax.lgamma(x + 1.0) + jax.lax.digamma(x + 1.0) + jnp.arcsin(x) + jnp.arccosh(1 + x)
        self.x.value = 0.1 + 0.8 * jax.nn.sigmoid(y)
        return self.x.value


class Greatest(DynamicalSystem):
    """Uses an operation of CHLO that has one of its own in MHLO."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bp.math.Variable(jnp.linspace(0.1, 0.9, 6))

    def update(self) -> Any:
        x = bp.math.as_jax(self.x)
        values, places = jax.lax.top_k(x, 2)
        self.x.value = 0.9 * x[::-1] + 0.1 * values.sum()
        return places


@pytest.mark.parametrize("model", [Special, Greatest])
def test_functions_of_chlo_survive_in_every_dialect(model: type[Any], out: Path) -> None:
    runner = bp.DSRunner(model(), progress_bar=False)
    with probe.capture(out, dialect=DIALECTS, data="full", strict=True) as cap:
        runner.run(0.5)
    (program,) = cap.programs
    assert program.fidelity.proved, program.fidelity
    assert program.fidelity.chlo["stablehlo"]
    left = {name for name in operations(parsed(program.text("mhlo"))) if name.startswith("chlo.")}
    said = {one.partition(" x")[0] for one in program.fidelity.chlo.get("mhlo", ())}
    assert left == said
    recorded = program.data("results")
    for dialect in DIALECTS:
        for key, value in replay(program, dialect).items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, recorded[key], rtol=1e-5)
            else:
                np.testing.assert_array_equal(value, recorded[key])


# --- A check can fail -------------------------------------------------------------------------

# A constant of the model, changed in its last digits; nothing else about the text changes.
CHANGED = {
    "stablehlo": (r"dense<-6\.000000e\+01>", "dense<-6.000001e+01>"),
    "mhlo": (r"dense<-6\.000000e\+01>", "dense<-6.000001e+01>"),
    "hlo": (r"constant\(-60\)", "constant(-60.00001)"),
}


def changed(dialect: str) -> tuple[str, str]:
    """Return a text of the zoo, and the same with one constant changed."""
    text = captured("subclassed-runner").program.text(dialect)
    other, count = re.subn(*CHANGED[dialect], text)
    assert count
    return text, other


@pytest.mark.parametrize("dialect", DIALECTS)
def test_changed_constant_changes_what_a_replay_gives(dialect: str) -> None:
    text, other = changed(dialect)
    assert _canonical(text, dialect) == _canonical(text, dialect)
    difference = identity.first_difference(_canonical(text, dialect), _canonical(other, dialect))
    assert difference.startswith("line ")
    assert "60" in difference


def _canonical(text: str, dialect: str) -> str:
    """Print a text as the probe compares it with what it came from."""
    if dialect == "hlo":
        return bindings.hlo_canonical_text(bindings.parse_hlo(text))
    operations = identity.operation_counts(parsed(text))
    module = stablehlo_of(text, dialect)
    return "\n".join(
        [operations, identity.signature(module), identity.ComparableModule(module).hlo]
    )


def test_way_back_from_a_changed_mhlo_is_not_the_stablehlo() -> None:
    text, other = changed("mhlo")
    origin = _canonical(captured("subclassed-runner").program.text("stablehlo"), "stablehlo")
    assert identity.first_difference(origin, _canonical(text, "mhlo")) == ""
    assert identity.first_difference(origin, _canonical(other, "mhlo"))


# On HLO in which a name is missing, XLA's parser of JAX 0.4.13 ends the process.
FORGIVING = DIALECTS if eras.JAX_HAS_COMPILER else tuple(set(DIALECTS) - {"hlo"})


@pytest.mark.parametrize("dialect", sorted(FORGIVING))
def test_no_line_of_main_can_be_dropped_unnoticed(dialect: str) -> None:
    lines = captured("shared-args").program.text(dialect).splitlines(keepends=True)
    whole = _canonical("".join(lines), dialect)
    kept = {number for number, line in enumerate(lines) if re.match(r"\s*(ROOT )?%\S+ = ", line)}
    assert len(kept) > 10
    for number in kept:
        without = "".join(lines[:number] + lines[number + 1 :])
        try:
            assert identity.first_difference(whole, _canonical(without, dialect))
        except (MLIRError, RuntimeError):
            continue  # it does not even parse


def test_text_that_is_not_as_it_is_printed_is_noticed() -> None:
    text = captured("lif").program.text("stablehlo")
    assert identity.reparse(text, bindings.mlir_context()).parsed
    spaced = text.replace("stablehlo.add ", "stablehlo.add  ", 1)
    check = identity.reparse(spaced, bindings.mlir_context())
    assert not check.parsed
    assert check.detail.startswith("line ")


def test_altered_text_on_disk_is_not_given_out(out: Path) -> None:
    runner = bp.DSRunner(Special(), progress_bar=False)
    with probe.capture(out, strict=True) as cap:
        runner.run(0.1)
    (program,) = cap.programs
    path = program.paths["stablehlo"]
    path.write_text(path.read_text().replace("8.0", "9.0", 1))
    with pytest.raises(probe.DamagedCapture):
        program.text()
