"""The modules that JAX compiles in a block: records, files, and an unchanged compilation."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from msgspec import structs

import brainpy_probe as probe
from brainpy_probe.analysis.compile_causes import causes
from brainpy_probe.analysis.findings import find
from brainpy_probe.compat import bindings
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.recording.model import names, scopes
from brainpy_probe.recording.modules import log
from brainpy_probe.recording.sessions import program_log
from tests import eras
from tests.eras import SINCE_2_7
from tests.listening import durations
from tests.networks import LOOP_MODULES, by_name
from tests.processes import run_script

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[int]]:
    """Return a capture of two runs and a jitted function, and JAX's count of modules per run."""
    case = by_name("lif")
    runner = case.build()
    table = jnp.asarray(np.arange(4096, dtype=np.float32).reshape(64, 64))

    def outside(x: Any) -> Any:
        return x @ table

    counts = []
    with (
        probe.capture(tmp_path_factory.mktemp("modules"), strict=True) as cap,
        durations() as events,
    ):
        for _ in range(2):
            events.clear()
            case.run(runner)
            counts.append([event for event, _ in events].count(COMPILED))
        jax.jit(outside)(np.ones(64, np.float32))
    return cap, counts


@pytest.fixture
def cap(captured: tuple[Any, list[int]]) -> Any:
    """Return the capture."""
    return captured[0]


def test_every_module_that_jax_compiles_is_recorded(captured: tuple[Any, list[int]]) -> None:
    cap, counts = captured
    assert [len(call.modules) for call in cap.calls] == counts
    assert counts[0] > 0
    compiled_in = [module.record.call for module in cap.modules]
    assert [compiled_in.count(call) for call in (0, 1)] == counts


def test_a_module_names_the_users_line_that_compiled_it(cap: Any) -> None:
    lines = Path(__file__).read_text().splitlines()
    (outside,) = (module.record for module in cap.modules if module.name == "jit_outside")
    file, _, number = outside.place.rpartition(":")
    assert file == "tests/capture/test_modules.py"
    assert "jax.jit(outside)(" in lines[int(number) - 1]
    assert outside.function == "captured"
    assert "/" not in Path(outside.place).anchor
    # Frames of BrainPy and JAX lie between the compilation and the line that ran the network.
    runs = {module.record.place for module in cap.modules if module.call is not None}
    assert {place.rpartition(":")[0] for place in runs} == {"tests/networks.py"}


def test_compilations_add_up_by_line_and_reason(cap: Any) -> None:
    found = causes(cap.manifest)
    assert sorted(n for cause in found for n in cause.modules) == list(range(len(cap.modules)))
    again = [cause for cause in found if cause.reason == "same"]
    assert all(cause.saves == cause.seconds.wall for cause in again)
    assert all(cause.saves == 0.0 for cause in found if cause.reason != "same")


def test_modules_too_quick_for_the_cache_are_a_finding(cap: Any) -> None:
    record = cap.modules[0].record
    quick = structs.replace(
        record, origin="compiled", cache_minimum=1.0, seconds=probe.Timing(compile=0.2)
    )
    cached = structs.replace(quick, seconds=probe.Timing(compile=1.0))

    def slugs(*modules: Any) -> list[str]:
        numbered = tuple(structs.replace(m, index=number) for number, m in enumerate(modules))
        manifest = structs.replace(cap.manifest, calls=(), programs=(), modules=numbered)
        return [finding.slug for finding in find(manifest)]

    quick, cached = (structs.replace(module, call=None, after=None) for module in (quick, cached))
    assert "quick-compiles" in slugs(*[quick] * 10)
    assert "quick-compiles" not in slugs(*[cached] * 10)
    without_cache = structs.replace(quick, cache_minimum=None)
    assert "quick-compiles" not in slugs(*[without_cache] * 10)
    same = structs.replace(without_cache, reason="same")
    assert "recompiled-outside" in slugs(*[same] * 10)
    assert "recompiled-outside" not in slugs(*[same] * 9)


