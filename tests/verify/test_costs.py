"""The costs of components: names, XLA's counts and times; naming changes no program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe import cli
from brainpy_probe.analysis.costs import count, hlo_module
from brainpy_probe.compat import bindings
from brainpy_probe.errors import CannotMeasure
from brainpy_probe.format import component_names
from brainpy_probe.format.manifest.cost_records import Count
from brainpy_probe.ir import hlo
from brainpy_probe.ir.executables import execution, profiler
from brainpy_probe.recording.model import scopes
from brainpy_probe.recording.program import writing
from tests import eras, watching
from tests.networks import LOOP_MODULES, NETWORKS, by_name
from tests.replaying import DIALECTS, captured

pytestmark = pytest.mark.every_stack

_bp: Any = bp

GROUPS = ("E2E", "E2I", "I2E", "I2I")
EINETS = [case.name for case in NETWORKS if case.name.startswith("einet")]
PROFILES = pytest.mark.skipif(
    not profiler.can_profile(), reason="this jaxlib has no jax.profiler.ProfileData"
)


def _program(name: str) -> probe.Program:
    """Return the program of a network's first run; its costs are counted in this process."""
    return captured(name).program.within(None)


def _captured(name: str, out: Path, *, strict: bool = True, **settings: Any) -> Any:
    case = by_name(name)
    runner = case.build()
    with probe.capture(out, strict=strict, **settings) as cap:
        case.run(runner)
    return cap


@contextmanager
def _without_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Capture without names of components: the hook that adds them is disabled."""
    with monkeypatch.context() as patched:
        patched.setattr(scopes, "name_components", lambda *_, **__: None)
        yield


def _total(costs: Any, name: str) -> Count:
    """Return a component's cost in a step, including its children."""
    own = (
        component.component == name or component.component.startswith(f"{name}.")
        for component in costs.components
    )
    rows = [row for row, matches in zip(costs.components, own, strict=True) if matches]
    return sum((row.step for row in rows), Count())


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", EINETS)
def test_every_dialect_labels_ops_with_components(network: str) -> None:
    for dialect in DIALECTS:
        text = _program(network).text(dialect)
        for name in ("E", "I", *GROUPS):
            assert re.search(rf'"~{name}[./]', text), name
        assert "/site-packages/" not in text
        assert str(Path(__file__).parent) not in text


@pytest.mark.parametrize("network", EINETS)
def test_ops_belong_to_their_group_wherever_they_are_called(network: str) -> None:
    """The postsynaptic neurons call decay and output of align-post projections."""
    program = _program(network)
    costs = program.costs
    floats = {name: _total(costs, name).flops for name in ("E", "I", *GROUPS)}
    # Decay (at least a product) and output (difference, product, sum) of each postsynaptic neuron.
    for name in GROUPS:
        assert floats[name] >= 4 * (32 if name.endswith("E") else 8), (name, floats)
    exponential = [n for n, cls in program.record.components.items() if cls.startswith("Exp")]
    assert {name.partition(".")[0] for name in exponential} <= set(GROUPS)


def test_inputs_and_monitors_of_the_runner_have_rows() -> None:
    costs = _program("einet").costs
    rows = {row.component: row for row in costs.components}
    assert rows[component_names.MONITORS].step.written > 0
    assert rows[component_names.INPUTS].step.ops > 0
    if eras.SINCE_2_4:  # before 2.4, a step begins with zero inputs, so that XLA adds nothing
        assert rows[component_names.INPUTS].step.flops >= 32 + 8


# --- Names do not change the program --------------------------------------------------------------


# Networks of which two builds give one program. Up to 2.6, those with kernels or delays do not.
REPRODUCIBLE = ["hh", "noise", "reservoir", *(["einet", "delay"] if eras.SINCE_2_7 else [])]


