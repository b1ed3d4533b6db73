"""Replay gives the bits of the run, or the reason for other bits."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import jax.scipy.linalg as scipy_linalg
import jax.scipy.special as special
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from msgspec.structs import replace

try:
    from jax import shard_map
except ImportError:  # up to JAX 0.4.30
    from jax.experimental.shard_map import shard_map

import brainpy_probe as probe
from brainpy_probe.analysis.replaying.replay import Replay, replay
from brainpy_probe.ir.constants import with_constants
from brainpy_probe.ir.executables import execution
from brainpy_probe.verify.api import verify
from tests import eras
from tests.altering import alter, rewrite
from tests.eras import SINCE_2_4, DynamicalSystem
from tests.processes import run_script
from tests.replaying import DIALECTS, captured

pytestmark = pytest.mark.every_stack

_WEIGHTS = np.random.RandomState(0).rand(8, 8).astype(np.float32) * 0.2
_KEY = np.array([0, 3], np.uint32)


def _matrix(x: Any) -> Any:
    return jnp.tile(x, 8).reshape(8, 8) * 0.1 + _WEIGHTS + jnp.eye(8) * 2.0


def _positive(x: Any) -> Any:
    return _matrix(x) @ _matrix(x).T + jnp.eye(8)


def _linear(x: Any) -> list[Any]:
    linalg = jnp.linalg
    return [
        linalg.cholesky(_positive(x)),
        linalg.qr(_matrix(x))[1],
        linalg.svd(_matrix(x))[1],
        linalg.solve(_matrix(x), x),
        linalg.eigh(_positive(x))[0],
        linalg.slogdet(_matrix(x))[1],
        jnp.real(linalg.eigvals(_matrix(x))),
        jnp.real(linalg.solve(_matrix(x) * (1 + 0.1j), x)),
        scipy_linalg.lu(_matrix(x))[2],
        scipy_linalg.schur(_matrix(x))[0],
        scipy_linalg.expm(_matrix(x) * 0.1),
        jnp.abs(jnp.fft.fft(x)),
    ]


def _special(x: Any) -> list[Any]:
    functions = (special.erf, special.erfc, special.erfinv, special.gammaln, special.digamma)
    functions += (special.i0e, special.i1e, special.ndtr, special.expit, jnp.tan, jnp.log1p)
    return [function(x) for function in functions]


def _random(x: Any) -> list[Any]:
    """Draw with a constant key: the result is the same at each step."""
    key = jnp.asarray(_KEY)
    draw = jax.random
    return [
        draw.normal(key, (8,)) * x,
        draw.truncated_normal(key, -1.0, 1.0, (8,)) + x,
        draw.randint(key, (8,), 0, 9) * x,
    ]


KINDS = {"linear": _linear, "special": _special, "random": _random}


class Applying(DynamicalSystem):
    """A model that accumulates the results of functions of its state, with or without time."""

    def __init__(self, functions: Callable[[Any], list[Any]], *, timed: bool) -> None:
        super().__init__()
        self.functions, self.timed = functions, timed
        self.x = bm.Variable(jnp.linspace(0.1, 0.9, 8))
        self.sums = bm.Variable(jnp.zeros((len(functions(jnp.ones(8))), 8)))

    def update(self) -> Any:
        x = bm.as_jax(self.x)
        values = [jnp.resize(jnp.ravel(value), 8) for value in self.functions(x)]
        self.sums.value = bm.as_jax(self.sums) * 0.9 + jnp.stack(values) * 0.1
        self.x.value = (x * 1.01 + 0.001 * bm.as_jax(self.sums)[0]) % 1.0 + 0.05
        if self.timed:
            load: Any = bp.share.load
            self.x.value = bm.as_jax(self.x) + 0.001 * load("t")


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="brainpy-probe-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def _capture(kind: str, *, timed: bool, progress_bar: bool) -> probe.Capture:
    runner = bp.DSRunner(
        Applying(KINDS[kind], timed=timed), monitors=["sums"], progress_bar=progress_bar
    )
    with probe.capture(_folder(), dialect=DIALECTS, data="full", strict=True) as cap:
        runner.run(2.0)
    return cap


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    ("timed", "progress_bar"), [(False, False), (True, True)], ids=["", "timed-bar"]
)
def test_a_replay_gives_the_bits_of_the_run(kind: str, timed: bool, progress_bar: bool) -> None:
    (program,) = _capture(kind, timed=timed, progress_bar=progress_bar).programs
    done = program.replay()
    if progress_bar:  # up to JAX 0.4.30 XLA may compile the loop differently without it
        assert done.verdict.outcome in ("bit for bit", "agrees"), done.verdict
    else:
        assert done.verdict.outcome == "bit for bit", done.verdict
    clock = ["inputs/indices"] if SINCE_2_4 else ["inputs/indices", "inputs/times"]
    assert list(program.fidelity.unused) == (clock[: len(clock) - 1] if timed else clock)
    assert program.fidelity.removed == (("progress bar",) if progress_bar else ())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_alone_gives_the_bits(dialect: str) -> None:
    program = _capture("special", timed=False, progress_bar=False).programs[0]
    files = [file for file in program.record.files if file.kind in (dialect, "data", "results")]
    record = replace(program.record, files=tuple(files))
    assert dataclasses.replace(program, record=record).replay().equal is True


def test_kernels_of_jaxlib_run_without_jax() -> None:
    done = run_script(
        'import json, sys; sys.modules["jax"] = None; import brainpy_probe as probe\n'
        "program = probe.load(sys.argv[1]).programs[0]\n"
        "print(json.dumps([program.replay().equal, list(program.fidelity.custom_calls)]))",
        _capture("linear", timed=False, progress_bar=False).path,
        without_jax=True,
    )
    assert done[0] is True
    assert any(name.startswith("lapack_") for name in done[1])


class CallingBack(DynamicalSystem):
    """A model with an ordered callback into Python at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))

    def update(self) -> Any:
        jax.debug.callback(lambda _: None, bm.as_jax(self.x), ordered=True)
        self.x.value = self.x * 0.5


