"""A replay runs a captured program without BrainPy and JAX, and gives the values of the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import brainpy.math as bm
import jax.numpy as jnp
import numpy as np
import pytest
import xxhash
from msgspec.structs import replace
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import brainpy_probe as probe
from brainpy_probe.cli import app, shell
from brainpy_probe.format import digests, reading
from brainpy_probe.format import folder as store
from brainpy_probe.format.manifest import records
from tests import eras
from tests.altering import alter
from tests.capture.test_program import seeded
from tests.eras import DynamicalSystem
from tests.networks import ABSENT, by_name
from tests.processes import ROOT, Interpreter
from tests.replaying import Array, captured, captured_calling_back, qualified_names

pytestmark = pytest.mark.every_stack

# Loops: neurons, a delay, plasticity, a rate model, a reservoir, a batched layer, noise.
RUNS = (
    "lif",
    "hh",
    "izhikevich",
    "delay",
    "stp",
    "stdp",
    "gap-junction",
    "fhn-rate",
    "reservoir",
    "lstm-batched",
    "noise",
)
# A network whose loop over time is in Python: its program is one step.
STEPWISE = "memory-efficient"
# A network whose synapses use BrainPy's own kernels.
WITH_KERNELS = "einet"
REPLAYED = [name for name in (*RUNS, WITH_KERNELS) if name not in ABSENT]

# From 2.7 on BrainPy names a kernel after its content; before, the name holds in one process only.
KERNEL_NAMES_ARE_STABLE = find_spec("brainevent") is not None

ASSERT_NOT_INSTALLED = """
import importlib
for name in ("brainpy", "jax", "brainstate", "brainevent"):
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} can be imported")
"""

REPLAYING = f"""
import json, sys, xxhash
{ASSERT_NOT_INSTALLED}
import brainpy_probe as probe
replayed = {{}}
for name, run in json.loads(sys.argv[1]).items():
    try:
        done = probe.load(run).programs[0].within(None).replay()
    except probe.CannotReplay as error:
        replayed[name] = {{"error": str(error)}}
        continue
    replayed[name] = {{"equal": done.equal, "results": {{
        key: [str(array.dtype), list(array.shape), xxhash.xxh3_128_hexdigest(array.tobytes())]
        for key, array in done.results.items()
    }}}}
print(json.dumps(replayed))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Return an interpreter without BrainPy and JAX."""
    return Interpreter.bare(tmp_path_factory.mktemp("bare"))


def _digests(arrays: dict[str, Array]) -> dict[str, list[Any]]:
    return {
        key: [str(array.dtype), list(array.shape), xxhash.xxh3_128_hexdigest(array.tobytes())]
        for key, array in arrays.items()
    }


def _run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the console wide enough that no line of a table wraps."""
    monkeypatch.setattr(shell.console, "width", 200)


# --- Without BrainPy and JAX ------------------------------------------------------------------


def test_every_result_is_equal_without_brainpy(bare: Interpreter, tmp_path: Path) -> None:
    runs = {name: str(captured(name).capture.path) for name in REPLAYED}
    done = bare.run(["-c", REPLAYING, json.dumps(runs)], tmp_path)
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)
    assert list(replayed) == REPLAYED
    opaque = replayed.pop(WITH_KERNELS)
    for name, found in replayed.items():
        results = captured(name).program.data("results")
        assert found == {"equal": True, "results": _digests(results)}, name
    (target, *_) = captured(WITH_KERNELS).program.fidelity.custom_calls
    assert "kernels that only BrainPy registers" in opaque["error"]
    assert target in opaque["error"]
    assert "portable=True" in opaque["error"]
    assert ("brainevent can't be imported" in opaque["error"]) == KERNEL_NAMES_ARE_STABLE


STEPPING = f"""
import sys
{ASSERT_NOT_INSTALLED}
import numpy as np
import brainpy_probe as probe
program = probe.load(sys.argv[1]).programs[0].within(None)
times = np.load(sys.argv[2])
given, made = program.data(), []
for number, time in enumerate(times):
    clock = {{"inputs/i": np.int32(number), "inputs/t": np.float32(time)}}
    given |= {{name: value for name, value in clock.items() if name in given}}
    results = program.replay(overrides=given).results
    given |= {{name: array for name, array in results.items() if name in given}}
    made.append(results["monitors/lif.V"])
np.savez(sys.argv[3], monitor=np.stack(made), V=given["state/lif.V"])
"""


