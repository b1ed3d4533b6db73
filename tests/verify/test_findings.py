"""The findings of a capture; each remedy works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import brainpy as bp
import brainpy.math as bm
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.analysis.findings import find
from tests import eras
from tests.eras import DynamicalSystem
from tests.networks import LOOP_MODULES, RefractoryLIF, by_name, compiling_runners
from tests.processes import run_script
from tests.replaying import captured, captured_with

pytestmark = pytest.mark.every_stack


def _slugs(cap: Any) -> set[str]:
    return {finding.slug for finding in cap.findings}


def _finding(cap: Any, slug: str) -> Any:
    return next(finding for finding in cap.findings if finding.slug == slug)


CACHED = """
import json, sys
import jax
cache, out, off = sys.argv[1:]
if hasattr(jax.config, "jax_compilation_cache_dir"):
    if off:
        jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
import brainpy as bp
import brainpy_probe as probe
from tests import eras
from tests.networks import LOOP_MODULES, RefractoryLIF
found = {}
for bar in (False, True):
    bp.math.random.seed(1)
    runners = [bp.DSRunner(RefractoryLIF(), progress_bar=bar) for _ in range(3)]
    with probe.capture(out, xla_dump="text", strict=True) as cap:
        for number, duration in enumerate((5.0, 5.0, 10.0)):
            runners[0 if eras.COMPILES_EACH_RUN else number].run(duration)
    loops = [module for module in cap.modules if module.name in LOOP_MODULES]
    found["bar" if bar else "plain"] = {
        "origins": [module.record.origin for module in loops],
        "dumped": [len(module.dump_paths) > 0 for module in loops],
        "notes": [module.record.notes for module in loops],
        "findings": {finding.slug: finding.remedy for finding in cap.findings},
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return the results of three processes with one persistent cache; the last disables it."""
    parent = tmp_path_factory.mktemp("cached")
    return [run_script(CACHED, parent / "cache", parent / "out", off) for off in ("", "", "off")]


def test_the_cache_removes_identical_compilations(cached: Any) -> None:
    second = "cache" if eras.JAX_CACHES_ON_CPU else "compiled"
    assert cached[0]["plain"]["origins"] == ["compiled", second, "compiled"]
    found = "recompiled-identical" in cached[0]["plain"]["findings"]
    assert found == (not eras.JAX_CACHES_ON_CPU)


def test_the_next_process_compiles_nothing_with_the_cache(cached: Any) -> None:
    origins, findings = cached[1]["plain"]["origins"], set(cached[1]["plain"]["findings"])
    if eras.SINCE_2_7:
        assert origins == ["cache"] * 3
        assert not {"recompiled-identical", "recompiled-shape"} & findings
    else:
        # BrainPy 2.4 to 2.6 order a loop's Variables by their ids: each process has another module.
        assert set(origins) <= ({"cache", "compiled"} if eras.JAX_CACHES_ON_CPU else {"compiled"})


def test_jax_0_12_caches_a_module_with_a_progress_bar(cached: Any) -> None:
    is_cached = jax.__version_info__ >= (0, 12)
    assert cached[0]["bar"]["origins"][1] == ("cache" if is_cached else "compiled")
    findings = cached[0]["bar"]["findings"]
    assert ("recompiled-identical" in findings) == (not is_cached)
    if eras.JAX_CACHES_ON_CPU and not is_cached:
        assert "progress_bar=False" in findings["recompiled-identical"]


def test_a_cache_hit_has_a_note_that_nothing_was_dumped(cached: Any) -> None:
    hits = 0
    for found in (network["plain"] for network in cached):
        for origin, dumped, notes in zip(
            found["origins"], found["dumped"], found["notes"], strict=True
        ):
            assert dumped == (origin == "compiled")
            if origin == "cache":
                hits += 1
                assert "came from JAX's persistent cache, without a compilation" in notes[0]
        assert ("cache-hit-no-dump" in found["findings"]) == ("cache" in found["origins"])
        if "cache" in found["origins"]:
            assert "jax_enable_compilation_cache" in found["findings"]["cache-hit-no-dump"]
    assert bool(hits) == eras.JAX_CACHES_ON_CPU


def test_without_the_cache_everything_is_dumped(cached: Any) -> None:
    assert cached[2]["plain"]["origins"] == ["compiled"] * 3
    assert cached[2]["plain"]["dumped"] == [True] * 3
    assert "cache-hit-no-dump" not in cached[2]["plain"]["findings"]


def test_identical_compilations_are_found_and_counted(out: Path) -> None:
    case = by_name("lif")
    runners = compiling_runners("lif", 2)
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            case.run(runner)
    found = _finding(cap, "recompiled-identical")
    assert "1 module of LIF was compiled again though nothing had changed" in found.sentence
    assert ("jax_compilation_cache_dir" in found.remedy) == eras.JAX_CACHES_ON_CPU
    assert "progress_bar" not in found.remedy
    assert ("every run()" in found.sentence) == eras.COMPILES_EACH_RUN
    if not eras.JAX_CACHES_ON_CPU:
        once = "One longer run()" if eras.COMPILES_EACH_RUN else "One runner instead"
        assert found.remedy.startswith(once)


def test_one_runner_compiles_once_where_brainpy_keeps_loops(out: Path) -> None:
    case = by_name("lif")
    runner = case.build()
    with probe.capture(out, strict=True) as cap:
        case.run(runner)
        case.run(runner)
    loops = [module for module in cap.modules if module.name in LOOP_MODULES]
    assert len(loops) == (2 if eras.COMPILES_EACH_RUN else 1)
    assert ("recompiled-identical" in _slugs(cap)) == eras.COMPILES_EACH_RUN


def test_equal_durations_avoid_other_shapes(out: Path) -> None:
    found = []
    for durations in ((5.0, 10.0), (5.0, 5.0, 5.0)):
        runner = bp.DSRunner(RefractoryLIF(), progress_bar=False)
        with probe.capture(out, strict=True) as cap:
            for duration in durations:
                runner.run(duration)
        found.append("recompiled-shape" in _slugs(cap))
    assert found == [True, False]


def test_a_slow_compilation_is_found(out: Path) -> None:
    case = by_name("lif")
    with probe.capture(out, strict=True) as cap:
        case.run(case.build())
    assert "slow-compile" not in _slugs(cap) or cap.modules[-1].timing.compile >= 1
    module = cap.manifest.modules[-1]
    seconds = msgspec.structs.replace(module.seconds, compile=3.0)
    slow = msgspec.structs.replace(module, seconds=seconds)
    found = find(msgspec.structs.replace(cap.manifest, modules=(slow,)))
    (finding,) = (finding for finding in found if finding.slug == "slow-compile")
    assert "for 3.00 s" in finding.sentence
    assert ("jax_compilation_cache_dir" in finding.remedy) == eras.JAX_CACHES_ON_CPU
    next_process = eras.JAX_CACHES_ON_CPU and eras.SINCE_2_7
    assert ("The next process" in finding.remedy) == next_process


ENABLING_THE_CACHE = """
import json, sys
import jax
import jax.experimental.compilation_cache.compilation_cache
FOLDER = sys.argv[1]
for line in sys.argv[2].split(" and "):
    exec(line)
print(json.dumps(jax.config.jax_persistent_cache_min_compile_time_secs))
"""


def test_the_cache_settings_work_on_the_installed_jax(out: Path) -> None:
    case = by_name("lif")
    runners = compiling_runners("lif", 2)
    with probe.capture(out, strict=True) as cap:
        for runner in runners:
            case.run(runner)
    environment = msgspec.structs.replace(cap.manifest.environment, backend="gpu")
    found = find(msgspec.structs.replace(cap.manifest, environment=environment))
    (remedy,) = (finding.remedy for finding in found if finding.slug == "recompiled-identical")
    settings = remedy.partition(": ")[2].partition(" before ")[0]
    assert run_script(ENABLING_THE_CACHE, out, settings) == 0


@pytest.mark.parametrize("how", ["runner", "jax"])
def test_a_run_without_jit_is_found_and_jit_resolves_it(out: Path, how: str) -> None:
    found = []
    for jit in (False, True):
        runner = bp.DSRunner(RefractoryLIF(), jit=jit or how == "jax", progress_bar=False)
        with jax.disable_jit(not jit and how == "jax"), probe.capture(out) as cap:
            runner.run(0.3)
        found.append("jit-disabled" in _slugs(cap))
    # A runner of BrainPy 2.3 enables JAX's jit again, because its own jit is True.
    assert found == [how == "runner" or eras.SINCE_2_4, False]


WITHOUT_KERNELS = """
import json, sys
import brainevent
import brainpy_probe as probe
from tests.networks import by_name
exec(sys.argv[2])
case = by_name("einet")
runner = case.build()
with probe.capture(sys.argv[1], strict=True) as cap:
    case.run(runner)
print(json.dumps([finding.slug for finding in cap.findings]))
"""


def test_an_opaque_call_is_found_and_the_remedy_resolves_it(out: Path) -> None:
    found = captured_with("einet", data="none").findings
    opaque = [
        (finding.sentence, finding.remedy)
        for finding in found
        if finding.slug == "opaque-custom-call"
    ]
    if not eras.SINCE_2_7:  # BrainPy's Numba or Taichi code has no other implementation
        for sentence, remedy in opaque:
            assert re.search(r"cfunc\.|taichi_kernel", sentence)
            assert "brainevent" not in remedy
        computed = {
            part for sentence, _ in opaque for part in re.findall(r"\b[EI]2[EI]\b", sentence)
        }
        assert computed == {"E2E", "E2I", "I2E", "I2I"}
        return
    ((sentence, remedy),) = opaque
    assert "brainevent_numba_ffi" in sentence
    assert "It computes E2E (E to E), E2I (E to I), I2E (I to E), I2I (I to I)." in sentence
    setting = 'brainevent.config.set_backend("cpu", "jax_raw")'
    assert setting in remedy
    assert "opaque-custom-call" not in run_script(WITHOUT_KERNELS, out, setting)


def test_a_finding_exists_once_for_each_cause_and_model(out: Path) -> None:
    """Six runs of two models of one class: their different sizes are no change of shape."""
    small, large = (bp.DSRunner(_Dense(size), progress_bar=True) for size in (3, 5))
    with probe.capture(out, strict=True) as cap:
        for runner in (small, large, small, large, small, large):
            runner.run(0.5)
    slugs = [finding.slug for finding in cap.findings]
    assert len(slugs) == len(set(slugs))
    assert "recompiled-shape" not in slugs
    bars = _finding(cap, "host-callback")
    assert (bars.count, bars.model) == (6 if eras.COMPILES_EACH_RUN else 2, "_Dense")
    assert bars.programs == tuple(range(len(cap.programs)))
    if eras.COMPILES_EACH_RUN:
        again = _finding(cap, "recompiled-identical")
        assert again.count == 4
        assert again.seconds is not None
        assert again.seconds > 0


class _Dense(DynamicalSystem):
    """A model with a given size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.v = bm.Variable(bm.ones(size))

    def update(self, *_: Any) -> None:
        self.v.value = self.v.value * 0.5


@pytest.mark.skipif(
    not eras.SINCE_2_7, reason="before 2.7, kernels have no implementation in plain JAX"
)
def test_a_setting_that_is_on_is_not_advised() -> None:
    cap = captured("einet").capture
    assert cap.programs[0].fidelity.custom_calls
    assert "opaque-custom-call" not in _slugs(cap)
    portable = msgspec.structs.replace(
        cap.programs[0].record.portable, fidelity=cap.programs[0].fidelity
    )
    program = msgspec.structs.replace(cap.programs[0].record, portable=portable)
    found = find(msgspec.structs.replace(cap.manifest, programs=(program,)))
    (opaque,) = (finding for finding in found if finding.slug == "opaque-custom-call")
    assert "nor in its portable program" in opaque.sentence
    assert "portable=True" not in opaque.remedy


class _Learning(DynamicalSystem):
    """A model that turns its weight into a Variable in its step, as BrainPy's STDP does."""

    def __init__(self) -> None:
        super().__init__()
        self.syn = eras.LifRef(3)
        self.syn.weight = bm.ones(3)

    def update(self, *_: Any) -> Any:
        if not isinstance(self.syn.weight, bm.Variable):
            self.syn.weight = bm.Variable(self.syn.weight)
        self.syn.weight.value = self.syn.weight.value * 0.5
        return self.syn.weight.value


@pytest.mark.skipif(not eras.SINCE_2_7, reason="before 2.7, such a Variable is not in the trace")
def test_a_variable_created_in_the_step_is_lost(out: Path) -> None:
    model = _Learning()
    with probe.capture(out, strict=True) as cap:
        bp.DSRunner(model, progress_bar=False).run(0.2)
        with pytest.raises(jax.errors.UnexpectedTracerError):
            bp.DSRunner(model, progress_bar=False).run(0.2)
    arguments = {spec.path for spec in cap.programs[0].arguments}
    assert "constants/syn.weight" in arguments
    lost = _finding(cap, "variable-lost")
    assert "a Variable of syn.weight" in lost.sentence
    model, brainpy = _Learning(), bp
    remedy = lost.remedy.partition(": ")[2].rstrip(".")
    exec(remedy, {"model": model, "brainpy": brainpy})  # noqa: S102
    with probe.capture(out, strict=True) as cap:
        for _ in range(2):
            bp.DSRunner(model, progress_bar=False).run(0.2)
    assert "variable-lost" not in _slugs(cap)
    assert np.allclose(model.syn.weight.value, 0.5**4)


@pytest.mark.parametrize("option", ["progress_bar", "memory_efficient"])
def test_a_callback_of_the_runner_is_found_and_avoidable(out: Path, option: str) -> None:
    found = []
    for enabled in (True, False):
        options = {"progress_bar": False, option: enabled}
        runner = bp.DSRunner(eras.without_outputs(RefractoryLIF()), monitors=["lif.V"], **options)
        with probe.capture(out, strict=True) as cap:
            runner.run(1.0)
        found.append([f.remedy for f in cap.findings if f.slug == "host-callback"])
    assert len(found[0]) == 1
    assert option in found[0][0]
    assert found[1] == []


# From BrainPy 2.7 on, a check in a loop is a pure callback with an unused result: the jaxpr has it,
# the executable does not.
CHECKS_CALL_BACK = not eras.SINCE_2_7


class _CallingBack(DynamicalSystem):
    """A model whose step calls back with JAX's print or BrainPy's check, or not at all."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.r = bm.Variable(bm.ones(4))

    def update(self) -> Any:
        r = bm.as_jax(self.r)
        if self.how == "print":
            jax.debug.print("{}", r[0])
        elif self.how == "check":
            eras.jit_error(jnp.any(r > 1e6), lambda _: None, r)
        self.r.value = r * 0.5
        return self.r.value


def _callback_remedies(out: Path, runner: Any) -> list[str]:
    with probe.capture(out, strict=True) as cap:
        runner.run(1.0)
    return [f.remedy for f in cap.findings if f.slug == "host-callback"]


@pytest.mark.parametrize("how", ["print", "check"])
def test_a_callback_of_the_model_is_found_and_avoidable(out: Path, how: str) -> None:
    found = [
        _callback_remedies(out, bp.DSRunner(_CallingBack(kind), progress_bar=False))
        for kind in (how, "not")
    ]
    assert len(found[0]) == (how == "print" or CHECKS_CALL_BACK)
    for remedy in found[0]:
        assert {"print": "jax.debug.print", "check": "bp.check.jit_error"}[how] in remedy
    assert found[1] == []


class _Delayed(DynamicalSystem):
    """A model that reads a delay, which BrainPy checks while its checks are enabled."""

    def __init__(self) -> None:
        super().__init__()
        self.r = bm.Variable(bm.ones(4))
        self.past = bm.LengthDelay(self.r, 10)

    def update(self) -> Any:
        before = bm.as_jax(self.past(5))
        self.r.value = bm.as_jax(self.r) * 0.5 + before * 0.1
        self.past.update(self.r)
        return self.r.value


def test_turning_checks_off_removes_those_of_delays(out: Path) -> None:
    found = _callback_remedies(out, bp.DSRunner(_Delayed(), progress_bar=False))
    assert len(found) == CHECKS_CALL_BACK
    # The program has no checks.
    (program,) = probe.load(out).programs
    assert program.fidelity.removed == ("BrainPy's own checks",)
    assert "callback" not in program.text()
    assert all("bp.check.turn_off()" in remedy for remedy in found)
    bp.check.turn_off()
    try:
        assert _callback_remedies(out, bp.DSRunner(_Delayed(), progress_bar=False)) == []
    finally:
        bp.check.turn_on()


def test_large_constants_are_found_and_arguments_avoid_them(out: Path) -> None:
    table = np.random.default_rng(0).random((600, 600)).astype(np.float32)
    variable = bm.Variable(table)
    x = np.ones(600, np.float32)

    def found(call: Any) -> list[Any]:
        with probe.capture(out, strict=True) as cap:
            call()
        return [f for f in cap.findings if f.slug == "large-constants-inlined"]

    (finding,) = found(lambda: jax.jit(lambda x: x @ table)(x))
    assert f"{eras.LAMBDA_MODULE} has 1.4 MiB of constants in its code" in finding.sentence
    assert "brainpy.math.jit" in finding.remedy
    assert found(lambda: jax.jit(lambda x, table: x @ table)(x, table)) == []
    variables: dict[str, Any] = {} if eras.SINCE_2_4 else {"dyn_vars": variable}
    assert ("dyn_vars" in finding.remedy) == bool(variables)
    assert found(lambda: bm.jit(lambda x: x @ variable.value, **variables)(x)) == []
    assert len(found(lambda: jax.jit(lambda x: x @ variable.value)(x))) == 1


def test_a_run_without_numba_is_found(out: Path) -> None:
    runner = by_name("lif").build()
    runner.target.update = _without_numba
    with probe.capture(out) as cap, pytest.raises(ModuleNotFoundError):
        runner.run(0.2)
    (found,) = (finding for finding in cap.findings if finding.slug == "numba-missing")
    assert found.remedy == 'pip install "brainpy[cpu]"'


def _without_numba(*_: Any) -> Any:
    raise ModuleNotFoundError("No module named 'numba'")