def test_an_ordered_callback_is_refused_with_the_reason(out: Path) -> None:
    with probe.capture(out, data="full", profile=True) as cap:
        bp.DSRunner(CallingBack(), monitors=["x"], progress_bar=False).run(0.3)
    (program,) = cap.programs
    message = "CallingBack calls back into the Python process of the capture: "
    assert cap.calls[0].failure is None
    assert program.record.unmeasured.startswith((message, "This jaxlib can't profile"))
    with pytest.raises(probe.CannotReplay, match=message):
        program.replay()
    verified = verify(cap.path)
    assert [check for check in verified.checks if check.outcome == "failed"] == []
    (replayed,) = [check for check in verified.checks if check.name == "replay"]
    assert replayed.outcome == "undecided"
    assert message in replayed.reason


def test_complex_constants_are_compiled_in() -> None:
    array = (np.arange(6, dtype=np.complex64) * (1 + 2j)).reshape(2, 3)
    text = (
        "module @m { func.func public @main(%a: tensor<2x3xcomplex<f32>>) "
        "-> tensor<2x3xcomplex<f32>> { return %a : tensor<2x3xcomplex<f32>> } }"
    )
    executable = execution.Executable(with_constants(text.encode(), {0: array}))
    (result,) = executable.take(executable.run(executable.put([np.zeros_like(array)])))
    assert result.tobytes() == array.tobytes()


def test_other_bits_are_a_failure_unless_a_reason_is_known() -> None:
    program = _capture("special", timed=False, progress_bar=False).programs[0]
    text = re.sub(r"dense<1\.01\d*e\+00>|dense<1\.01\d*>", "dense<1.02>", program.text())
    assert text != program.text()
    arguments, expected = program.data(), program.data("results")
    done = replay(program.record, text.encode(), arguments, expected, {})
    # An order of the loop's Variables that depends on addresses is always a reason.
    has_reason = eras.ORDERS_BY_IDS
    assert done.verdict.outcome == ("undecided" if has_reason else "failed")
    assert ("nothing known explains it" in done.verdict.reason) != has_reason
    fidelity = replace(program.fidelity, removed=("progress bar",))
    record = replace(program.record, fidelity=fidelity)
    done = replay(record, text.encode(), arguments, expected, {})
    assert done.verdict.outcome == "undecided"
    assert "because the program lacks a part of the run: progress bar" in done.verdict.reason


class Chaotic(DynamicalSystem):
    """A model in which a difference of one ulp grows to a large one."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(jnp.linspace(0.1, 0.9, 8))
        self.n = bm.Variable(jnp.zeros(8))

    def update(self) -> Any:
        x, n = bm.as_jax(self.x), bm.as_jax(self.n)
        self.n.value = n * 0.5 + x
        self.x.value = 3.875 * x * (1.0 - x) + 0.0078125 * n


@functools.cache
def _chaotic(*monitors: str) -> probe.Program:
    runner = bp.DSRunner(Chaotic(), monitors=list(monitors), progress_bar=False)
    with probe.capture(_folder(), data="full", strict=True) as cap:
        runner.run(10.0)
    return cap.programs[0]


def _with_factor(program: probe.Program, factor: str, *removed: str) -> Replay:
    """Replay a program with another factor, as if these parts of the run had been removed."""
    text = re.sub(r"dense<3\.875\d*(e\+00)?>", f"dense<{factor}>", program.text())
    assert text != program.text()
    record = replace(program.record, fidelity=replace(program.fidelity, removed=removed))
    return replay(record, text.encode(), program.data(), program.data("results"), {})


def test_rounding_that_grows_agrees_one_step_at_a_time() -> None:
    done = _with_factor(_chaotic("x", "n"), "3.87500024", "progress bar")  # one ulp off
    difference = {result.name: result.difference for result in done.compared}["state/x"]
    assert difference is not None
    assert difference.largest > 0.01
    assert done.verdict.outcome == "agrees", done.verdict
    assert re.search(r"at most [1-4] ulps? in \S+ a step, because", done.verdict.reason)


def test_another_program_has_failed_whatever_was_removed() -> None:
    done = _with_factor(_chaotic("x", "n"), "3.87", "progress bar")
    assert done.verdict.outcome == "failed", done.verdict
    assert "monitors/x" in done.verdict.reason


def test_a_state_that_nothing_recorded_leaves_it_undecided() -> None:
    done = _with_factor(_chaotic("n"), "3.87500024", "progress bar")
    assert done.verdict.outcome == "undecided", done.verdict
    assert "differences may grow in x, which no monitor recorded" in done.verdict.reason


class Sharded(DynamicalSystem):
    """A model that updates its state in a shard_map over the only device."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(jnp.linspace(0.1, 0.9, 8))
        spec = PartitionSpec("n")
        self.step = shard_map(
            jnp.sin, mesh=_placements()["mesh"].mesh, in_specs=spec, out_specs=spec
        )

    def update(self) -> Any:
        self.x.value = self.step(bm.as_jax(self.x))