def test_an_iterated_step_gives_the_values_of_the_simulation(
    bare: Interpreter, tmp_path: Path
) -> None:
    network = captured(STEPWISE)
    assert network.program.kind == "step"
    np.save(tmp_path / "times.npy", network.monitors["ts"])
    words = [network.capture.path, tmp_path / "times.npy", tmp_path / "made.npz"]
    done = bare.run(["-c", STEPPING, *map(str, words)], tmp_path)
    assert done.returncode == 0, done.stderr
    made = np.load(tmp_path / "made.npz")
    assert made["monitor"].tobytes() == network.monitors["lif.V"].tobytes()
    (expected,) = (array for name, array in network.variables.items() if name.endswith("V"))
    assert made["V"].tobytes() == expected.tobytes()


def test_the_replay_command_needs_no_brainpy(bare: Interpreter, tmp_path: Path) -> None:
    words = ["-m", "brainpy_probe", "replay", captured("lif").capture.path, "--repeat", "3"]
    done = bare.run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "results are the simulation's, bit for bit." in done.stdout
    assert "(median of 2)" in done.stdout
    assert done.stderr == ""


PORTABLE = f"""
import sys
{ASSERT_NOT_INSTALLED}
import numpy as np
import brainpy_probe as probe
program = probe.load(sys.argv[1]).programs[0]
try:
    done = program.portable.replay()
except probe.CannotReplay as error:
    raise SystemExit(str(error))
np.savez(sys.argv[2], **{{name.replace("/", "|"): a for name, a in done.results.items()}})
print({{result.name: result.equal for result in done.compared}})
"""