def test_the_module_of_a_loop_has_a_full_record(cap: Any) -> None:
    loops = [module for module in cap.modules if module.name in LOOP_MODULES]
    assert loops
    for module in loops:
        record = module.record
        assert len(module.fingerprint) == 32
        assert record.thread == threading.current_thread().name
        assert record.backend == "cpu"
        assert not module.from_cache
        assert min(module.timing.trace, module.timing.lower, module.timing.compile) > 0
        assert record.cost["flops"] > 0
        # Buffers or code: on a CPU, only XLA of JAX 0.4.30 reports the sizes of both.
        assert record.memory.get("arguments", 0) + record.memory.get("code", 0) > 0
        assert record.memory.get("arguments") != 0
        assert len(record.argument_names) in (0, len(record.arguments))
        if module.name == "jit_scan":  # a loop within a jit drops the indices that it does not read
            assert record.arguments[record.argument_names.index("indices")] == "tensor<100xi32>"


def test_a_call_has_its_modules(cap: Any) -> None:
    for call in cap.calls:
        assert {module.name for module in call.modules} <= {*LOOP_MODULES}
        assert all(module.record.call == call.index for module in call.modules)


def test_a_module_outside_of_calls_has_no_call(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    assert module.record.call is None
    assert module.record.large_constants == 64 * 64 * 4


def test_a_folder_is_named_after_number_call_and_module(cap: Any) -> None:
    for module in cap.modules:
        first = next(other for other in cap.modules if other.paths == module.paths)
        call = first.record.call
        place = "outside" if call is None else f"predict{call:03d}"
        for path in module.paths.values():
            folder = f"{first.record.index:04d}-{place}-{module.name}"
            assert path.parent == cap.path / "modules" / folder
            assert path.is_file()
        assert set(module.paths) == {"stablehlo", "mlirbc", "hlo"}


def test_a_module_compiled_again_has_the_same_files(cap: Any) -> None:
    loops = [module for module in cap.modules if module.name in LOOP_MODULES]
    # Before JAX 0.10 no fingerprint shows that two executables are equal; 2.3 compiles once anyway.
    paths = {module.paths["hlo"] for module in loops}
    assert len(paths) == (1 if SINCE_2_7 else len(loops))
    assert all(module.text("hlo") for module in loops)


def test_the_readable_text_elides_large_constants(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    text = module.text("stablehlo")
    assert text.startswith("// For reading: constants of over 16 elements are shortened.")
    assert "__elided__" in text
    assert "module.mlirbc" in text.splitlines()[1]


def test_the_bytecode_has_the_complete_module(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    context = bindings.mlir_context()
    parsed = bindings.parse_mlir(module.paths["mlirbc"].read_bytes(), context)
    text = bindings.mlir_text(parsed)
    assert "__elided__" not in text
    assert len(text) > 64 * 64 * 4
    assert "dot" in bindings.hlo_text(bindings.hlo_of(parsed))


def test_the_optimized_hlo_is_complete(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    assert "{...}" not in module.text("hlo")
    assert "4095" in module.text("hlo")
    for module in cap.modules:
        assert bindings.parse_hlo(module.text("hlo")) is not None


def test_modules_are_the_same_when_loaded(cap: Any) -> None:
    loaded = probe.load(cap.path)
    assert [module.record for module in loaded.modules] == [module.record for module in cap.modules]
    assert loaded.modules[0].text("hlo") == cap.modules[0].text("hlo")


def test_several_threads_compile_at_once(out: Path) -> None:
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        def scaled(x: Any) -> Any:
            return x * number

        scaled.__name__ = f"thread_{number}"
        barrier.wait()
        jax.jit(scaled)(np.ones(3, np.float32))

    threads = [threading.Thread(target=work, args=(n,), name=f"worker-{n}") for n in range(6)]
    with probe.capture(out, xla_dump="text", strict=True) as cap:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    compiled = {
        module.name: module for module in cap.modules if module.name.startswith("jit_thread_")
    }
    assert len(compiled) == 6
    for number in range(6):
        module = compiled[f"jit_thread_{number}"]
        assert module.record.thread == f"worker-{number}"
        named = [path.name for path in module.dump_paths if path.name.startswith("module_")]
        assert named
        assert all(f".jit_thread_{number}." in name for name in named)
    indices = [module.record.index for module in cap.modules]
    assert indices == list(range(len(indices)))


def test_a_module_compiled_outside_the_block_is_not_recorded(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        pass
    jax.jit(lambda x: x - 7)(np.ones(2))
    assert cap.modules == ()


def test_a_compilation_that_fails_raises_and_records_nothing(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def failing(x: Any) -> Any:
        return x + 1

    lowered = jax.jit(failing).lower(np.ones(2, np.float32))
    with probe.capture(out, xla_dump=True, strict=True) as cap:
        with pytest.raises(Exception, match="No such compile option: 'no_such_option'"):
            lowered.compile(compiler_options={"no_such_option": True})
        compiled = [module.name for module in cap.modules]
    assert "jit_failing" not in compiled
    assert list(tmp_path.glob("brainpy-probe-xla-*")) == []


def test_a_nested_trace_is_counted_once(out: Path) -> None:
    @jax.jit
    def inner(x: Any) -> Any:
        time.sleep(0.2)  # during the trace
        return x * 2

    def outer(x: Any) -> Any:
        return inner(x) + 1

    with probe.capture(out, strict=True) as cap:
        jax.jit(outer)(np.ones(2, np.float32))
    assert 0.2 <= cap.modules[-1].timing.trace < 0.4


UNTOUCHED = """
import contextlib, json, logging, os, sys
import jax, jax.numpy as jnp, numpy as np
from jax.experimental.compilation_cache import compilation_cache
events = []
jax.monitoring.register_event_duration_secs_listener(lambda e, s, **k: events.append(e))
class Hits(logging.Handler):
    def emit(self, record):
        events.extend(["hit"] * ("Persistent compilation cache hit" in record.getMessage()))
for name in ("jax._src.dispatch", "jax._src.compiler"):
    logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger(name).propagate = False
    logging.getLogger(name).addHandler(Hits())
import brainpy_probe as probe
from tests.networks import LOOP_MODULES, by_name
cache, out, probed = sys.argv[1:]
def scope():
    return probe.capture(out, xla_dump=True, strict=True) if probed else contextlib.nullcontext()
def count(run):
    counts = []
    for _ in range(2):
        del events[:]
        run()
        compiled = events.count("/jax/core/compile/backend_compile_duration")
        counts.append([compiled, events.count("hit")])
    return counts
case = by_name("lif")
runner = case.build()
x = np.ones(3, np.float32)
def plain():
    def loop(x):
        return jax.lax.scan(lambda c, t: (jnp.sin(c) + t, c), x, jnp.arange(50.0))
    jax.jit(loop)(x)
with scope():
    without = count(lambda: case.run(runner))
with contextlib.suppress(AssertionError):  # 0.4.13 has no cache to reset
    compilation_cache.reset_cache()
if hasattr(jax.config, "jax_compilation_cache_dir"):
    jax.config.update("jax_compilation_cache_dir", cache)
else:
    compilation_cache.initialize_cache(cache)  # 0.4.13
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
def keys():
    return {name for name in os.listdir(cache) if not name.endswith("-atime")}
with scope():
    found = {"without": without, "plain": count(plain), "plain keys": sorted(keys())}
    found |= {"net": count(lambda: case.run(runner))}
print(json.dumps({**found, "net keys": sorted(keys() - {*found["plain keys"]})}))
"""

# On a CPU, XLA of JAX 0.4.13 and 0.4.23 serializes executables only with this runtime. Other
# versions end the process because the flag is unknown to them.
RUNTIME = "--xla_cpu_use_xla_runtime=true"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the counts with and without the probe, where each side fills a cache for the other."""
    parent = tmp_path_factory.mktemp("untouched")
    cache, out = parent / "cache", parent / "out"
    tried = subprocess.run(
        [sys.executable, "-c", "import jax; jax.numpy.ones(1)"],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": RUNTIME},
        capture_output=True,
        check=False,
    )
    flags = RUNTIME if tried.returncode == 0 else os.environ["XLA_FLAGS"]

    def counts(probed: str) -> Any:
        return run_script(UNTOUCHED, cache, out, probed, XLA_FLAGS=flags)

    found = {"bare": counts("")}
    found["probed after bare"] = counts("yes")
    cache.rename(parent / "filled")  # an empty cache at the same path: some keys depend on it
    found["probed"] = counts("yes")
    found["bare after probed"] = counts("")
    return found


# The programs that two processes compile alike. BrainPy 2.4 to 2.6 orders the states of a loop by
# address and lowers it differently in each process; 2.3.8 keeps the loop that it compiled without a
# cache.
REPEATED = ["plain", "net"] if find_spec("brainstate") else ["plain"]


@pytest.mark.parametrize("which", ["without", "net", "plain"])
def test_the_probe_changes_no_count_of_compilations(untouched: dict[str, Any], which: str) -> None:
    assert untouched["probed"][which] == untouched["bare"][which]
    first, _ = untouched["bare"][which]
    assert first == [1, 0] or (which == "net" and first == [0, 0])


@pytest.mark.parametrize("which", REPEATED)
def test_the_probe_changes_no_use_of_the_persistent_cache(
    untouched: dict[str, Any], which: str
) -> None:
    assert untouched["bare"][which] == untouched["probed"][which] == [[1, 0], [1, 1]]


@pytest.mark.parametrize("which", REPEATED)
def test_the_probe_changes_no_cache_key(untouched: dict[str, Any], which: str) -> None:
    keys = untouched["bare"][f"{which} keys"]
    assert keys
    for other in ("probed", "probed after bare", "bare after probed"):
        assert {*untouched[other]["plain keys"], *untouched[other]["net keys"]} >= {*keys}
    assert untouched["probed"][f"{which} keys"] == keys


@pytest.mark.parametrize("side", ["probed after bare", "bare after probed"])
@pytest.mark.parametrize("which", REPEATED)
def test_cache_entries_hit_with_and_without_the_probe(
    untouched: dict[str, Any], which: str, side: str
) -> None:
    assert untouched[side][which] == [[1, 1], [1, 1]]


# --- Repeated work ------------------------------------------------------------------------------


@pytest.mark.skipif(not SINCE_2_7, reason="before JAX 0.10 executables have no fingerprint")
def test_a_repeated_run_only_appends_its_call(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for owner, name in (
        (program_log, "render"),
        (program_log, "write"),
        (log, "read_facts"),
        (names, "ModelNames"),
        (scopes, "ModelNames"),
        (RunFolder, "write"),
        (RunFolder, "write_manifest"),
        (RunFolder, "append"),
        (RunFolder, "finish"),
    ):
        monkeypatch.setattr(owner, name, _counted(done, name, getattr(owner, name)))
    case = by_name("lif")
    runner = case.build()
    with probe.capture(out, strict=True, data="none"):
        first_runs: list[str] = []
        for number in range(12):
            case.run(runner)
            if number == 1:  # the first run may leave Variables with other types
                first_runs = done.copy()
        assert done[len(first_runs) :] == ["append"] * 10
    assert first_runs.count("ModelNames") == 1
    assert done[-1] == "finish"


def _counted(done: list[str], name: str, function: Any) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        done.append(name)
        return function(*args, **kwargs)

    return counted


@pytest.mark.parametrize("dialect", ["stablehlo", "mhlo", "hlo"])
def test_a_module_converts_to_every_dialect(cap: Any, dialect: str) -> None:
    module = next(module for module in cap.modules if module.name == "jit_outside")
    text = module.convert(dialect)
    table = np.arange(4096, dtype=np.float32).reshape(64, 64)
    context = bindings.mlir_context()
    if dialect == "hlo":
        parsed = bindings.parse_hlo(text)
        assert "4095" in text
    else:
        back = bindings.parse_mlir(text, context)
        found = re.search(r'dense<"0x([0-9A-F]+)">', text)
        assert found is not None
        assert bytes.fromhex(found[1]) == table.tobytes(), "an elided constant"
        if dialect == "mhlo":
            assert "mhlo.dot" in text
            bindings.run_passes(back, "hlo-legalize-to-stablehlo")
        parsed = bindings.hlo_of(back)
    complete_module = bindings.parse_mlir(module.paths["mlirbc"].read_bytes(), context)
    canonical = bindings.hlo_canonical_text
    assert canonical(parsed) == canonical(bindings.hlo_of(complete_module))


def test_a_module_has_its_call_and_rejects_unknown_dialects(cap: Any) -> None:
    assert {module.call for module in cap.calls[0].modules} == {0}
    outside = next(module for module in cap.modules if module.name == "jit_outside")
    assert outside.call is None
    with pytest.raises(probe.UnknownDialect):
        outside.convert("llvm")


def test_the_contents_of_modules_stay_on_disk(out: Path) -> None:
    large = np.arange(1 << 18, dtype=np.float32)

    def compile_with(constant: Any) -> None:
        jax.jit(lambda x: x * constant)(np.float32(1))
        gc.collect()  # JAX keeps an executable as long as the function exists

    with probe.capture(out, strict=True) as cap:
        compile_with(large)
        tracemalloc.start()
        for number in range(1, 5):
            compile_with(large + number)
        cached, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # The comparison reads the file of the previous module.
    compiled = [module for module in cap.modules if module.name == eras.LAMBDA_MODULE]
    assert [module.reason for module in compiled][1:] == ["values"] * 4
    assert cached < large.nbytes
