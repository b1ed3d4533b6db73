"""Each module that JAX compiles in a block: its record, its files, and what stays as it was."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainpy_probe as probe
from brainpy_probe.live import seams
from tests.eras import COMPILES_EACH_RUN, LOOP_MODULE
from tests.networks import by_name, compiling_runners
from tests.processes import told_by


@pytest.fixture(scope="module")
def cap(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a capture of two runs, of the spiking network, and of a function of JAX's own."""
    case = by_name("lif")
    runners = compiling_runners("lif", 2)
    table = jnp.asarray(np.arange(4096, dtype=np.float32).reshape(64, 64))

    def outside(x: Any) -> Any:
        return x @ table

    with probe.capture(tmp_path_factory.mktemp("modules"), strict=True) as cap:
        for runner in runners:
            case.run(runner)
        jax.jit(outside)(np.ones(64, np.float32))
    return cap


def test_each_compiled_module_is_recorded(cap: Any) -> None:
    loops = [module for module in cap.modules if module.name == LOOP_MODULE]
    assert [module.record.call for module in loops] == [0, 1]
    for module in loops:
        record = module.record
        assert len(module.fingerprint) == 64
        assert record.thread == threading.current_thread().name
        assert record.backend == "cpu"
        assert not module.from_cache
        assert min(module.timing.trace, module.timing.lower, module.timing.compile) > 0
        assert record.cost["flops"] > 0
        # Up to JAX 0.4.23 XLA gives the size of a CPU's code alone.
        assert record.memory["arguments" if hasattr(jax, "tree") else "code"] > 0
        assert "tensor<100xi32>" in record.arguments
        assert record.arguments[record.argument_names.index("indices")] == "tensor<100xi32>"


def test_a_call_has_its_modules(cap: Any) -> None:
    assert [[module.name for module in call.modules] for call in cap.calls] == [[LOOP_MODULE]] * 2


