"""The arrays of a capture have names and digests, and are stored once and without loss."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import brainpy.math as bm
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import xxhash
from safetensors import safe_open
from safetensors.numpy import load_file

import brainpy_probe as probe
from brainpy_probe.format.arrays import check_array, dtype_of, read_arrays
from brainpy_probe.format.folder import RunFolder
from brainpy_probe.format.manifest.program_records import TensorSpec
from brainpy_probe.recording.program.tensors import ArrayFiles, Stored
from tests.capture.test_program import seeded
from tests.eras import DynamicalSystem
from tests.networks import by_name
from tests.replaying import captured, qualified_names

PACKAGE = Path(probe.__file__).parent


def _digest(array: np.ndarray[Any, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(array.tobytes())


def _captured_lif(out: Path, data: str) -> probe.Capture:
    case = by_name("lif")
    runner = case.build()
    with probe.capture(out, data=data, strict=True) as cap:
        case.run(runner)
    return cap


# --- Names and settings -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["einet", "noise", "lif"])
def test_safetensors_reads_the_arrays_by_manifest_names(name: str) -> None:
    """The names have a group; shape, dtype and digest are those of the manifest."""
    cap = captured(name).capture
    manifest = json.loads((cap.path / "manifest.json").read_text())
    (program,) = manifest["programs"]
    for kind, specs in (("data", program["arguments"]), ("results", program["results"])):
        path = cap.programs[0].paths[kind]
        arrays = load_file(path)
        assert sorted(arrays) == sorted(qualified_names(getattr(cap.programs[0], _GROUP[kind])))
        for spec in specs:
            assert cap.path / spec["file"] == path
            array = arrays[spec["entry"]]
            assert spec["entry"].partition("/")[2] == spec["name"]
            assert [str(array.dtype), list(array.shape)] == [spec["dtype"], spec["shape"]]
            assert array.nbytes == spec["nbytes"]
            assert _digest(array) == spec["digest"]


_GROUP = {"data": "arguments", "results": "results"}


def test_the_data_setting_chooses_the_stored_arrays(out: Path) -> None:
    none, inputs, full = (
        _captured_lif(out, data).programs[0] for data in ("none", "inputs", "full")
    )
    assert not {"data", "results"} & none.paths.keys()
    assert {(s.digest, s.file) for s in (*none.arguments, *none.results)} == {("", "")}
    for kind in ("data", "results"):
        with pytest.raises(probe.BadSetting, match="data='inputs'"):
            none.data(kind)

    assert "results" not in inputs.paths
    assert all(spec.file and spec.digest for spec in inputs.arguments)
    assert {spec.file for spec in inputs.results} == {""}
    with pytest.raises(probe.BadSetting, match="data='full'"):
        inputs.data("results")

    results = full.data("results")
    assert {spec.path: spec.digest for spec in inputs.results} == {
        name: _digest(array) for name, array in results.items()
    }
    assert full.paths.keys() == {"stablehlo", "vhlo", "data", "results"}


# --- Shared arrays ----------------------------------------------------------------------------


class Weighted(DynamicalSystem):
    """A model that multiplies its state by a large and a small array."""

    def __init__(self) -> None:
        super().__init__()
        weights = np.random.normal(0.0, 0.1, (64, 64)).astype(np.float32)
        self.weights, self.leak = weights, np.linspace(0.0, 1.0, 64, dtype=np.float32)
        self.rate = bm.Variable(bm.ones(64))

    def update(self) -> Any:
        self.rate.value = jnp.tanh(bm.as_jax(self.rate) @ self.weights) * self.leak
        return self.rate.value


def test_arrays_that_programs_share_are_stored_once(out: Path) -> None:
    runner = seeded(Weighted)
    with probe.capture(out, data="full", strict=True) as cap:
        for duration in (1.0, 2.0, 3.0):
            runner.run(duration)
    assert len(cap.programs) == 3
    name = "constants/weights"
    first = cap.programs[0].paths["data"]
    for program in cap.programs:
        specs = {spec.path: spec for spec in program.arguments}
        assert cap.path / specs[name].file == first
        # A small array is stored in each file.
        assert cap.path / specs["constants/leak"].file == program.paths["data"]
        arrays = program.data()
        assert list(arrays) == qualified_names(program.arguments)
        assert arrays[name].tobytes() == runner.target.weights.tobytes()
    later = cap.programs[1].paths["data"]
    assert name not in load_file(later)
    assert later.stat().st_size < runner.target.weights.nbytes < first.stat().st_size
    stored = [path for path in cap.path.rglob("*.safetensors") if name in load_file(path)]
    assert stored == [first]
    assert {program.replay().equal for program in cap.programs} == {True}


def test_damage_of_a_shared_file_names_the_file(out: Path) -> None:
    runner = seeded(Weighted)
    with probe.capture(out, strict=True) as cap:
        runner.run(1.0)
        runner.run(2.0)
    first = cap.programs[0].paths["data"]
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    for program in cap.programs:
        with pytest.raises(probe.DamagedCapture, match=str(first)):
            program.data()


# --- Dtypes -----------------------------------------------------------------------------------

_BYTES = np.arange(24, dtype=np.uint8)


def _array_of_dtype(name: str) -> np.ndarray[Any, Any]:
    """Return a matrix with two rows of any dtype, with varied bit patterns."""
    dtype = dtype_of(name)
    if name == "bool":
        return _BYTES.reshape(2, -1) % 3 == 0
    if dtype.itemsize == 1:  # int4 and uint4 use four bits of a byte
        return _BYTES.astype(dtype).reshape(2, -1)
    return np.tile(_BYTES, 2 * dtype.itemsize).view(dtype).reshape(2, -1)


SAFETENSORS_DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
]
SAFETENSORS_DTYPES += ["float16", "float32", "float64"]
OTHER_DTYPES = [
    "bfloat16",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e5m2",
    "int4",
    "uint4",
]


def _write(out: Path, values: dict[str, Any]) -> tuple[Path, dict[str, Stored]]:
    folder = RunFolder(out)
    stored = ArrayFiles(folder).write("data.safetensors", "data", values)
    return folder.path, stored


def _read_back(path: Path, stored: Stored, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    assert stored.file is not None
    spec = TensorSpec(
        name=stored.entry.partition("/")[2],
        role="constant",
        shape=array.shape,
        dtype=str(array.dtype),
        nbytes=array.nbytes,
        digest=stored.digest,
        file=stored.file.path,
        entry=stored.entry,
    )
    return check_array(path / stored.file.path, spec, read_arrays(path, stored.file))


@pytest.mark.parametrize("name", [*SAFETENSORS_DTYPES, *OTHER_DTYPES])
@pytest.mark.parametrize("shape", [(2, -1), (-1,), "scalar", "empty"], ids=str)
def test_every_dtype_is_stored_without_loss(name: str, shape: Any, out: Path) -> None:
    array = _array_of_dtype(name)
    array = {"scalar": array[1, 1:2].reshape(()), "empty": array[:, :0]}.get(
        shape, None if isinstance(shape, str) else array.reshape(shape)
    )
    with jax_in_64_bits():
        path, stored = _write(out, {"constants/x": array})
    entry = stored["constants/x"]
    assert entry.digest == _digest(array)
    back = _read_back(path, entry, array)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    with safe_open(path / "data.safetensors", "numpy") as file:
        metadata = file.metadata()
        raw = file.get_tensor("constants/x")
    if name in SAFETENSORS_DTYPES:
        assert metadata is None
        assert (raw.dtype, raw.shape) == (array.dtype, array.shape)
    else:
        assert metadata == {"constants/x": name}
        assert (raw.dtype, raw.shape) == (np.uint8, (*array.shape, array.dtype.itemsize))


def jax_in_64_bits() -> Any:
    """Enable 64-bit types in JAX in this block."""
    return (
        jax.experimental.enable_x64()
        if hasattr(jax.experimental, "enable_x64")
        else jax.enable_x64()
    )


def test_strided_arrays_are_stored_in_c_order(out: Path) -> None:
    array = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    values = {"constants/transposed": array.T, "constants/strided": array[::2, ::-1]}
    path, stored = _write(out, values)
    for name, value in values.items():
        back = _read_back(path, stored[name], value)
        np.testing.assert_array_equal(back, value)
        assert stored[name].digest == _digest(value)


def test_a_random_key_is_stored_as_its_words(out: Path) -> None:
    if not hasattr(jax.dtypes, "prng_key"):
        key, words = jax.random.PRNGKey(7), [0, 7]
    else:
        key, words = jax.random.key(7), [0, 7]
    path, stored = _write(out, {"state/random": key})
    back = _read_back(path, stored["state/random"], np.array(words, np.uint32))
    assert back.tolist() == words


class Half(DynamicalSystem):
    """A model with a bfloat16 state, a dtype that NumPy itself lacks, and a complex state."""

    def __init__(self) -> None:
        super().__init__()
        self.half = bm.Variable(jnp.linspace(0.0, 1.0, 6).astype(jnp.bfloat16))
        self.wave = bm.Variable(jnp.exp(1j * jnp.linspace(0.0, 3.0, 5)).astype(jnp.complex64))

    def update(self) -> Any:
        self.half.value = bm.as_jax(self.half) * jnp.bfloat16(0.9)
        self.wave.value = bm.as_jax(self.wave) * jnp.complex64(1j)
        return bm.as_jax(self.half).astype(jnp.float32)


def test_a_program_of_other_dtypes_is_stored_and_replayed(out: Path) -> None:
    runner = seeded(Half)
    start = np.asarray(bm.as_jax(runner.target.half)), np.asarray(bm.as_jax(runner.target.wave))
    with probe.capture(out, data="full", strict=True) as cap:
        runner.run(0.5)
    (program,) = cap.programs
    arrays = program.data()
    assert arrays["state/half"].dtype == ml_dtypes.bfloat16
    assert arrays["state/wave"].dtype == np.complex64
    for name, array in zip(("state/half", "state/wave"), start, strict=True):
        assert arrays[name].tobytes() == array.tobytes()
    with safe_open(program.paths["data"], "numpy") as file:
        assert file.metadata() == {"state/half": "bfloat16", "state/wave": "complex64"}
    done = program.replay()
    assert done.equal is True
    assert done.results["state/half"].dtype == ml_dtypes.bfloat16
    # The .npy format has no name for bfloat16 and stores its bytes.
    changed = (start[0].astype(np.float32) * 2).astype(ml_dtypes.bfloat16)
    np.save(out / "half.npy", changed)
    read = np.load(out / "half.npy")
    assert read.dtype.kind == "V"
    by_bytes = program.replay(overrides={"state/half": read}).results
    by_name = program.replay(overrides={"state/half": changed}).results
    assert by_bytes["state/half"].tobytes() == by_name["state/half"].tobytes()
    assert by_name["state/half"].tobytes() != done.results["state/half"].tobytes()


# --- Writing ----------------------------------------------------------------------------------


def test_arrays_are_written_without_a_copy(out: Path) -> None:
    """Writing 32 MiB allocates less than a tenth of that."""
    arrays = {f"constants/{n}": np.full(4 << 20, n, np.float32) for n in range(2)}
    held = {name: jnp.asarray(array) for name, array in arrays.items()}
    files = ArrayFiles(RunFolder(out))
    files.write("warm.safetensors", "data", {"constants/one": np.ones(3, np.float32)})
    size = sum(array.nbytes for array in arrays.values())
    peaks = []
    for values in (arrays, held):
        tracemalloc.start()
        files.write(f"data{len(peaks)}.safetensors", "data", values)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < size / 10, peaks


def test_nothing_is_pickled() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "import pickle" not in text, path
        assert "from pickle" not in text, path
        assert "allow_pickle=True" not in text, path
        assert "np.load(" not in text or "allow_pickle=False" in text, path


def test_no_file_of_a_capture_is_a_pickle() -> None:
    for name in ("lif", "noise"):
        for path in captured(name).capture.path.rglob("*"):
            # The first bytes of a pickle (protocol 2 and later), a .npy file and a zip file.
            assert path.is_dir() or not path.read_bytes().startswith((b"\x80", b"\x93NUMPY", b"PK"))