def test_other_flags_of_xla_are_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = captured("lif").program
    assert not any("XLA_FLAGS" in reason for reason in program.replay().reasons)
    flags = os.environ["XLA_FLAGS"]
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_dump_to={tmp_path}")
    assert not any("XLA_FLAGS" in reason for reason in program.replay().reasons)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert f"it was compiled with XLA_FLAGS={flags!r}" in program.replay().reasons


def test_a_shard_map_is_a_reason_for_other_bits(out: Path) -> None:
    with probe.capture(out, data="full", strict=True) as cap:
        bp.DSRunner(Sharded(), monitors=["x"], progress_bar=False).run(0.3)
    done = cap.programs[0].replay()
    assert done.verdict.outcome == "bit for bit", done.verdict
    # JAX 0.10 and 0.12 lower a shard_map over one device to its body.
    has_shard_map = re.search(r"manual_computation|SPMDFullToShardShape", cap.programs[0].text())
    assert any("shard_map" in reason for reason in done.reasons) is bool(has_shard_map)


def test_a_text_of_a_newer_jaxlib_is_refused(tmp_path: Path) -> None:
    program = _chaotic("x", "n")
    path = program.paths["stablehlo"]
    folder = shutil.copytree(path.parents[2], tmp_path / "run")

    def change(manifest: dict[str, Any]) -> None:
        manifest["environment"]["versions"]["jaxlib"] = "99.0"
        files = [file for file in manifest["programs"][0]["files"] if file["kind"] != "vhlo"]
        manifest["programs"][0]["files"] = files

    alter(folder, change)
    newer = program.text().replace("stablehlo.multiply", "stablehlo.future_op")
    rewrite(folder, str(path.relative_to(path.parents[2])), newer.encode())
    with pytest.raises(probe.CannotReplay, match=r"written with jaxlib 99\.0"):
        probe.load(folder).programs[0].replay()


class ExplicitlyPlaced(DynamicalSystem):
    """A model with a matrix and a state that were put on a device explicitly."""

    def __init__(self, placement: Any) -> None:
        super().__init__()
        self.weights = jax.device_put(jnp.eye(3), placement)
        self.x = bm.Variable(jax.device_put(jnp.ones(3), jax.devices()[0]))

    def update(self) -> Any:
        self.x.value = bm.as_jax(self.x) @ self.weights * 0.5


def _placements() -> dict[str, Any]:
    device = jax.devices()[0]
    mesh = Mesh(np.array([device]), ("n",))
    return {
        "device": device,
        "sharding": SingleDeviceSharding(device),
        "mesh": NamedSharding(mesh, PartitionSpec("n")),
    }


@pytest.mark.parametrize("placement", ["device", "sharding", "mesh"])
def test_arrays_can_be_put_on_the_device_explicitly(placement: str, out: Path) -> None:
    with probe.capture(out, dialect=DIALECTS, data="full", portable=True, strict=True) as cap:
        bp.DSRunner(
            ExplicitlyPlaced(_placements()[placement]), monitors=["x"], progress_bar=False
        ).run(0.3)
    (program,) = cap.programs
    assert program.portable is not None
    for variant in (program, program.portable):
        assert variant.replay().equal is True
        assert not re.search(r"sdy\.|sharding", variant.text("stablehlo"), re.IGNORECASE)
    assert [
        check for check in verify(cap.path, limits=None).checks if check.outcome == "failed"
    ] == []


class Halving(DynamicalSystem):
    """A model that halves its state at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = bm.Variable(bm.ones(3))

    def update(self) -> Any:
        self.x.value = self.x * 0.5


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "python"])
def test_a_step_program_gives_the_results_of_the_first_step(compiled: bool, out: Path) -> None:
    options = {"memory_efficient": True} if compiled else {"jit": False}
    runner = bp.DSRunner(Halving(), monitors=["x"], progress_bar=False, **options)
    with probe.capture(out, data="full", trace_eager=True, strict=True) as cap:
        runner.run(0.3)
    (program,) = cap.programs
    assert program.kind == "step"
    assert program.replay().verdict.outcome == "bit for bit"
    assert program.data("results")["state/x"].tolist() == [0.5, 0.5, 0.5]