def test_the_portable_program_replaces_brainpys_kernels(bare: Interpreter, tmp_path: Path) -> None:
    cap = captured(WITH_KERNELS).capture
    done = bare.run(["-c", PORTABLE, cap.path, tmp_path / "made.npz"], tmp_path)
    shell = bare.run(["-m", "brainpy_probe", "replay", cap.path, "--portable"], tmp_path)
    (program,) = cap.programs
    assert program.portable is not None
    if not KERNEL_NAMES_ARE_STABLE:
        assert done.returncode == shell.returncode == 1
        for message in (done.stderr, shell.stderr):
            assert "only in the process of the capture" in message
            assert "BrainPy up to 2.6 can't lower without them" in message
        return
    assert done.returncode == 0, done.stderr
    made = np.load(tmp_path / "made.npz")
    recorded = program.data("results")
    assert sorted(made.files) == sorted(name.replace("/", "|") for name in recorded)
    for name, array in recorded.items():
        other = made[name.replace("/", "|")]
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        if array.dtype.kind == "f":  # the order of sums differs
            np.testing.assert_allclose(other, array, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(other, array, err_msg=name)
    pairs = [(array, made[name.replace("/", "|")]) for name, array in recorded.items()]
    differ = any(first.tobytes() != other.tobytes() for first, other in pairs)
    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert ("ulp" in shell.stdout) == differ
    printed = " ".join(shell.stdout.split())
    assert ("the portable program may take sums in another order" in printed) == differ


def test_brainpys_kernels_are_loaded_if_installed(tmp_path: Path) -> None:
    """The replay runs in another process than the capture, where no kernel is registered."""
    source = "import sys; from brainpy_probe.cli import app; app()"
    python = Interpreter.make(tmp_path / "venv", with_pth=False)
    done = python.run(["-c", source, "replay", captured(WITH_KERNELS).capture.path], ROOT)
    if KERNEL_NAMES_ARE_STABLE:
        assert done.returncode == 0, done.stderr
        count = len(captured(WITH_KERNELS).program.results)
        assert f"{count} of {count} results are the simulation's, bit for bit." in done.stdout
        return
    assert done.returncode == 1
    assert "These kernels exist only in the process of the capture" in done.stderr


# --- Results ----------------------------------------------------------------------------------


def test_results_are_named_and_timed() -> None:
    program = captured("noise").program
    done = program.replay(repeat=3)
    recorded = program.data("results")
    assert list(done.results) == list(recorded) == qualified_names(program.results)
    for name, array in recorded.items():
        assert done.results[name].tobytes() == array.tobytes()
    assert [result.name for result in done.compared] == qualified_names(program.results)
    assert {result.equal for result in done.compared} == {True}
    assert done.equal is True
    assert done.compile_seconds > 0.0
    assert len(done.run_seconds) == 3
    assert min(done.run_seconds) > 0.0


def test_digests_suffice_to_compare_a_replay(out: Path) -> None:
    cap = _captured_lif(out, data="inputs")
    assert cap.programs[0].replay().equal is True
    spec = cap.programs[0].results[0]
    assert spec.digest
    assert not spec.file
    _rewrite(cap.path, lambda manifest: _with_result(manifest, digest="0" * 32))
    done = probe.load(cap.path).programs[0].replay()
    assert done.equal is False
    assert done.compared[0] == type(done.compared[0])(name=spec.path, equal=False)
    shown = _run("replay", cap.path)
    # An order of the loop's Variables that depends on addresses can be the reason for other bits.
    assert shown.exit_code == (0 if eras.ORDERS_BY_IDS else 1)
    assert "its digest differs" in shown.stdout


def test_a_step_of_a_python_loop_is_compared_where_recorded() -> None:
    program = captured("python-loop").program
    done = program.replay()
    assert set(done.results) == set(qualified_names(program.results))
    assert done.verdict.outcome == "undecided", done.verdict
    unknown = [result.name.replace("/", " ") for result in done.compared if result.equal is None]
    assert unknown
    (note,) = (note for note in program.fidelity.notes if "did not keep" in note)
    assert ", ".join(unknown) in note
    assert _run("replay", captured("python-loop").capture.path).exit_code == 0


def _captured_lif(out: Path, **options: Any) -> probe.Capture:
    case = by_name("lif")
    runner = case.build()
    with probe.capture(out, strict=True, **options) as cap:
        case.run(runner)
    return cap


def _rewrite(folder: Path, change: Callable[[records.Manifest], records.Manifest]) -> None:
    """Change a manifest and write it as the probe does."""
    _, manifest = reading.read_manifest(folder)
    written = store.RunFolder.__new__(store.RunFolder)
    written.path = folder
    written.write_manifest(change(manifest))


def _with_result(manifest: records.Manifest, **changes: Any) -> records.Manifest:
    """Return a manifest with changes to the record of the first result."""
    (program, *more) = manifest.programs
    first, *others = program.results
    results = (replace(first, **changes), *others)
    return replace(manifest, programs=(replace(program, results=results), *more))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of a capture that a test can alter."""
    source = captured("lif").capture.path
    return Path(shutil.copytree(source, tmp_path / source.name))


def _alter_results(folder: Path, change: Callable[[Array], Array]) -> probe.TensorSpec:
    """Alter the first result in its file, and update digests and manifest."""
    program = probe.load(folder).programs[0]
    path, spec = program.paths["results"], program.results[0]
    arrays = load_file(path)
    arrays[spec.entry] = change(arrays[spec.entry].copy())
    save_file(arrays, path)
    content = path.read_bytes()

    def altered(manifest: records.Manifest) -> records.Manifest:
        manifest = _with_result(manifest, digest=digests.digest_of(arrays[spec.entry].tobytes()))
        (program,) = manifest.programs
        files = tuple(
            replace(file, size=len(content), digest=digests.digest_of(content))
            if file.kind == "results"
            else file
            for file in program.files
        )
        return replace(manifest, programs=(replace(program, files=files),))

    _rewrite(folder, altered)
    return spec


def test_a_difference_is_given_in_value_and_in_ulps(copy: Path) -> None:
    original = captured("lif").program.data("results")
    (first, *_) = original.values()
    assert first.dtype == np.float32, "not the monitor of V"

    def change(array: Array) -> Array:
        flat = array.reshape(-1)
        flat[3] = np.nextafter(flat[3], np.float32(np.inf))
        flat[7] += np.float32(0.5)
        flat[9] = np.nan
        return array

    spec = _alter_results(copy, change)
    done = probe.load(copy).programs[0].replay()
    assert done.equal is False
    found = done.compared[0].difference
    assert found is not None
    altered = change(first.copy()).reshape(-1)[7]
    steps = abs(int(altered.view(np.int32)) - int(first.reshape(-1)[7].view(np.int32)))
    assert (found.elements, found.nans, found.ulps) == (3, 1, steps)
    assert found.largest == abs(float(altered) - float(first.reshape(-1)[7]))
    assert [result.equal for result in done.compared[1:]] == [True] * (len(original) - 1)

    shown = _run("replay", copy)
    assert shown.exit_code == 1
    assert spec.path in shown.stdout
    assert f"differs in 3 elements, by at most {found.largest:.3g} ({steps} ulps)" in shown.stdout
    assert "1 times NaN in only one of the two" in shown.stdout
    count = len(original)
    assert f"{count - 1} of {count} results are the simulation's" in shown.stdout
    assert "1 differ." in shown.stdout
    printed = json.loads(_run("replay", copy, "--json").stdout)
    assert printed["equal"] is False
    assert printed["results"][0]["difference"]["ulps"] == steps


# --- Overrides --------------------------------------------------------------------------------


def test_a_program_runs_from_another_state(tmp_path: Path) -> None:
    """The program runs from the final state of the run, as the next run would."""
    program = captured("lif").program
    name = "state/V"
    start = program.data()[name]
    final = program.data("results")[name]
    assert start.tobytes() != final.tobytes()
    done = program.replay(overrides={name: final})
    assert done.equal is None
    assert {result.equal for result in done.compared} == {None}
    assert done.results["state/V"].tobytes() != final.tobytes()
    np.save(tmp_path / "V.npy", final)
    shown = _run("replay", captured("lif").capture.path, "--override", f"{name}={tmp_path}/V.npy")
    assert shown.exit_code == 0, shown.stderr
    assert f"{len(program.results)} were not compared" in shown.stdout

    same = program.replay(overrides={name: start})
    for key, value in program.data("results").items():
        assert same.results[key].tobytes() == value.tobytes()


class Leaky(DynamicalSystem):
    """A leaky model with arrays of several dtypes, which BrainPy 2.3 compiles as constants."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = np.linspace(0.1, 0.9, 6, dtype=np.float32)
        self.on = np.arange(6) % 2 == 0
        self.x = bm.Variable(bm.ones(6))

    def update(self) -> Any:
        self.x.value = bm.as_jax(self.x) * jnp.where(self.on, self.rates, 1.0)
        return self.x.value


def test_a_constant_can_be_overridden(out: Path) -> None:
    with probe.capture(out, data="full", strict=True) as cap:
        seeded(Leaky).run(0.2)
    (program,) = cap.programs
    assert program.replay().equal is True
    overrides = {"constants/rates": np.zeros(6, np.float32), "constants/on": np.arange(6) > 2}
    state = program.replay(overrides=overrides).results["state/x"]
    assert state.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"state/W": np.zeros(2, np.float32)}, "has no argument 'state/W'. It has "),
        ({"V": np.zeros(2, np.float32)}, "has no argument 'V'. It has "),
        ({"state/V": np.zeros(2, np.float32)}, "the array that replaces it is float32 of shape (2"),
        ({"state/V": "float64"}, "the array that replaces it is float64 of shape"),
        ({"state/V": "int32"}, "the array that replaces it is int32 of shape"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_override_that_does_not_fit_is_refused(
    overrides: dict[str, Any], message: str, tmp_path: Path
) -> None:
    program = captured("lif").program
    (name, array) = next(iter(overrides.items()))
    if isinstance(array, str):
        array = program.data()[name].astype(array)
    with pytest.raises(probe.BadSetting) as error:
        program.replay(overrides={name: array})
    assert message in str(error.value)
    np.save(tmp_path / "array.npy", array)
    shown = _run(
        "replay", captured("lif").capture.path, "--override", f"{name}={tmp_path}/array.npy"
    )
    assert shown.exit_code == 2
    assert message in shown.stderr


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    run = captured("lif").capture.path
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    for word, message in (
        ("state/V", "names no file"),
        ("state/V=", "names no file"),
        (f"state/V={tmp_path}/nothing.npy", "can't be read"),
        (f"state/V={tmp_path}/text.npy", "can't be read"),
        (f"state/V={tmp_path}/empty.npy", "can't be read"),
        (f"state/V={tmp_path}/pickled.npy", "can't be read"),
        (f"state/V={tmp_path}/two.npz", "several arrays"),
    ):
        shown = _run("replay", run, "--override", word)
        assert shown.exit_code == 2, word
        assert message in shown.stderr, word


# --- Errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", [0, -1])
def test_a_repeat_below_one_is_refused(repeat: int) -> None:
    with pytest.raises(probe.BadSetting, match="1 or more"):
        captured("lif").program.replay(repeat=repeat)
    assert _run("replay", captured("lif").capture.path, "--repeat", repeat).exit_code == 2


def test_a_missing_program_is_refused() -> None:
    run = captured("fhn-rate").capture.path
    assert _run("replay", run, "--program", 0).exit_code == 0
    shown = _run("replay", run, "--program", 1)
    assert shown.exit_code == 2
    assert "has no program 1. It has 1, numbered from 0." in shown.stderr
    shown = _run("replay", run, "--portable")
    assert shown.exit_code == 2
    assert "Capture with portable=True" in shown.stderr


def test_the_replay_command_prints_json() -> None:
    program = captured("hh").program
    shown = _run("replay", captured("hh").capture.path, "--json", "--repeat", 2)
    assert shown.exit_code == 0
    printed = json.loads(shown.stdout)
    assert printed["path"] == str(captured("hh").capture.path)
    assert printed["equal"] is True
    assert printed["seconds"]["compile"] > 0.0
    assert len(printed["seconds"]["run"]) == 2
    assert [result["name"] for result in printed["results"]] == qualified_names(program.results)


def test_a_capture_without_arrays_needs_overrides(out: Path) -> None:
    cap = _captured_lif(out, data="none")
    with pytest.raises(probe.BadSetting, match="data='inputs'"):
        cap.programs[0].replay()
    shown = _run("replay", out)
    assert shown.exit_code == 2
    assert "data='inputs'" in shown.stderr
    # With overrides for all arguments, the program runs.
    arrays = captured("lif").program.data()
    done = cap.programs[0].replay(overrides=arrays)
    for key, value in captured("lif").program.data("results").items():
        assert done.results[key].tobytes() == value.tobytes()


def test_a_program_that_calls_back_cannot_be_replayed() -> None:
    cap = captured_calling_back()
    with pytest.raises(
        probe.CannotReplay, match="calls back into the Python process of the capture"
    ):
        cap.programs[0].replay()
    shown = _run("replay", cap.path)
    assert shown.exit_code == 1
    assert "Capture it without the callback." in shown.stderr


@pytest.mark.parametrize("kind", ["stablehlo", "data", "results"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "renamed"])
def test_a_damaged_file_is_named_with_its_fault(kind: str, damage: str, copy: Path) -> None:
    path = probe.load(copy).programs[0].paths[kind]
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "missing":
        path.unlink()
    else:
        path.rename(path.with_name("another"))
    fault = {
        "flipped": "XXH3-128",
        "cut": f"{len(content) - 1} bytes instead of {len(content)}",
    }.get(damage, "No such file")
    with pytest.raises(probe.DamagedCapture) as error:
        probe.load(copy).programs[0].replay()
    assert str(path) in str(error.value)
    assert fault in str(error.value)
    shown = _run("replay", copy)
    assert shown.exit_code == 1
    assert str(path) in shown.stderr
    assert fault in shown.stderr


def test_a_manifest_entry_outside_of_the_folder_is_refused(copy: Path) -> None:
    alter(copy, lambda manifest: manifest["programs"][0]["files"][-1].update(path="../x"))
    shown = _run("replay", copy)
    assert shown.exit_code == 1
    assert "names a file outside its folder: '../x'" in shown.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [3, 3]}, "bytes; float32 of shape (3, 3) has 36"),
        ({"dtype": "int32"}, "the manifest has int32 of shape"),
        ({"entry": "state/W"}, "has no array 'state/W'"),
        ({"digest": "0" * 32}, "its digest differs"),
        ({"file": "programs/none.safetensors"}, "does not list: 'programs/none.safetensors'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_tensor_that_contradicts_the_manifest_is_refused(
    changes: dict[str, Any], message: str, copy: Path
) -> None:
    program = probe.load(copy).programs[0]
    position = [spec.path for spec in program.arguments].index("state/V")

    def change(manifest: dict[str, Any]) -> None:
        manifest["programs"][0]["arguments"][position].update(changes)
        manifest["programs"][0]["step"] = None  # the step would no longer fit the program

    alter(copy, change)
    with pytest.raises(probe.DamagedCapture) as error:
        probe.load(copy).programs[0].replay()
    assert message in str(error.value)
    shown = _run("replay", copy)
    assert shown.exit_code == 1
    assert message in shown.stderr
    assert str(copy) in shown.stderr