def test_a_module_of_no_call_is_recorded_as_such(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    assert module.record.call is None
    assert module.record.large_constants == 64 * 64 * 4


def test_files_lie_in_a_folder_named_for_number_call_and_name(cap: Any) -> None:
    for module in cap.modules:
        call = module.record.call
        place = "outside" if call is None else f"predict{call:03d}"
        for path in module.paths.values():
            folder = f"{module.record.index:04d}-{place}-{module.name}"
            assert path.parent == cap.path / "modules" / folder
            assert path.is_file()
        assert set(module.paths) == {"stablehlo", "mlirbc", "hlo"}


def test_the_readable_text_cuts_large_constants_and_says_so(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    text = module.text("stablehlo")
    assert text.startswith("// To be read: constants of more than 16 elements are cut.")
    assert "__elided__" in text
    assert "module.mlirbc" in text.splitlines()[1]


def test_the_bytecode_is_the_complete_module(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    context = seams.mlir_context()
    parsed = seams.parse_mlir(module.paths["mlirbc"].read_bytes(), context)
    text = seams.mlir_text(parsed)
    assert "__elided__" not in text
    assert len(text) > 64 * 64 * 4
    assert "dot" in seams.hlo_text(seams.hlo_of(parsed))


def test_the_optimised_hlo_is_complete(cap: Any) -> None:
    (module,) = (module for module in cap.modules if module.name == "jit_outside")
    assert "{...}" not in module.text("hlo")
    assert "4095" in module.text("hlo")
    for one in cap.modules:
        assert seams.parse_hlo(one.text("hlo")) is not None


def test_modules_are_the_same_when_loaded(cap: Any) -> None:
    loaded = probe.load(cap.path)
    assert [one.record for one in loaded.modules] == [one.record for one in cap.modules]
    assert loaded.modules[0].text("hlo") == cap.modules[0].text("hlo")


def test_several_threads_compile_at_once(out: Path) -> None:
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        def one(x: Any) -> Any:
            return x * number

        one.__name__ = f"thread_{number}"
        barrier.wait()
        jax.jit(one)(np.ones(3, np.float32))

    threads = [threading.Thread(target=work, args=(n,), name=f"worker-{n}") for n in range(6)]
    with probe.capture(out, xla_dump="text", strict=True) as cap:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    made = {one.name: one for one in cap.modules if one.name.startswith("jit_thread_")}
    assert len(made) == 6
    for number in range(6):
        module = made[f"jit_thread_{number}"]
        assert module.record.thread == f"worker-{number}"
        named = [path.name for path in module.dump_paths if path.name.startswith("module_")]
        assert named
        assert all(f".jit_thread_{number}." in name for name in named)
    indices = [one.record.index for one in cap.modules]
    assert indices == list(range(len(indices)))


def test_a_module_compiled_outside_the_block_is_not_recorded(out: Path) -> None:
    with probe.capture(out, strict=True) as cap:
        pass
    jax.jit(lambda x: x - 7)(np.ones(2))
    assert cap.modules == ()


def test_a_compilation_that_fails_raises_as_ever_and_leaves_nothing(out: Path) -> None:
    def wrong(x: Any) -> Any:
        return x + 4

    lowered = jax.jit(wrong).lower(np.ones(2, np.float32))
    with probe.capture(out, xla_dump=True, strict=True) as cap:
        with pytest.raises(Exception, match="No such compile option: 'xla_no_such_option'"):
            lowered.compile(compiler_options={"xla_no_such_option": True})
        compiled = [one.name for one in cap.modules]
    assert "jit_wrong" not in compiled
    assert list(cap.path.glob(".xla-*")) == []


def test_a_folder_that_is_gone_does_not_stop_the_run(out: Path) -> None:
    with probe.capture(out, xla_dump=True) as cap:
        shutil.rmtree(cap.path)
        assert jax.jit(lambda x: x + 3)(np.ones(2, np.float32)).tolist() == [4, 4]
    assert "not dumped" in cap.modules[-1].record.notes[0]


UNTOUCHED = """
import contextlib, json, os, sys
import jax
events = []
jax.monitoring.register_event_duration_secs_listener(lambda e, s, **k: events.append(e))
jax.monitoring.register_event_listener(lambda e, **k: events.append(e))
import brainpy_probe as probe
from tests.eras import COMPILES_EACH_RUN, LOOP_MODULE
from tests.networks import by_name, compiling_runners
cache, out, probed = sys.argv[1:]
def scope():
    return probe.capture(out, xla_dump=True, strict=True) if probed else contextlib.nullcontext()
def count(runner, times):
    counts = []
    for _ in range(times):
        del events[:]
        case.run(runner)
        compiled = events.count("/jax/core/compile/backend_compile_duration")
        hits = events.count("/jax/compilation_cache/cache_hits")
        counts.append([compiled, hits])
    return counts
case = by_name("lif")
runner = case.build()
with scope():
    without = count(runner, 2)
jax.config.update("jax_compilation_cache_dir", cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
with scope():
    cached = count(runner, 2)
keys = sorted(name for name in os.listdir(cache) if name.endswith("-cache"))
print(json.dumps({"without": without, "cached": cached, "keys": keys}))
"""


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what is counted with and without the probe, each filling a cache for the other."""
    parent = tmp_path_factory.mktemp("untouched")
    cache, out = parent / "cache", parent / "out"
    found = {"bare": told_by(UNTOUCHED, cache, out, "")}
    found["probed after bare"] = told_by(UNTOUCHED, cache, out, "yes")
    cache.rename(parent / "filled")  # some keys depend on the folder's path
    found["probed"] = told_by(UNTOUCHED, cache, out, "yes")
    found["bare after probed"] = told_by(UNTOUCHED, cache, out, "")
    return found


def test_the_number_of_compilations_is_as_without_the_probe(untouched: dict[str, Any]) -> None:
    assert untouched["probed"]["without"] == untouched["bare"]["without"]
    assert untouched["bare"]["without"][1] == [int(COMPILES_EACH_RUN), 0]


def test_the_persistent_cache_is_used_as_without_the_probe(untouched: dict[str, Any]) -> None:
    assert untouched["probed"]["cached"] == untouched["bare"]["cached"]
    assert untouched["bare"]["cached"][1] == [1, 1]


def test_the_cache_keys_are_those_without_the_probe(untouched: dict[str, Any]) -> None:
    assert untouched["probed"]["keys"] == untouched["bare"]["keys"]
    assert untouched["bare"]["keys"]


@pytest.mark.parametrize("which", ["probed after bare", "bare after probed"])
def test_a_cache_filled_on_one_side_hits_on_the_other(
    untouched: dict[str, Any], which: str
) -> None:
    assert untouched[which]["cached"] == [[1, 1], [1, 1]]
    assert untouched[which]["keys"] == untouched["bare"]["keys"]