@pytest.mark.parametrize("name", REPRODUCIBLE)
def test_names_change_no_op_and_no_result(
    name: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without names, the program and the native modules differ only in locations."""
    case, network = by_name(name), captured(name)
    case.run(case.build())
    runner = case.build()
    with (
        _without_names(monkeypatch),
        probe.capture(out, dialect=["stablehlo", "hlo"], strict=True) as unnamed,
    ):
        run = watching.run(case, runner)
    named = network.program
    assert named.record.components
    assert not unnamed.programs[0].record.components
    assert list(run.values.values()) == list(network.probed[0].values.values())
    assert run.compilations == network.probed[0].compilations
    assert named.text().count("~") > unnamed.text.count("~")
    if not eras.ORDERS_BY_IDS:
        assert _text_without_locations(named) == _text_without_locations(unnamed.programs[0])
        found = [
            [module.fingerprint for module in call.modules]
            for call in (network.call, unnamed.calls[0])
        ]
        assert found[0] == found[1]


def _text_without_locations(program: Any) -> str:
    module = bindings.parse_mlir(program.text("stablehlo"), bindings.mlir_context())
    return bindings.mlir_text(module)


@pytest.mark.skipif(not eras.JAX_CACHES_ON_CPU, reason="no persistent cache on this JAX's CPU")
def test_names_are_no_part_of_the_cache_key(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An executable that was compiled with names is a cache hit without them."""
    if eras.ORDERS_BY_IDS:
        pytest.skip("each build of a model gives another program")
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    compilation_cache.reset_cache()
    try:
        origins = []
        case = by_name("reservoir")
        for named in (True, False):
            runner = case.build()
            runner.progress_bar = False
            if named:
                with probe.capture(out, strict=True) as cap:
                    case.run(runner)
            else:
                with _without_names(monkeypatch), probe.capture(out, strict=True) as cap:
                    case.run(runner)
            loops = [module for module in cap.modules if module.name in LOOP_MODULES]
            origins += [module.record.origin for module in loops]
        assert origins == ["compiled", "cache"]
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
        compilation_cache.reset_cache()


def test_names_are_off_where_they_would_be_part_of_the_key(out: Path) -> None:
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
    try:
        program = _captured("lif", out).programs[0]
    finally:
        jax.config.update("jax_compilation_cache_include_metadata_in_key", False)
    assert program.record.components == {}
    assert any("are not labelled" in note for note in program.within(None).costs.notes)


def test_a_loop_traced_before_the_capture_has_no_names(out: Path) -> None:
    """BrainPy 2.3 keeps its traces; later versions trace each run."""
    case = by_name("lif")
    runner = case.build()
    case.run(runner)
    with probe.capture(out, strict=True) as cap:
        case.run(runner)
    program = cap.programs[0]
    assert bool(program.record.components) is eras.COMPILES_EACH_RUN
    noted = any(
        "traced before the capture was opened" in note for note in program.within(None).costs.notes
    )
    assert noted is not eras.COMPILES_EACH_RUN


def test_signatures_stay_unchanged(out: Path) -> None:
    import inspect

    runner = by_name("einet").build()
    component = runner.target.E
    before = inspect.signature(type(component).update)
    with probe.capture(out, strict=True):
        by_name("einet").run(runner)
        assert inspect.signature(type(component).update) == before


# --- XLA's counts ---------------------------------------------------------------------------------

COUNTED = [case.name for case in NETWORKS if not case.stepwise]


@pytest.mark.parametrize("name", COUNTED)
def test_the_costs_of_components_sum_to_xlas_counts(name: str) -> None:
    costs = _program(name).costs
    total = costs.once + costs.step
    for kind in ("flops", "transcendentals", "read", "written"):
        assert getattr(total, kind) == pytest.approx(getattr(costs.xla, kind), rel=0.01), kind
    assert sum(row.step.ops for row in costs.components) == costs.step.ops > 0
    assert costs.total == costs.once + costs.step.times(costs.steps)


def test_a_missing_component_changes_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows that the test above can fail: the sum differs without the ops of one component."""
    cost = hlo.InstructionCosts.cost

    def without_e2e(self: Any, computation: Any, instruction: Any) -> Any:
        return Count() if "~E2E" in instruction.location else cost(self, computation, instruction)

    monkeypatch.setattr(hlo.InstructionCosts, "cost", without_e2e)
    costs = _program("einet").costs
    assert (costs.once + costs.step).flops < 0.99 * costs.xla.flops


def test_twice_the_steps_cost_twice_as_much(out: Path) -> None:
    found = []
    for duration in (10.0, 20.0):
        bm.random.seed(1)
        runner = bp.DSRunner(_lif(), inputs=("input", 20.0), progress_bar=False)
        with probe.capture(out, strict=True) as cap:
            runner.run(duration)
        found.append(cap.programs[0].within(None).costs)
    short, long = found
    assert (short.steps, long.steps) == (100, 200)
    assert short.step.flops == long.step.flops > 0
    assert long.total.flops - long.once.flops == 2 * (short.total.flops - short.once.flops)


def _lif() -> Any:
    return _bp.neurons.LIF(10, method="euler")


def test_every_byte_of_state_and_constants_is_counted() -> None:
    program = _program("einet")
    rows = program.costs.components
    for role, column in (("state", "state"), ("constant", "constants")):
        nbytes = sum(spec.nbytes for spec in program.arguments if spec.role == role)
        assert sum(getattr(row, column) for row in rows) == nbytes > 0
    for name in ("E", "I", *GROUPS):
        specs = [spec for spec in program.arguments if spec.name.startswith(f"{name}.")]
        own = [row for row in rows if f"{row.component}.".startswith(f"{name}.")]
        assert sum(row.state for row in own) == sum(
            spec.nbytes for spec in specs if spec.role == "state"
        )
        assert sum(row.constants for row in own) == sum(
            spec.nbytes for spec in specs if spec.role == "constant"
        )


def test_custom_calls_are_marked_and_their_bytes_counted() -> None:
    program = _program("einet")
    costs = program.costs
    rows = [row for row in costs.components if row.custom_calls]
    assert {row.component.partition(".")[0] for row in rows} == set(GROUPS)
    for row in rows:
        assert set(row.custom_calls) <= set(program.fidelity.custom_calls)
        connections = sum(
            spec.nbytes
            for spec in program.arguments
            if spec.role == "constant" and spec.name.startswith(row.component.partition(".")[0])
        )
        assert row.custom_bytes >= connections
    assert any("Not counted: the code of" in note for note in costs.notes)
    # XLA's value for unknown costs, -1, does not occur.
    assert all(row.step.flops >= 0 and row.step.written >= 0 for row in costs.components)
    total = costs.once + costs.step
    for kind in ("flops", "read", "written"):
        assert getattr(total, kind) == pytest.approx(getattr(costs.xla, kind), rel=1e-6)


@pytest.mark.skipif(not eras.SINCE_2_7, reason="BrainPy up to 2.6 has no kernels in plain JAX")
def test_a_portable_program_has_its_own_costs() -> None:
    program = _program("einet")
    assert program.portable is not None
    native, plain = program.costs, program.portable.costs
    assert not any(row.custom_calls for row in plain.components)
    for name in GROUPS:
        assert _total(plain, name).flops > _total(native, name).flops
    assert _total(plain, "E") == _total(native, "E")


def test_a_step_program_counts_as_one_step() -> None:
    costs = _program("python-loop").costs
    assert costs.steps == 1
    assert costs.step.ops > 0
    assert costs.once.ops == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jax.lax.cond(x.sum() > 0, lambda y: jnp.exp(y) @ y, lambda y: y.sum(), x),
        lambda x: jax.lax.fori_loop(0, 5, lambda i, y: jnp.sort(jnp.tanh(y)) * i, x),
        lambda x: x.at[jnp.arange(3)].add(1.0).cumsum() + jax.random.uniform(jax.random.PRNGKey(0)),
    ],
)
def test_instructions_are_counted_as_xla_counts_them(function: Any) -> None:
    lowered = jax.jit(function).lower(jnp.arange(8.0))
    module = hlo_module("stablehlo", str(lowered.compiler_ir("stablehlo")).encode())
    record = _record()
    costs = count(record, module)
    total = costs.once + costs.step
    for kind in ("flops", "transcendentals", "read", "written"):
        assert getattr(total, kind) == pytest.approx(getattr(costs.xla, kind), rel=1e-6), kind
    accessed = execution.cost_analysis(module)["bytes accessed"]
    assert costs.xla.read + costs.xla.written == pytest.approx(accessed, rel=1e-6)


def _record() -> Any:
    from brainpy_probe.format.manifest.program_records import Fidelity, ProgramRecord

    return ProgramRecord(
        index=0,
        name="function",
        kind="step",
        fingerprint="",
        arguments=(),
        results=(),
        fidelity=Fidelity(),
        files=(),
    )


# --- Times ----------------------------------------------------------------------------------------


def _projections(probabilities: dict[str, float], size: int = 2000) -> Any:
    """Return a model of projections with given spikes: each step does the same work."""

    class Groups(eras.DynamicalSystem):
        def __init__(self) -> None:
            super().__init__()
            for name, probability in probabilities.items():
                conn = _bp.conn.FixedProb(probability, seed=1, allow_multi_conn=True)
                setattr(self, name, bp.dnn.EventCSRLinear(conn(size, size), 0.1))

        def update(self) -> Any:
            # The spikes differ between steps: otherwise XLA moves the computation out of the loop.
            spikes = (bm.arange(size) + bp.share["i"]) % 4 == 0
            return sum(getattr(self, name)(spikes).sum() for name in probabilities)

    return Groups()


@PROFILES
def test_the_times_of_components_sum_to_that_of_the_loop(out: Path) -> None:
    program = _captured("einet", out, profile=True).programs[0]
    measured = program.measured
    assert program.record.unmeasured == ""
    assert measured.steps == 100
    assert sum(component.seconds for component in measured.components) == pytest.approx(
        measured.loop, rel=1e-6
    )
    assert measured.seconds > 0
    assert measured.profiled > 0
    named = {
        component.component.partition(".")[0]
        for component in measured.components
        if component.seconds > 0
    }
    assert {"E", "I", *GROUPS} <= named


@pytest.mark.skipif(not hasattr(bp, "dnn"), reason="this BrainPy has no bp.dnn")
def test_four_times_the_synapses_take_four_times_the_bytes(out: Path) -> None:
    """Only the row of this projection grows. benchmarks/components.py shows the same for times."""
    bytes_by_component = []
    for probability in (0.05, 0.2):
        model = _projections({"A": 0.05, "B": 0.05, "C": probability})
        runner = bp.DSRunner(model, progress_bar=False, monitors={})
        with probe.capture(out, strict=True) as cap:
            runner.run(0.5)
        rows = cap.programs[0].within(None).costs.components
        bytes_by_component.append({row.component: row.constants for row in rows})
    before, after = bytes_by_component
    assert after["C"] == pytest.approx(4 * before["C"], rel=0.05)
    assert before["A"] > 0
    assert after["A"] == before["A"]
    assert after["B"] == before["B"]


def test_a_missing_profiler_is_reported(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "can_profile", lambda: False)
    cap = _captured("einet", out, profile=True)
    assert "ProfileData is missing" in cap.programs[0].record.unmeasured
    assert "! Not measured: " in cap.details()
    with pytest.raises(CannotMeasure, match="ProfileData is missing"):
        cap.programs[0].within(None).measure()


def test_a_failing_measurement_is_a_failure_of_the_probe(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("injected failure")

    monkeypatch.setattr(writing, "measure", fail)
    with pytest.raises(probe.ProbeError, match="injected failure"):
        _captured("lif", out, profile=True)
    with pytest.warns(probe.ProbeWarning, match="injected failure"):
        cap = _captured("lif", out, profile=True, strict=False)
    assert cap.programs[0].record.unmeasured == "injected failure"
    assert "injected failure" in cap.calls[0].failure.message


# --- The shell ------------------------------------------------------------------------------------


def _costs(*words: str) -> Any:
    return CliRunner().invoke(cli.app, ["costs", *words])


def test_the_costs_command_prints_a_tree_of_eighty_columns() -> None:
    result = _costs(str(captured("einet").path))
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(len(line) for line in lines[1:]) <= 80
    assert any(re.match(r"  E2E\*? ", line) for line in lines)


def test_the_costs_command_prints_json() -> None:
    printed = json.loads(_costs(str(captured("einet").path), "--json").stdout)
    assert printed["costs"]["steps"] == 100
    names = [row["component"] for row in printed["costs"]["components"]]
    assert names == [row.component for row in _program("einet").costs.components]
    assert printed["measured"] is None


@PROFILES
def test_the_costs_command_writes_a_track_per_component(tmp_path: Path) -> None:
    file = tmp_path / "steps.json"
    result = _costs(str(captured("einet").path), "--trace", str(file))
    assert result.exit_code == 0, result.output
    events = json.loads(file.read_text())["traceEvents"]
    tracks = {
        event["args"]["name"]: event["tid"] for event in events if event["name"] == "thread_name"
    }
    used_tracks = {event["tid"] for event in events if event["ph"] == "X"}
    assert {"E", "I"} <= tracks.keys()
    assert {tracks["E"], tracks["I"]} <= used_tracks
    for event in events:
        if event["ph"] == "X":
            assert event["dur"] >= 0
            assert 0 < event["args"]["share"] <= 1


def test_the_costs_command_rejects_invalid_arguments(tmp_path: Path) -> None:
    run = str(captured("einet").path)
    assert "has no program 7" in _costs(run, "--program", "7").stderr
    assert "is a folder" in _costs(run, "--trace", str(tmp_path)).stderr
    assert _costs(str(tmp_path / "nothing")).exit_code == 1


# --- The finding ----------------------------------------------------------------------------------


@PROFILES
def test_a_dense_comm_dominates_and_an_event_comm_is_offered(out: Path) -> None:
    class Dense(eras.DynamicalSystem):
        def __init__(self, comm: Any) -> None:
            super().__init__()
            self.comm = comm
            self.N = eras.LifRef(2000)

        def update(self) -> Any:
            spikes = (bm.arange(2000) + bp.share["i"]) % 100 == 0
            # XLA computes the product on its own, and the update of the neurons in a fusion.
            return self.N(self.comm(spikes))

    conn = _bp.conn.FixedProb(0.05, seed=1, allow_multi_conn=True)(2000, 2000)
    runner = bp.DSRunner(Dense(bp.dnn.MaskedLinear(conn, 0.1)), progress_bar=False)
    with probe.capture(out, profile=True, strict=True) as cap:
        runner.run(5.0)
    assert cap.programs[0].record.unmeasured == ""
    found = next(finding for finding in cap.findings if finding.slug == "dominant-component")
    assert found.sentence.startswith("comm, MaskedLinear, takes")
    assert "bp.dnn.EventCSRLinear(conn, weight)" in found.remedy


@pytest.mark.skipif(not hasattr(bp, "dnn"), reason="this BrainPy has no bp.dnn")
def test_every_offered_comm_gives_the_same_values() -> None:
    # Connections with a probability are drawn again for each class, those with a matrix are not.
    matrix = np.random.default_rng(1).random((60, 40)) < 0.1
    conn = _bp.conn.MatConn(matrix)(60, 40)
    spikes = bm.arange(60) % 4 == 0
    products = [
        np.asarray(bm.as_jax(getattr(bp.dnn, kind)(conn, 0.1)(spikes)))
        for kind in ("MaskedLinear", "CSRLinear", "EventCSRLinear")
    ]
    assert products[0].any()
    for product in products[1:]:
        np.testing.assert_allclose(product, products[0], rtol=1e-5)
